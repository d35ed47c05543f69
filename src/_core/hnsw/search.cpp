// Walks over the graph: greedy down the upper layers, then the ef nearest of layer 0.
#include <algorithm>
#include <cstring>

#include "hnsw/graph.hpp"

namespace spell::hnsw {
namespace {

struct Farther {
    bool operator()(const Near& a, const Near& b) const noexcept { return b < a; }
};

// Puts `fresh` in its place among the nearest; the farthest falls out of a full pool. The place, or the size if none.
std::size_t keep(std::vector<Near>& pool, std::size_t ef, Near fresh) {
    const std::size_t size = pool.size();
    if (size == ef) {
        if (!(fresh < pool.back())) {
            return size;
        }
    } else {
        pool.push_back(fresh);
    }
    const auto end = pool.end() - 1;
    const auto at = std::upper_bound(pool.begin(), end, fresh);
    std::memmove(&*at + (at == end ? 0 : 1), &*at, static_cast<std::size_t>(end - at) * sizeof(Near));
    *at = fresh;
    return static_cast<std::size_t>(at - pool.begin());
}

}  // namespace

std::size_t Graph::unseen(Slot slot, std::size_t level, Scratch& scratch, std::array<Slot, most_links>& out) const {
    std::size_t count = 0;
    for (const Slot next : links(slot, level, out)) {
        if (scratch.visited.first(next)) {
            out[count++] = next;
        }
    }
    return count;
}

Near Graph::descend(const Measure& measure, Entry from, std::size_t to_level, std::size_t slots) const {
    Near best{measure.one(from.slot), from.slot};
    std::array<Slot, most_links> next;
    std::array<float, most_links> distances;
    for (std::size_t level = from.level; level > to_level; --level) {
        for (bool nearer = true; nearer;) {
            nearer = false;
            std::size_t count = 0;
            for (const Slot slot : links(best.slot, level, next)) {
                if (slot < slots) {
                    next[count++] = slot;
                }
            }
            measure.many(next.data(), count, distances.data());
            for (std::size_t i = 0; i < count; ++i) {
                if (distances[i] < best.distance) {
                    best = {distances[i], next[i]};
                    nearer = true;
                }
            }
        }
    }
    return best;
}

// The pool is sorted; whatever is not among its ef nearest would never be expanded.
void Graph::walk(const Measure& measure, Near from, std::size_t level, std::size_t ef, Scratch& scratch) const {
    std::array<Slot, most_links> next;
    std::array<float, most_links> distances;
    std::vector<Near>& pool = scratch.pool;
    pool.assign(1, from);
    pool.front().expanded = 0;
    pool.reserve(ef);
    scratch.visited.first(from.slot);
    for (std::size_t at = 0; at < pool.size();) {
        if (pool[at].expanded != 0) {
            ++at;
            continue;
        }
        pool[at].expanded = 1;
        const std::size_t count = unseen(pool[at].slot, level, scratch, next);
        measure.many(next.data(), count, distances.data());
        std::size_t nearest = at + 1;
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t place = keep(pool, ef, {distances[i], next[i]});
            if (place < pool.size() && place <= nearest) {
                fetch_links(next[i]);
                nearest = place;
            }
        }
        at = nearest;
    }
}

// Elements that do not pass are walked through. The walk ends when the nearest left is beyond the worst kept.
void Graph::walk_filtered(const Measure& measure, Near from, std::size_t ef, const Passes& passes,
                          Scratch& scratch) const {
    std::array<Slot, most_links> next;
    std::array<float, most_links> distances;
    auto& pool = scratch.pool;  // a heap, the farthest in front
    auto& queue = scratch.queue;
    const auto offer = [&](Near fresh) {
        if (pool.size() == ef && !(fresh < pool.front())) {
            return;
        }
        queue.push_back(fresh);
        std::push_heap(queue.begin(), queue.end(), Farther());
        if (!passes(fresh.slot)) {
            return;
        }
        pool.push_back(fresh);
        std::push_heap(pool.begin(), pool.end());
        if (pool.size() > ef) {
            std::pop_heap(pool.begin(), pool.end());
            pool.pop_back();
        }
    };
    pool.clear();
    queue.clear();
    scratch.visited.first(from.slot);
    offer(from);
    while (!queue.empty()) {
        std::pop_heap(queue.begin(), queue.end(), Farther());
        const Near nearest = queue.back();
        queue.pop_back();
        if (pool.size() == ef && pool.front() < nearest) {
            break;
        }
        const std::size_t count = unseen(nearest.slot, 0, scratch, next);
        measure.many(next.data(), count, distances.data());
        for (std::size_t i = 0; i < count; ++i) {
            offer({distances[i], next[i]});
        }
    }
    std::sort_heap(pool.begin(), pool.end());
}

void Graph::search(const Measure& measure, std::size_t ef, std::size_t slots, const Passes* passes,
                   Scratch& scratch) const {
    scratch.visited.reset(slots);
    scratch.pool.clear();
    const Entry from = entry();
    if (from.slot >= slots) {
        return;
    }
    const Near near = descend(measure, from, 0, slots);
    // A long sorted pool costs more to keep than a heap.
    constexpr std::size_t longest_pool = 4096;
    if (passes != nullptr) {
        walk_filtered(measure, near, ef, *passes, scratch);
    } else if (ef > longest_pool) {
        walk_filtered(measure, near, ef, [](Slot) { return true; }, scratch);
    } else {
        walk(measure, near, 0, ef, scratch);
    }
}

}  // namespace spell::hnsw
