// The reading half of Index: it chooses between a walk and a scan, and measures the best again on what is kept.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/parallel.hpp"
#include "exact/magnitude.hpp"
#include "hnsw/index.hpp"

namespace spell::hnsw {
namespace {

constexpr Error closed{Errc::closed, 0, 0, "index"};

}  // namespace

void Index::copy_vector(Slot slot, float* out) const {
    if (rows_->has_floats()) {
        std::memcpy(out, std::as_const(*rows_).vector(slot), dim() * sizeof(float));
    } else {
        graph_->decode(slot, out);
    }
}

float Index::distance_to(const Query& ready, Slot slot, std::vector<float>& space) const {
    const float scale = std::as_const(*rows_).scale(slot);
    const float* vector = nullptr;
    if (rows_->has_floats()) {
        vector = std::as_const(*rows_).vector(slot);
    } else {
        space.resize(dim());
        graph_->decode(slot, space.data());
        vector = space.data();
    }
    float distance = 0.0f;
    ready.rows(vector, &scale, 1, &distance);
    return distance;
}

exact::Decode Index::decoder(Slot first) const {
    if (rows_->has_floats()) {
        return {};
    }
    return [this, first](std::size_t i, float* out) { graph_->decode(first + static_cast<Slot>(i), out); };
}

Found Index::scan(const Query& ready, const Search& how, const Selection* chosen) const {
    Best best(static_cast<std::size_t>(how.k), how.threshold, metric());
    exact_scans_.fetch_add(1, std::memory_order_relaxed);
    if (chosen != nullptr) {
        constexpr std::size_t ahead = 4;
        std::vector<Slot> slots;
        slots.reserve(chosen->count());
        chosen->each([&](Slot slot) { slots.push_back(slot); });
        std::vector<float> space;
        for (std::size_t i = 0; i < slots.size(); ++i) {
            if (graph_ && i + ahead < slots.size()) {
                graph_->fetch(slots[i + ahead]);
            }
            best.offer(distance_to(ready, slots[i], space), std::as_const(*rows_).key(slots[i]));
        }
        return std::move(best).finish(static_cast<std::int64_t>(chosen->count()));
    }
    Slot first = 0;
    rows_->each_chunk([&](const exact::Chunk& chunk) {
        exact::scan_chunk(chunk, ready, dim(), decoder(first), best);
        first += static_cast<Slot>(chunk.rows);
    });
    return std::move(best).finish(static_cast<std::int64_t>(map_.count()));
}

// Whether so many elements pass that asking each one met on a walk is cheaper than asking all.
bool Index::is_common(const Bound& bound) const {
    constexpr std::size_t sample = 512, share = 8;
    const std::size_t slots = graph_->limit();
    std::size_t seen = 0, passed = 0;
    for (std::size_t i = 0; i < sample; ++i) {
        const auto slot = static_cast<Slot>(slots * i / sample);
        if (rows_->is_live(slot)) {
            ++seen;
            passed += bound.passes(slot) ? 1 : 0;
        }
    }
    return passed * share > seen;
}

// None when everything may be found, or when the walk is to ask each element it meets.
Selections::Shared Index::selected(const Search& how, const Bound* bound, bool walkable) const {
    if (how.allow) {
        std::size_t slots = 0;
        rows_->each_chunk([&](const exact::Chunk& chunk) { slots += chunk.rows; });
        auto made = std::make_shared<Selection>(slots);
        for (const std::int64_t key : *how.allow) {
            const Slot slot = map_.find(*rows_, key);
            if (slot != no_slot && (bound == nullptr || bound->passes(slot))) {
                made->add(slot);
            }
        }
        return made;
    }
    if (bound == nullptr) {
        return nullptr;
    }
    const std::string text = how.filter->text();
    bool asked = false;
    Selections::Shared kept = selections_.find(text, generation_, asked);
    if (kept || (walkable && !asked && is_common(*bound))) {
        return kept;
    }
    kept = std::make_shared<Selection>(Selection::of(*bound, *rows_));
    selections_.keep(text, generation_, kept);
    return kept;
}

std::size_t Index::effort(const Search& how) const noexcept {
    return std::max(static_cast<std::size_t>(how.k),
                    how.ef == 0 ? options_.ef_search : static_cast<std::size_t>(how.ef));
}

// Whether comparing all that pass is cheaper than walking among the others. A walk meets about 15 elements for each of
// its effort, and the more the fewer pass; each costs half as much again as one of a scan.
bool Index::is_rare(std::size_t selected, const Search& how) const noexcept {
    const double share = static_cast<double>(selected) / static_cast<double>(map_.count());
    const double root = std::sqrt(share);
    return static_cast<double>(selected) * root * std::sqrt(root) < 22.0 * static_cast<double>(effort(how));
}

// None when it ends with fewer than k. chosen: the elements that may be found, when they are known; else `bound` tells.
std::optional<Found> Index::walk(const float* query, const Query& ready, const Search& how, const Bound* bound,
                                 const Selection* chosen) const {
    const auto lent = scratches_.lend();
    Scratch& scratch = *lent;
    const std::size_t slots = graph_->limit();
    const Graph::Passes passes = [&](Slot slot) {
        return chosen != nullptr ? chosen->has(slot)
                                 : rows_->is_live(slot) && (bound == nullptr || bound->passes(slot));
    };
    Measure measure(*graph_, *rows_);
    measure.query(query);
    const std::size_t ef = effort(how);
    const bool narrow = chosen != nullptr || bound != nullptr;
    std::vector<Near>& pool = scratch.pool;
    graph_->search(measure, ef, slots, narrow ? &passes : nullptr, scratch);
    std::size_t visited = scratch.visited.count();
    if (!narrow && slots != map_.count()) {
        std::erase_if(pool, [&](const Near& near) { return !rows_->is_live(near.slot()); });
        if (pool.size() < std::min(ef, map_.count())) {
            graph_->search(measure, ef, slots, &passes, scratch);
            visited += scratch.visited.count();
        }
    }
    bool all = false;
    Found found = measured(pool, ready, how, all);
    found.visited = static_cast<std::int64_t>(visited);
    if (found.hits.size() < static_cast<std::size_t>(how.k)) {
        return std::nullopt;
    }
    found.exhausted = false;
    return found;
}

// Compares the codes of all that may be found, then the best as they are kept.
Found Index::scan_codes(const float* query, const Query& ready, const Search& how, const Selection& chosen) const {
    const auto lent = scratches_.lend();
    std::vector<Near>& pool = (*lent).pool;
    pool.clear();
    pool.reserve(chosen.count());
    Measure measure(*graph_, *rows_);
    measure.query(query);
    std::array<Slot, 256> slots;
    std::array<float, 256> distances;
    std::size_t held = 0;
    const auto flush = [&] {
        measure.many(slots.data(), held, distances.data());
        for (std::size_t i = 0; i < held; ++i) {
            pool.emplace_back(distances[i], slots[i]);
        }
        held = 0;
    };
    chosen.each([&](Slot slot) {
        slots[held++] = slot;
        if (held == slots.size()) {
            flush();
        }
    });
    flush();
    const auto begin = pool.begin();
    const std::size_t first = std::min(pool.size(), 2 * static_cast<std::size_t>(how.k) + 32);
    std::nth_element(begin, begin + static_cast<std::ptrdiff_t>(first) - 1, pool.end());
    std::sort(begin, begin + static_cast<std::ptrdiff_t>(first));
    bool all = false;
    Found found = measured(std::span(pool).first(first), ready, how, all);
    if (all && first < pool.size()) {
        std::sort(begin, pool.end());
        found = measured(pool, ready, how, all);
    }
    found.visited = static_cast<std::int64_t>(pool.size());
    found.exhausted = found.hits.size() < static_cast<std::size_t>(how.k);
    return found;
}

// Measures the candidates on what is kept, nearest first, until the rest is farther than the k best by more than twice
// what the codes were ever wrong. all: whether it came to none that far.
Found Index::measured(std::span<const Near> pool, const Query& ready, const Search& how, bool& all) const {
    constexpr std::size_t ahead = 6, least = 3;
    for (std::size_t i = 0; i < std::min(ahead, pool.size()); ++i) {
        graph_->fetch_tail(pool[i].slot());
    }
    const auto as_walked = [&](float distance) {
        return metric() == Metric::cosine ? distance - 1.0f : metric() == Metric::l2 ? distance * distance : distance;
    };
    Best best(static_cast<std::size_t>(how.k), how.threshold, metric());
    std::vector<float> space;
    float wrong = 0.0f;
    all = true;
    for (std::size_t i = 0; i < pool.size() && all; ++i) {
        const float walked = pool[i].distance();
        if (i >= least && best.full() && walked > as_walked(best.worst()) + 2.0f * wrong) {
            all = false;
            break;
        }
        if (i + ahead < pool.size()) {
            graph_->fetch_tail(pool[i + ahead].slot());
        }
        const float distance = distance_to(ready, pool[i].slot(), space);
        wrong = std::max(wrong, std::fabs(as_walked(distance) - walked));
        best.offer(distance, std::as_const(*rows_).key(pool[i].slot()));
    }
    return std::move(best).finish(0);
}

Result<Found> Index::find(const float* query, const Search& how) const {
    const Query ready(metric(), query, dim());
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    searches_.fetch_add(1, std::memory_order_relaxed);
    std::optional<Bound> bound;
    if (how.filter != nullptr) {
        bound.emplace(*how.filter, columns_);
    }
    const Bound* const filter = bound ? &*bound : nullptr;
    const auto k = static_cast<std::size_t>(how.k);
    const bool walkable = !how.exact && graph_ && graph_->linked && !graph_->wild() && map_.count() > k;
    const Selections::Shared chosen = selected(how, filter, walkable);
    if (!walkable || (chosen && chosen->count() <= k)) {
        return scan(ready, how, chosen.get());
    }
    if (!chosen || !is_rare(chosen->count(), how)) {
        if (auto found = walk(query, ready, how, filter, chosen.get())) {
            return std::move(*found);
        }
    }
    fallbacks_.fetch_add(1, std::memory_order_relaxed);
    if (chosen && options_.codes()) {
        return scan_codes(query, ready, how, *chosen);
    }
    return scan(ready, how, selected(how, filter, false).get());
}

Result<Found> Index::search(const float* query, const Search& how) const noexcept {
    auto many = search_many(query, 1, how, 1);
    return many ? Result<Found>(std::move(many.value().front())) : Result<Found>(many.error());
}

Result<std::vector<Found>> Index::search_many(const float* queries, std::size_t count, const Search& how,
                                              std::int64_t threads) const noexcept {
    return guarded<std::vector<Found>>([&]() -> Result<std::vector<Found>> {
        if (how.k < 1 || how.k > 100000) {
            return Error{Errc::invalid_argument, how.k, 0, "k", "1 to 100000"};
        }
        if (how.ef < 0 || how.ef > 100000) {
            return Error{Errc::invalid_argument, how.ef, 0, "ef", "1 to 100000"};
        }
        for (std::size_t i = 0; i < count; ++i) {
            if (const auto error = exact::bad_row(queries + i * dim(), dim(), i, metric())) {
                return *error;
            }
        }
        Search with = how;
        std::vector<std::int64_t> allowed;
        if (how.allow) {
            allowed.assign(how.allow->begin(), how.allow->end());
            std::sort(allowed.begin(), allowed.end());
            allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
            with.allow = allowed;
        }
        std::vector<Found> found(count);
        std::atomic<bool> was_closed{false};
        Status status = in_parallel(count, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                auto one = find(queries + i * dim(), with);
                if (one) {
                    found[i] = std::move(one.value());
                } else {
                    was_closed = true;
                }
            }
        });
        if (!status) {
            return status.error();
        }
        return was_closed ? Result<std::vector<Found>>(closed) : Result<std::vector<Found>>(std::move(found));
    });
}

