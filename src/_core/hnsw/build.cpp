// Insertion in rounds: every element of a round finds its neighbours in the graph as it was before the round and among
// the elements of the round before it; then links back are written, list by list. Each list has one author and depends
// on the round alone, so the graph is the same for any number of threads.
#include <algorithm>
#include <tuple>

#include "base/parallel.hpp"
#include "hnsw/graph.hpp"

namespace spell::hnsw {

struct Graph::Plan {
    Slot slot;
    std::size_t level;
    std::vector<std::vector<Slot>> links;  // by layer
};

namespace {

constexpr std::size_t round_size = 128;

struct Back {
    std::uint32_t level;
    Slot target, from;

    bool operator<(const Back& other) const noexcept {
        return std::tie(level, target, from) < std::tie(other.level, other.target, other.from);
    }
};

}  // namespace

// Whether the element that `measure` was made for is nearer to one of `others` than to the one it is to be linked with,
// by the given factor.
bool Graph::is_covered(const Measure& measure, const Near& candidate, std::span<const Slot> others,
                       float factor) const {
    const float zero = shape_.metric == Metric::cosine ? 1.0f : 0.0f;  // makes lengths of what a walk compares
    const float line = zero + candidate.distance();
    std::array<float, 8> distances;
    for (std::size_t first = 0; first < others.size(); first += distances.size()) {
        const std::size_t part = std::min(distances.size(), others.size() - first);
        measure.many(others.data() + first, part, distances.data());
        if (std::any_of(distances.begin(), distances.begin() + static_cast<std::ptrdiff_t>(part),
                        [&](float distance) { return factor * (zero + distance) < line; })) {
            return true;
        }
    }
    return false;
}

// Adds to the chosen, of the candidates, nearest first, those that are nearer to the element than to any already
// chosen: so links lead in all directions. A list that this leaves short is filled up to m with those that are not much
// nearer to one chosen, which saves a walk one element in seven (the factor of Jayaram Subramanya and others 2019, but
// only after the strict choice, which keeps apart clusters linked). Inner products are no lengths, and have no factor.
void Graph::select(std::vector<Near>& candidates, std::size_t most, std::vector<Slot>& chosen) const {
    constexpr std::size_t longest_second = 32;
    std::sort(candidates.begin(), candidates.end());
    Measure measure(*this, rows_);
    std::vector<Near> second;
    for (const Near& candidate : candidates) {
        if (chosen.size() == most) {
            return;
        }
        measure.element(candidate.slot());
        if (!is_covered(measure, candidate, chosen, 1.0f)) {
            chosen.push_back(candidate.slot());
        } else if (second.size() < longest_second) {
            second.push_back(candidate);
        }
    }
    const float factor = shape_.metric == Metric::l1 ? 1.1f : 1.2f;  // the others are squares of lengths
    for (const Near& candidate : second) {
        if (shape_.metric == Metric::ip || chosen.size() >= std::min(most, shape_.m)) {
            return;
        }
        measure.element(candidate.slot());
        if (!is_covered(measure, candidate, chosen, factor)) {
            chosen.push_back(candidate.slot());
        }
    }
}

// The ef_construction nearest, without the dead among them. Where hardly one of those lives, as after many replacements
// of one vector, the walk goes on through them to the nearest that do: an element without links is lost.
Near Graph::living(const Measure& measure, Near from, std::size_t level, Scratch& scratch,
                   std::vector<Near>& found) const {
    const auto take = [&] {
        found.clear();
        std::copy_if(scratch.pool.begin(), scratch.pool.end(), std::back_inserter(found),
                     [&](const Near& near) { return head(near.slot()).dead == 0; });
    };
    scratch.visited.reset(limit());
    walk(measure, from, level, shape_.ef_construction, scratch);
    const Near nearest = scratch.pool.front();
    take();
    if (found.size() < shape_.m && found.size() < scratch.pool.size()) {
        scratch.visited.reset(limit());
        walk_filtered(measure, from, level, shape_.m, [&](Slot slot) { return head(slot).dead == 0; }, scratch);
        take();
    }
    return nearest;
}

void Graph::plan(Plan& plan, std::span<const Plan> before, Scratch& scratch) const {
    Measure measure(*this, rows_);
    measure.element(plan.slot);
    std::vector<float> distances(before.size());
    std::vector<Slot> slots(before.size());
    std::transform(before.begin(), before.end(), slots.begin(), [](const Plan& other) { return other.slot; });
    measure.many(slots.data(), slots.size(), distances.data());
    const Entry from = entry();
    const std::size_t all = limit();
    Near near;
    if (from.slot < all) {
        near = descend(measure, from, std::min<std::size_t>(plan.level, from.level), all);
    }
    std::vector<Near> candidates;
    for (std::size_t level = plan.level + 1; level-- > 0;) {
        candidates.clear();
        if (from.slot < all && level <= from.level) {
            near = living(measure, near, level, scratch, candidates);
        }
        for (std::size_t i = 0; i < before.size(); ++i) {
            if (before[i].level >= level) {
                candidates.emplace_back(distances[i], slots[i]);
            }
        }
        select(candidates, shape_.m, plan.links[level]);
    }
}

void Graph::add_links(Slot target, std::size_t level, std::span<const Slot> incoming) {
    std::array<Slot, most_links> held;
    const auto now = links(target, level, held);
    std::vector<Slot> all(now.begin(), now.end());
    for (const Slot slot : incoming) {
        if (std::find(all.begin(), all.end(), slot) == all.end()) {
            all.push_back(slot);
        }
    }
    set_best(target, level, all);
}

// The dead take only the room that the living leave: beside its dead twin no element put back would be chosen.
void Graph::set_best(Slot target, std::size_t level, std::vector<Slot>& all) {
    if (all.size() > room(level)) {
        Measure measure(*this, rows_);
        measure.element(target);
        std::vector<float> distances(all.size());
        measure.many(all.data(), all.size(), distances.data());
        std::vector<Near> living, dead;
        living.reserve(all.size());
        for (std::size_t i = 0; i < all.size(); ++i) {
            (head(all[i]).dead == 0 ? living : dead).emplace_back(distances[i], all[i]);
        }
        all.clear();
        if (living.size() > room(level)) {
            select(living, room(level), all);
        } else {
            std::transform(living.begin(), living.end(), std::back_inserter(all),
                           [](const Near& near) { return near.slot(); });
        }
        std::sort(dead.begin(), dead.end());
        for (std::size_t i = 0; i < dead.size() && all.size() < room(level); ++i) {
            all.push_back(dead[i].slot());
        }
    }
    set_links(target, level, all);
}

void Graph::link_round(std::span<const Slot> fresh, std::int64_t threads) {
    std::vector<Plan> plans;
    plans.reserve(fresh.size());
    for (const Slot slot : fresh) {
        const std::size_t level = level_of(rows_.key(slot));
        take_blocks(slot, level);
        plans.push_back({slot, level, std::vector<std::vector<Slot>>(level + 1)});
    }
    const auto check = [](const Status& status) {
        if (!status) {
            throw std::bad_alloc();
        }
    };
    check(in_parallel(plans.size(), threads, [&](std::size_t begin, std::size_t end) {
        const auto scratch = scratches_.lend();
        for (std::size_t i = begin; i < end; ++i) {
            plan(plans[i], std::span(plans).first(i), *scratch);
        }
    }));
    std::vector<Back> back;
    for (const Plan& plan : plans) {
        for (std::size_t level = 0; level <= plan.level; ++level) {
            set_links(plan.slot, level, plan.links[level]);
            for (const Slot target : plan.links[level]) {
                back.push_back({static_cast<std::uint32_t>(level), target, plan.slot});
            }
        }
    }
    std::sort(back.begin(), back.end());
    std::vector<std::size_t> starts;
    for (std::size_t i = 0; i < back.size(); ++i) {
        if (i == 0 || back[i].target != back[i - 1].target || back[i].level != back[i - 1].level) {
            starts.push_back(i);
        }
    }
    starts.push_back(back.size());
    check(in_parallel(starts.size() - 1, threads, [&](std::size_t begin, std::size_t end) {
        std::vector<Slot> incoming;
        for (std::size_t i = begin; i < end; ++i) {
            incoming.clear();
            for (std::size_t j = starts[i]; j < starts[i + 1]; ++j) {
                incoming.push_back(back[j].from);
            }
            add_links(back[starts[i]].target, back[starts[i]].level, incoming);
        }
    }));
    Entry top = entry();
    for (const Plan& plan : plans) {
        if (top.slot == no_slot || plan.level > top.level) {
            top = {plan.slot, static_cast<std::uint32_t>(plan.level)};
        }
    }
    set_entry(top);
}

Status Graph::link(std::span<const Slot> fresh, std::int64_t threads) {
    return guarded<Done>([&]() -> Status {
        for (std::size_t begin = 0; begin < fresh.size(); begin += round_size) {
            link_round(fresh.subspan(begin, std::min(round_size, fresh.size() - begin)), threads);
        }
        return Done{};
    });
}

}  // namespace spell::hnsw
