// Walks over the graph: greedy down the upper layers, then the ef nearest of layer 0.
#include <algorithm>
#include <cstring>

#include "hnsw/graph.hpp"

namespace spell::hnsw {
namespace {

struct Farther {
    bool operator()(const Near& a, const Near& b) const noexcept { return b < a; }
};

// How many elements are expanded at once. One more than one would be waits half as often for memory, and seldom in
// vain: whatever stays in the pool is expanded in the end.
constexpr std::size_t beam = 2;

// Puts `fresh` in its place among the nearest; the farthest falls out of a full pool. The place, or ef if none.
// Without branches that depend on distances: nobody could predict them.
std::size_t keep(std::vector<Near>& pool, std::size_t ef, Near fresh) {
    std::size_t size = pool.size();
    if (size < ef) {
        pool.push_back(fresh);
    } else if (fresh < pool[size - 1]) {
        --size;
    } else {
        return ef;
    }
    const Near* at = pool.data();
    for (std::size_t left = size; left > 1;) {
        const std::size_t half = left / 2;
        at = at[half] < fresh ? at + half : at;
        left -= half;
    }
    const auto place = static_cast<std::size_t>(at - pool.data()) + (size != 0 && *at < fresh ? 1 : 0);
    Near* const into = pool.data() + place;
    std::memmove(into + 1, into, (size - place) * sizeof(Near));
    *into = fresh;
    return place;
}

}  // namespace

std::size_t Graph::unseen(Slot slot, std::size_t level, Scratch& scratch, Slot* out) const {
    scratch.visited.expect(most_links);
    std::size_t count = 0;
    each_link(slot, level, [&](Slot next) {
        out[count] = next;
        count += scratch.visited.first(next) ? 1 : 0;
    });
    return count;
}

Near Graph::descend(const Measure& measure, Entry from, std::size_t to_level, std::size_t slots) const {
    Near best(measure.one(from.slot), from.slot);
    std::array<Slot, most_links> next;
    std::array<float, most_links> distances;
    for (std::size_t level = from.level; level > to_level; --level) {
        for (bool nearer = true; nearer;) {
            nearer = false;
            std::size_t count = 0;
            each_link(best.slot(), level, [&](Slot slot) {
                next[count] = slot;
                count += slot < slots ? 1 : 0;
            });
            measure.many(next.data(), count, distances.data());
            for (std::size_t i = 0; i < count; ++i) {
                if (distances[i] < best.distance()) {
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
    std::array<Slot, beam * most_links> next;
    std::array<float, beam * most_links> distances;
    std::vector<Near>& pool = scratch.pool;
    pool.clear();
    pool.reserve(ef + 1);
    pool.emplace_back(from.distance(), from.slot());  // from the pool of a higher layer it comes expanded
    scratch.visited.expect(1);
    scratch.visited.first(from.slot());
    for (std::size_t at = 0;;) {
        std::size_t count = 0, first = pool.size();
        for (std::size_t taken = 0; taken < beam && at < pool.size(); ++at) {
            if (!pool[at].expanded()) {
                pool[at].expand();
                first = std::min(first, at);
                count += unseen(pool[at].slot(), level, scratch, next.data() + count);
                ++taken;
            }
        }
        if (first == pool.size()) {
            return;
        }
        measure.many(next.data(), count, distances.data());
        at = first;
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t place = keep(pool, ef, {distances[i], next[i]});
            if (place < first + beam) {
                fetch_links(next[i]);
                at = std::min(at, place);
            }
        }
    }
}

// Elements that do not pass are walked through. The walk ends when the nearest left is beyond the worst kept.
void Graph::walk_filtered(const Measure& measure, Near from, std::size_t level, std::size_t ef, const Passes& passes,
                          Scratch& scratch) const {
    std::array<Slot, beam * most_links> next;
    std::array<float, beam * most_links> distances;
    auto& pool = scratch.pool;  // a heap, the farthest in front
    auto& queue = scratch.queue;
    const auto offer = [&](Near fresh) {
        if (pool.size() == ef && !(fresh < pool.front())) {
            return;
        }
        queue.push_back(fresh);
        std::push_heap(queue.begin(), queue.end(), Farther());
        if (!passes(fresh.slot())) {
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
    scratch.visited.expect(1);
    scratch.visited.first(from.slot());
    offer({from.distance(), from.slot()});
    for (bool done = false; !done;) {
        std::size_t count = 0;
        done = true;
        for (std::size_t taken = 0; taken < beam && !queue.empty(); ++taken) {
            const Near nearest = queue.front();
            if (pool.size() == ef && pool.front() < nearest) {
                break;
            }
            std::pop_heap(queue.begin(), queue.end(), Farther());
            queue.pop_back();
            count += unseen(nearest.slot(), level, scratch, next.data() + count);
            done = false;
        }
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
        walk_filtered(measure, near, 0, ef, *passes, scratch);
    } else if (ef > longest_pool) {
        walk_filtered(measure, near, 0, ef, [](Slot) { return true; }, scratch);
    } else {
        walk(measure, near, 0, ef, scratch);
    }
}

}  // namespace spell::hnsw
