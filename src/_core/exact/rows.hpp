// Where an index keeps its vectors: rows in chunks that double in size and never move, a bit per live row, and a map
// from key to row. Not synchronised; exact/index.cpp says who may do what when.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace spell::exact {

using Slot = std::uint32_t;
constexpr Slot no_slot = 0xFFFFFFFFu;

// The arrays of a saved index, which live longer than its rows. vectors: null when only codes are kept.
struct Saved {
    std::size_t rows;
    float* vectors;
    std::int64_t* keys;
    float* scales;
};

struct Chunk {
    Chunk(std::size_t rows, std::size_t dim);
    Chunk(const Saved& saved, std::size_t first, std::size_t rows, std::size_t dim);

    std::size_t rows;
    bool borrowed = false;
    std::unique_ptr<float[]> own_vectors;
    std::unique_ptr<std::int64_t[]> own_keys;
    std::unique_ptr<float[]> own_scales;
    float* vectors;
    std::int64_t* keys;
    float* scales;                          // 1 / length of the vector, or 0 when that is beyond float
    std::unique_ptr<std::uint64_t[]> live;  // one bit per row
};

class Rows {
 public:
    // floats: false when the vectors themselves are kept elsewhere, as codes.
    explicit Rows(std::size_t dim, bool floats = true) noexcept : dim_(floats ? dim : 0) {}
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;
    ~Rows();

    // Makes room for `more` rows, so that taking them cannot fail.
    void reserve(std::size_t more);
    // A row that is not live; its content may be written while others search.
    Slot take() noexcept;
    void give_back(Slot slot) noexcept { free_.push_back(slot); }
    void reserve_free(std::size_t more) { free_.reserve(free_.size() + more); }

    bool has_floats() const noexcept { return dim_ != 0; }
    using Floats = std::vector<std::unique_ptr<float[]>>;  // of each chunk
    // From now on the vectors are kept elsewhere. What is returned is to be freed when nobody reads it.
    Floats drop_floats() noexcept;
    // Chunks for drop_floats() undone: write fills in the vector of a live row.
    template <class Write>
    Floats floats(std::size_t dim, Write&& write) const;
    void set_floats(std::size_t dim, Floats floats) noexcept;
    // Uses the arrays of a file; every row is free until it is set live.
    void borrow(const Saved& saved);

    float* vector(Slot slot) noexcept { return at(slot).vectors + offset(slot) * dim_; }
    const float* vector(Slot slot) const noexcept { return at(slot).vectors + offset(slot) * dim_; }
    std::int64_t key(Slot slot) const noexcept { return at(slot).keys[offset(slot)]; }
    std::int64_t& key(Slot slot) noexcept { return at(slot).keys[offset(slot)]; }
    const std::int64_t* key_place(Slot slot) const noexcept { return at(slot).keys + offset(slot); }
    const float* scale_place(Slot slot) const noexcept { return at(slot).scales + offset(slot); }
    float& scale(Slot slot) noexcept { return at(slot).scales[offset(slot)]; }
    float scale(Slot slot) const noexcept { return at(slot).scales[offset(slot)]; }
    bool is_live(Slot slot) const noexcept {
        const Chunk& chunk = at(slot);
        const std::size_t i = offset(slot);
        return (chunk.live[i / 64] >> (i % 64) & 1) != 0;
    }
    void set_live(Slot slot, bool live) noexcept;

    template <class Visit>
    void each_chunk(Visit&& visit) const {
        for (const auto& held : chunks_) {
            const Chunk* chunk = held.load(std::memory_order_acquire);
            if (chunk == nullptr) break;
            visit(*chunk);
        }
    }
    template <class Visit>
    void each_live(Visit&& visit) const {
        Slot first = 0;
        each_chunk([&](const Chunk& chunk) {
            for (std::size_t i = 0; i < chunk.rows; ++i) {
                if ((chunk.live[i / 64] >> (i % 64) & 1) != 0) {
                    visit(first + static_cast<Slot>(i));
                }
            }
            first += static_cast<Slot>(chunk.rows);
        });
    }
    const Chunk& chunk_of(Slot slot) const noexcept { return at(slot); }
    static std::size_t offset(Slot slot) noexcept {
        return slot < first_rows ? slot : slot - (first_rows << (number(slot) - 1));
    }

    std::size_t used() const noexcept { return used_; }
    std::size_t free() const noexcept { return free_.size(); }
    std::size_t bytes() const noexcept;

 private:
    static constexpr Slot first_rows = 16;
    static std::size_t number(Slot slot) noexcept {
        return slot < first_rows ? 0 : static_cast<std::size_t>(std::bit_width(slot / first_rows));
    }
    Chunk& at(Slot slot) const noexcept { return *chunks_[number(slot)].load(std::memory_order_acquire); }

    std::size_t dim_;
    std::size_t used_ = 0;  // rows ever taken
    std::vector<Slot> free_;
    std::vector<std::unique_ptr<Chunk>> retired_;   // copied chunks, which a reader may still look at
    std::array<std::atomic<Chunk*>, 29> chunks_{};  // set once each, by the writer, while others read
};

template <class Write>
Rows::Floats Rows::floats(std::size_t dim, Write&& write) const {
    Floats made;
    each_chunk([&](const Chunk& chunk) { made.emplace_back(new float[chunk.rows * dim]()); });
    each_live([&](Slot slot) { write(slot, made[number(slot)].get() + offset(slot) * dim); });
    return made;
}

// Finds the row of a key. It holds rows only; their keys are read from `rows`. A larger copy is made beside the one in
// use.
class KeyMap {
 public:
    Slot find(const Rows& rows, std::int64_t key) const noexcept;
    void insert(std::int64_t key, Slot slot) noexcept;                        // the key is absent and there is room
    bool try_insert(const Rows& rows, std::int64_t key, Slot slot) noexcept;  // false when present; there is room
    void assign(const Rows& rows, std::int64_t key, Slot slot) noexcept;      // the key is present
    void erase(const Rows& rows, std::int64_t key) noexcept;                  // the key is present

    bool has_room(std::size_t more) const noexcept { return (count_ + more) * 4 <= slots_.size() * 3; }
    KeyMap grown(const Rows& rows, std::size_t more) const;
    std::size_t count() const noexcept { return count_; }
    std::size_t bytes() const noexcept { return slots_.capacity() * sizeof(Slot); }

 private:
    std::size_t home(std::int64_t key) const noexcept;
    std::size_t after(std::size_t i) const noexcept { return i + 1 == slots_.size() ? 0 : i + 1; }
    std::size_t place(const Rows& rows, std::int64_t key) const noexcept;

    std::vector<Slot> slots_;  // no_slot when unused; there always is an unused one
    std::size_t count_ = 0;
};

}  // namespace spell::exact
