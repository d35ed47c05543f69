// The graph of one index. Each element has one aligned record, so that a visit is one run of cache lines:
//   code (int8, padded to 64) | Head | links of layer 0
// Links of higher layers, which one element in m has, lie in blocks of their own.
//
// Readers walk while the writer links: every link is written with release and read with acquire, so what it leads to is
// whole; a list that is being replaced may be seen half old and half new, which only changes the way taken. Heads are
// written before the first link to them. A slot is reused only after a moment in which no reader was inside.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "exact/metric.hpp"
#include "exact/rows.hpp"
#include "hnsw/store.hpp"
#include "hnsw/tails.hpp"
#include "hnsw/visited.hpp"

namespace spell::hnsw {

using exact::Metric;
using exact::no_slot;
using exact::Rows;

struct Head {
    float scale;          // of a code number; under cosine of the vector brought to unit length
    std::int32_t sum;     // of the code
    float bias;           // squared length of the coded vector under l2, else 0
    std::uint32_t upper;  // first block of links above layer 0, or 0
    std::uint16_t count;  // links of layer 0
    std::uint8_t level;
    std::uint8_t dead;  // walked through, never linked to anew
};

struct Shape {
    std::size_t dim;
    Metric metric;
    std::size_t m = 16;
    std::size_t ef_construction = 200;
    std::uint64_t seed = 42;
    bool codes = true;  // false: distances come from the float rows
    bool tails = true;  // with codes only: what the vectors have beyond them is kept too
};

struct Entry {
    Slot slot = no_slot;
    std::uint32_t level = 0;
};

struct Mending {
    std::size_t relinked = 0;  // elements
    std::size_t work = 0;      // links looked at
};

class Graph;

// Distances from one vector to many elements, in the measure of the walk: smaller is nearer.
class Measure {
 public:
    Measure(const Graph& graph, const Rows& rows) : graph_(graph), rows_(rows) {}
    // Both look at what they are given until the next call.
    void query(const float* vector);
    void element(Slot slot);
    void many(const Slot* slots, std::size_t count, float* out) const;
    float one(Slot slot) const {
        float out;
        many(&slot, 1, &out);
        return out;
    }

 private:
    const Graph& graph_;
    const Rows& rows_;
    const std::int8_t* code_ = nullptr;
    const float* vector_ = nullptr;
    std::vector<std::int8_t> own_code_;
    float factor_ = 0.0f, constant_ = 0.0f;
};

class Graph {
 public:
    static constexpr std::size_t most_levels = 15;
    static constexpr std::size_t most_links = 256;
    static constexpr std::uint8_t dying = 2;  // dead, and soon forgotten

    Graph(const Shape& shape, const Rows& rows);

    struct Growth {
        Store::Growth records, upper, tails;
    };
    Growth grown(std::size_t slots, std::size_t blocks) const;
    void commit(Growth& growth) noexcept;

    // Writes code, tail and head of an element that nothing leads to.
    void encode(Slot slot, const float* vector);
    // The vector as it was encoded, or as the code alone tells it.
    void decode(Slot slot, float* out) const noexcept;
    void fetch_tail(Slot slot) const noexcept {
        if (tails_) {
            tails_->fetch(slot);
        }
    }
    void fetch(Slot slot) const noexcept {
        for (std::size_t i = 0; i < records_.stride(); i += 64) {
            __builtin_prefetch(records_.at(slot) + i);
        }
        fetch_tail(slot);
    }
    // 1 / length of the coded vector, or 0 when that is beyond float.
    float coded_scale(Slot slot, const float* vector) const noexcept;
    void erase(Slot slot) noexcept;
    bool wild() const noexcept { return wild_.load(std::memory_order_relaxed); }
    void set_wild() noexcept { wild_.store(true, std::memory_order_relaxed); }

    std::size_t level_of(std::int64_t key) const noexcept;
    // Inserts elements, in the order given, in rounds. Blocks for their levels must have room.
    Status link(std::span<const Slot> fresh, std::int64_t threads);
    std::size_t blocks_needed(std::span<const Slot> fresh) const noexcept;

    // The ef nearest elements in scratch.pool, ascending. `passes`, when given, chooses what may be in it.
    using Passes = std::function<bool(Slot)>;
    // slots: a limit() that was read while holding the lock.
    void search(const Measure& measure, std::size_t ef, std::size_t slots, const Passes* passes,
                Scratch& scratch) const;

    void set_dead(Slot slot) noexcept;
    // Takes links to the dead out of the lists of all but the dying in [begin, end) and joins what they held together.
    Result<Mending> mend(Slot begin, Slot end, std::int64_t threads);
    void forget(Slot slot) noexcept;  // nothing leads to it any more
    void unlink() noexcept;           // all of them
    void move_entry(std::size_t slots) noexcept;

    Entry entry() const noexcept;
    void set_entry(Entry entry) noexcept;
    std::span<const Slot> links(Slot slot, std::size_t level, std::array<Slot, most_links>& out) const noexcept;

