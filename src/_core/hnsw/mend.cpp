// Taking the dead out of the graph. A batch of lists is planned on the graph as it is and written afterwards, so that
// the result does not depend on the number of threads.
#include <algorithm>

#include "base/parallel.hpp"
#include "hnsw/graph.hpp"

namespace spell::hnsw {

struct Graph::Mended {
    std::size_t level;
    std::vector<Slot> links;
};

// The living links stay. What a dead neighbour led to takes its place, the nearest first, as far as there is room for
// it and it leads in another direction. False when none is dead. work: grows by the elements looked at.
bool Graph::without_dead(Slot slot, std::size_t level, std::vector<Slot>& kept, std::size_t& work) const {
    std::array<Slot, most_links> held, further;
    const auto now = links(slot, level, held);
    kept.clear();
    std::copy_if(now.begin(), now.end(), std::back_inserter(kept), [&](Slot next) { return head(next).dead == 0; });
    if (kept.size() == now.size()) {
        return false;
    }
    std::vector<Slot> beyond;
    for (const Slot gone : now) {
        if (head(gone).dead != 0) {
            const auto led = links(gone, level, further);
            std::copy_if(led.begin(), led.end(), std::back_inserter(beyond),
                         [&](Slot next) { return next != slot && head(next).dead == 0; });
        }
    }
    work += now.size() + beyond.size();
    std::sort(beyond.begin(), beyond.end());
    beyond.erase(std::unique(beyond.begin(), beyond.end()), beyond.end());
    std::erase_if(beyond, [&](Slot next) { return std::find(kept.begin(), kept.end(), next) != kept.end(); });
    Measure measure(*this, rows_);
    measure.element(slot);
    std::vector<float> distances(beyond.size());
    measure.many(beyond.data(), beyond.size(), distances.data());
    std::vector<Near> candidates;
    for (std::size_t i = 0; i < beyond.size(); ++i) {
        candidates.emplace_back(distances[i], beyond[i]);
    }
    select(candidates, room(level), kept);
    const std::size_t wanted = std::min(room(level), now.size() + 2);  // more, since they are not as well chosen
    for (std::size_t i = 0; i < candidates.size() && kept.size() < wanted; ++i) {
        if (std::find(kept.begin(), kept.end(), candidates[i].slot()) == kept.end()) {
            kept.push_back(candidates[i].slot());
        }
    }
    return true;
}

Result<Mending> Graph::mend(Slot begin, Slot end, std::int64_t threads) {
    return guarded<Mending>([&]() -> Result<Mending> {
        std::vector<std::vector<Mended>> plans(end - begin);
        std::atomic<std::size_t> work{end - begin};
        const Status planned = in_parallel(plans.size(), threads, [&](std::size_t first, std::size_t last) {
            std::vector<Slot> kept;
            std::size_t seen = 0;
            for (std::size_t i = first; i < last; ++i) {
                const Slot slot = begin + static_cast<Slot>(i);
                const std::size_t top = std::min<std::size_t>(head(slot).level, most_levels);
                for (std::size_t level = 0; head(slot).dead != dying && level <= top; ++level) {
                    if (without_dead(slot, level, kept, seen)) {
                        plans[i].push_back({level, kept});
                    }
                }
            }
            work.fetch_add(seen, std::memory_order_relaxed);
        });
        if (!planned) {
            return planned.error();
        }
        Mending done{0, work.load()};
        for (std::size_t i = 0; i < plans.size(); ++i) {
            for (const Mended& list : plans[i]) {
                set_links(begin + static_cast<Slot>(i), list.level, list.links);
            }
            done.relinked += plans[i].empty() ? 0 : 1;
        }
        return done;
    });
}

}  // namespace spell::hnsw
