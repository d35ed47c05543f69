#include "hnsw/selection.hpp"

#include <algorithm>

namespace spell::hnsw {

Selection Selection::of(const Bound& bound, const exact::Rows& rows) {
    std::size_t slots = 0;
    rows.each_chunk([&](const exact::Chunk& chunk) { slots += chunk.rows; });
    Selection out(slots);
    bound.mark(out.bits_, slots);
    std::size_t count = 0;
    for (std::size_t i = 0; i < out.bits_.size(); ++i) {
        std::uint64_t live = 0;
        for (std::uint64_t word = out.bits_[i]; word != 0; word &= word - 1) {
            const std::uint64_t bit = word & (~word + 1);
            const auto slot = static_cast<Slot>(64 * i + static_cast<std::size_t>(std::countr_zero(word)));
            live |= rows.is_live(slot) ? bit : 0;
        }
        out.bits_[i] = live;
        count += static_cast<std::size_t>(std::popcount(live));
    }
    out.count_ = count;
    return out;
}

Selections::Shared Selections::find(const std::string& filter, std::uint64_t generation, bool& asked) {
    const std::lock_guard guard(lock_);
    const auto [at, fresh] = kept_.try_emplace(filter);
    asked = !fresh;
    at->second.used = ++clock_;
    Shared found = at->second.generation == generation ? at->second.selection : nullptr;
    if (fresh && kept_.size() > most) {
        make_room();
    }
    return found;
}

void Selections::keep(const std::string& filter, std::uint64_t generation, Shared selection) {
    const std::lock_guard guard(lock_);
    Kept& kept = kept_[filter];
    bytes_ += selection->bytes() - (kept.selection ? kept.selection->bytes() : 0);
    kept = {generation, ++clock_, std::move(selection)};
    while (kept_.size() > 1 && (bytes_ > most_bytes || kept_.size() > most)) {
        make_room();
    }
}

// The one not asked for longest leaves.
void Selections::make_room() {
    const auto oldest = std::min_element(kept_.begin(), kept_.end(),
                                         [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
    bytes_ -= oldest->second.selection ? oldest->second.selection->bytes() : 0;
    kept_.erase(oldest);
}

void Selections::clear() noexcept {
    const std::lock_guard guard(lock_);
    kept_.clear();
    bytes_ = 0;
}

}  // namespace spell::hnsw