    const Shape& shape() const noexcept { return shape_; }
    const Rows& rows() const noexcept { return rows_; }
    std::size_t code_bytes() const noexcept { return code_bytes_; }
    const std::int8_t* code(Slot slot) const noexcept {
        return reinterpret_cast<const std::int8_t*>(records_.at(slot));
    }
    Head& head(Slot slot) const noexcept { return *reinterpret_cast<Head*>(records_.at(slot) + code_bytes_); }
    Store& records() noexcept { return records_; }
    Store& upper() noexcept { return upper_; }
    const Store& records() const noexcept { return records_; }
    const Store& upper() const noexcept { return upper_; }
    Tails* tails() noexcept { return tails_ ? &*tails_ : nullptr; }
    const Tails* tails() const noexcept { return tails_ ? &*tails_ : nullptr; }
    std::size_t blocks() const noexcept { return blocks_; }
    void set_blocks(std::size_t blocks) noexcept { blocks_ = blocks; }
    std::size_t bytes() const noexcept { return records_.bytes() + upper_.bytes() + (tails_ ? tails_->bytes() : 0); }
    // Slots in use; no link beyond them is followed.
    std::size_t limit() const noexcept { return limit_.load(std::memory_order_acquire); }
    void set_limit(std::size_t slots) noexcept { limit_.store(slots, std::memory_order_release); }
    bool linked = false;  // false while the index is small enough to be scanned

 private:
    friend class Measure;
    friend class HnswlibFile;
    struct Plan;
    struct Mended;

    Slot* list(Slot slot, std::size_t level) const noexcept;
    unsigned char* note(Slot slot) const noexcept {
        return records_.at(slot) + code_bytes_ + sizeof(Head) + 2 * shape_.m * sizeof(Slot);
    }
    std::size_t room(std::size_t level) const noexcept { return level == 0 ? 2 * shape_.m : shape_.m; }
    void set_links(Slot slot, std::size_t level, std::span<const Slot> to) noexcept;
    void take_blocks(Slot slot, std::size_t level) noexcept;
    Near descend(const Measure& measure, Entry from, std::size_t to_level, std::size_t slots) const;
    void walk(const Measure& measure, Near from, std::size_t level, std::size_t ef, Scratch& scratch) const;
    void walk_filtered(const Measure& measure, Near from, std::size_t level, std::size_t ef, const Passes& passes,
                       Scratch& scratch) const;
    void fetch_links(Slot slot) const noexcept {
        const unsigned char* links = records_.at(slot) + code_bytes_;
        for (std::size_t i = 64; i < sizeof(Head) + 2 * shape_.m * sizeof(Slot); i += 64) {
            __builtin_prefetch(links + i);
        }
    }
    template <class Visit>
    void each_link(Slot slot, std::size_t level, Visit&& visit) const {
        const Slot* from = list(slot, level);
        if (from == nullptr) {
            return;
        }
        const std::size_t stated =
            level == 0 ? std::atomic_ref<std::uint16_t>(head(slot).count).load(std::memory_order_acquire)
                       : load_link(*from++);
        const std::size_t count = std::min(stated, room(level));
        for (std::size_t i = 0; i < count; ++i) {
            visit(load_link(from[i]));
        }
    }
    static Slot load_link(const Slot& link) noexcept {
        return std::atomic_ref<Slot>(const_cast<Slot&>(link)).load(std::memory_order_acquire);
    }
    std::size_t unseen(Slot slot, std::size_t level, Scratch& scratch, Slot* out) const;
    void plan(Plan& plan, std::span<const Plan> before, Scratch& scratch) const;
    Near living(const Measure& measure, Near from, std::size_t level, Scratch& scratch, std::vector<Near>& found) const;
    bool is_covered(const Measure& measure, const Near& candidate, std::span<const Slot> others, float factor) const;
    void select(std::vector<Near>& candidates, std::size_t most, std::vector<Slot>& chosen) const;
    void set_best(Slot target, std::size_t level, std::vector<Slot>& all);
    void add_links(Slot target, std::size_t level, std::span<const Slot> incoming);
    bool without_dead(Slot slot, std::size_t level, std::vector<Slot>& kept, std::size_t& work) const;
    void link_round(std::span<const Slot> fresh, std::int64_t threads);

    Shape shape_;
    const Rows& rows_;
    std::size_t code_bytes_;
    Store records_, upper_;
    std::optional<Tails> tails_;
    std::size_t blocks_ = 1;                               // block 0 is none
    std::vector<std::vector<std::uint32_t>> free_blocks_;  // by number of levels
    std::atomic<std::uint64_t> entry_{no_slot};
    std::atomic<std::size_t> limit_{0};
    std::atomic<bool> wild_{false};  // an element whose size the codes cannot carry was seen
    mutable Scratches scratches_;
};

}  // namespace spell::hnsw