Status Index::get(std::span<const std::int64_t> keys, float* out) const noexcept {
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const Slot slot = map_.find(*rows_, keys[i]);
        if (slot == no_slot) {
            return Error{Errc::not_found, keys[i], 0, "key"};
        }
        copy_vector(slot, out + i * dim());
    }
    return Done{};
}

Result<std::vector<Attrs>> Index::get_attrs(std::span<const std::int64_t> keys) const noexcept {
    return guarded<std::vector<Attrs>>([&]() -> Result<std::vector<Attrs>> {
        const auto lock = read();
        if (closed_) {
            return closed;
        }
        std::vector<Attrs> out;
        for (const std::int64_t key : keys) {
            const Slot slot = map_.find(*rows_, key);
            if (slot == no_slot) {
                return Error{Errc::not_found, key, 0, "key"};
            }
            out.push_back(columns_.get(slot));
        }
        return out;
    });
}

Status Index::contains(std::span<const std::int64_t> keys, bool* out) const noexcept {
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    std::transform(keys.begin(), keys.end(), out, [&](std::int64_t key) { return map_.find(*rows_, key) != no_slot; });
    return Done{};
}

Result<std::vector<std::int64_t>> Index::keys() const noexcept {
    return guarded<std::vector<std::int64_t>>([&]() -> Result<std::vector<std::int64_t>> {
        std::vector<std::int64_t> out;
        {
            const auto lock = read();
            if (closed_) {
                return closed;
            }
            out.reserve(map_.count());
            rows_->each_live([&](Slot slot) { out.push_back(std::as_const(*rows_).key(slot)); });
        }
        std::sort(out.begin(), out.end());
        return out;
    });
}

