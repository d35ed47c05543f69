// Where an index keeps its vectors: rows in chunks that double in size and never move, a bit per live row, and a map
// from key to row. Not synchronised; exact/index.cpp says who may do what when.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace spell::exact {

using Slot = std::uint32_t;
constexpr Slot no_slot = 0xFFFFFFFFu;

struct Chunk {
    Chunk(std::size_t rows, std::size_t dim);

    std::size_t rows;
    std::unique_ptr<float[]> vectors;
    std::unique_ptr<std::int64_t[]> keys;
    std::unique_ptr<float[]> scales;        // 1 / length of the vector, or 0 when that is beyond float
    std::unique_ptr<std::uint64_t[]> live;  // one bit per row
};

class Rows {
 public:
    explicit Rows(std::size_t dim) noexcept : dim_(dim) {}
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;
    ~Rows();

    // Makes room for `more` rows, so that taking them cannot fail.
    void reserve(std::size_t more);
    // A row that is not live; its content may be written while others search.
    Slot take() noexcept;
    void give_back(Slot slot) noexcept { free_.push_back(slot); }
    void reserve_free(std::size_t more) { free_.reserve(free_.size() + more); }

    float* vector(Slot slot) noexcept { return at(slot).vectors.get() + offset(slot) * dim_; }
    const float* vector(Slot slot) const noexcept { return at(slot).vectors.get() + offset(slot) * dim_; }
    std::int64_t key(Slot slot) const noexcept { return at(slot).keys[offset(slot)]; }
    std::int64_t& key(Slot slot) noexcept { return at(slot).keys[offset(slot)]; }
    float& scale(Slot slot) noexcept { return at(slot).scales[offset(slot)]; }
    void set_live(Slot slot, bool live) noexcept;

    template <class Visit>
    void each_chunk(Visit&& visit) const {
        for (const auto& held : chunks_) {
            const Chunk* chunk = held.load(std::memory_order_acquire);
            if (chunk == nullptr) break;
            visit(*chunk);
        }
    }
    const Chunk& chunk_of(Slot slot) const noexcept { return at(slot); }
    static std::size_t offset(Slot slot) noexcept;

    std::size_t used() const noexcept { return used_; }
    std::size_t bytes() const noexcept;

 private:
    static constexpr std::size_t first_rows = 16;
    static std::size_t number(Slot slot) noexcept;
    Chunk& at(Slot slot) const noexcept { return *chunks_[number(slot)].load(std::memory_order_acquire); }

    std::size_t dim_;
    std::size_t used_ = 0;  // rows ever taken
    std::vector<Slot> free_;
    std::array<std::atomic<Chunk*>, 29> chunks_{};  // set once each, by the writer, while others read
};

// Finds the row of a key. It holds rows only; their keys are read from `rows`. A larger copy is made beside the one in
// use.
class KeyMap {
 public:
    Slot find(const Rows& rows, std::int64_t key) const noexcept;
    void insert(std::int64_t key, Slot slot) noexcept;                    // the key is absent and there is room
    void assign(const Rows& rows, std::int64_t key, Slot slot) noexcept;  // the key is present
    void erase(const Rows& rows, std::int64_t key) noexcept;              // the key is present

    bool has_room(std::size_t more) const noexcept { return (count_ + more) * 4 <= slots_.size() * 3; }
    KeyMap grown(const Rows& rows, std::size_t more) const;
    std::size_t count() const noexcept { return count_; }
    std::size_t bytes() const noexcept { return slots_.capacity() * sizeof(Slot); }

 private:
    std::size_t home(std::int64_t key) const noexcept;
    std::size_t place(const Rows& rows, std::int64_t key) const noexcept;

    std::vector<Slot> slots_;  // a power of two of them, no_slot when unused
    std::size_t count_ = 0;
};

}  // namespace spell::exact
