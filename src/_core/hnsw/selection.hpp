// Which elements pass a filter: worked out column by column, one bit for each slot, and kept for the next search that
// asks the same. Questions are seldom asked once, and the elements that pass are often few among very many.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "exact/rows.hpp"
#include "hnsw/filter.hpp"

namespace spell::hnsw {

class Selection {
 public:
    explicit Selection(std::size_t slots) : bits_((slots + 63) / 64) {}

    // Those that live and pass.
    static Selection of(const Bound& bound, const exact::Rows& rows);

    void add(Slot slot) noexcept {
        count_ += has(slot) ? 0 : 1;
        bits_[slot / 64] |= 1ull << (slot % 64);
    }
    // A walk may meet elements that were linked after this was worked out.
    bool has(Slot slot) const noexcept {
        return slot / 64 < bits_.size() && (bits_[slot / 64] >> (slot % 64) & 1) != 0;
    }
    std::size_t count() const noexcept { return count_; }
    std::size_t bytes() const noexcept { return bits_.size() * sizeof(std::uint64_t); }
    template <class Visit>
    void each(Visit&& visit) const {
        for (std::size_t i = 0; i < bits_.size(); ++i) {
            for (std::uint64_t word = bits_[i]; word != 0; word &= word - 1) {
                visit(static_cast<Slot>(64 * i + static_cast<std::size_t>(std::countr_zero(word))));
            }
        }
    }

 private:
    std::vector<std::uint64_t> bits_;
    std::size_t count_ = 0;
};

// The latest selections by the text of their filter. Any thread.
class Selections {
 public:
    using Shared = std::shared_ptr<const Selection>;

    // What is kept for this generation of the index. asked: whether anybody did before.
    Shared find(const std::string& filter, std::uint64_t generation, bool& asked);
    void keep(const std::string& filter, std::uint64_t generation, Shared selection);
    void clear() noexcept;

 private:
    static constexpr std::size_t most = 256, most_bytes = 1u << 22;
    struct Kept {
        std::uint64_t generation = 0, used = 0;
        Shared selection;
    };
    void make_room();

    std::mutex lock_;  // protects the rest
    std::unordered_map<std::string, Kept> kept_;
    std::uint64_t clock_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace spell::hnsw