std::string Index::tag() const {
    const auto lock = read();
    return tag_;
}

Result<Stats> Index::stats() const noexcept {
    const std::lock_guard writing(writer_);
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    const std::size_t count = map_.count();
    Stats now{};
    now.count = count;
    now.removed = rows_->used() - count;
    now.bytes = sizeof(Index) + rows_->bytes() + map_.bytes() + columns_.bytes() + (graph_ ? graph_->bytes() : 0);
    now.file_bytes = file_bytes_;
    now.columns = columns_.count();
    now.searches = searches_.load();
    now.exact_scans = exact_scans_.load();
    now.fallbacks = fallbacks_.load();
    now.generation = generation_;
    if (graph_ && graph_->linked) {
        now.levels = graph_->entry().slot == no_slot ? 0 : graph_->entry().level + 1;
        rows_->each_live(
            [&](Slot slot) { now.max_degree = std::max<std::size_t>(now.max_degree, graph_->head(slot).count); });
    }
    return now;
}

bool Index::is_sound() const {
    const std::lock_guard writing(writer_);
    if (!graph_ || !graph_->linked) {
        return true;
    }
    std::vector<bool> free(rows_->used(), true);
    rows_->each_live([&](Slot slot) { free[slot] = false; });
    for (const Slot slot : dead_) free[slot] = false;
    for (const Slot slot : dying_) free[slot] = false;
    std::array<Slot, Graph::most_links> held;
    bool sound = graph_->entry().slot < free.size() && !free[graph_->entry().slot];
    for (std::size_t i = 0; i < free.size(); ++i) {
        const auto slot = static_cast<Slot>(i);
        for (std::size_t level = 0; !free[i] && level <= graph_->head(slot).level; ++level) {
            auto next = graph_->links(slot, level, held);
            for (const Slot to : next) {
                sound = sound && to != slot && !free[to] && graph_->head(to).level >= level;
            }
            std::sort(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(next.size()));
            sound = sound && std::adjacent_find(next.begin(), next.end()) == next.end();
        }
    }
    return sound || map_.count() == 0;
}

}  // namespace spell::hnsw
