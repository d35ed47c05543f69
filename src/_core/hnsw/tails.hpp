// What the code of a vector leaves open: with both, every number of the vector is had back bit by bit, so that codes
// for the walk and vectors for the last measure take together the room of the vectors alone.
//
// A number x has a code c, which is x over a scale, rounded; x lies within half a step of c. For c != 0 that leaves
// fewer than 2^24 floats around c * base, and the lower 24 bits of x tell which. For c == 0 the upper 24 bits of x are
// kept, and the last byte, when it is not 0, among the few `rests` of the row.
//
//   row of 3 * dim bytes: lower 16 of the 24 bits of each number | upper 8 of each
//   note, in what the record of the graph would be padded with: base (float) | count (u16) | rests of 3 bytes
//
// Where a note has no room for all rests they are in a map.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "hnsw/store.hpp"
#include "hnsw/visited.hpp"

namespace spell::hnsw {

class Tails {
 public:
    // note: bytes of one, at least least_note(dim).
    Tails(std::size_t dim, std::size_t note);
    // About as many numbers of a vector like a sentence embedding's have the code 0 and a last byte.
    static constexpr std::size_t least_note(std::size_t dim) noexcept {
        return head + rest * std::max<std::size_t>(2, dim / 48);
    }

    // most: the largest magnitude in the vector. code: as quantise() makes it. Nobody reads the row yet.
    void split(Slot slot, const std::int8_t* code, const float* vector, float most, unsigned char* note);
    void restore(Slot slot, const std::int8_t* code, const unsigned char* note, float* out) const noexcept;
    void erase(Slot slot) noexcept;
    void fetch(Slot slot) const noexcept {
        const unsigned char* row = rows_.at(slot);
        for (std::size_t i = 0; i < rows_.stride(); i += 64) {
            __builtin_prefetch(row + i);
        }
    }

    using Rests = std::vector<std::uint32_t>;  // position << 8 | last byte
    // For a row that says it has some elsewhere; false if they cannot be of such a vector.
    bool set_spilled(Slot slot, Rests rests);
    const Rests* spilled(Slot slot) const noexcept;

    Store& rows() noexcept { return rows_; }
    const Store& rows() const noexcept { return rows_; }
    std::size_t bytes() const noexcept;

 private:
    static constexpr std::size_t head = sizeof(float) + sizeof(std::uint16_t), rest = 3;
    static constexpr std::uint16_t elsewhere = 0xFFFF;
    std::size_t dim_, room_;
    Store rows_;
    mutable std::mutex lock_;  // protects spilled_, which is written while others read other rows
    std::unordered_map<Slot, Rests> spilled_;
};

}  // namespace spell::hnsw
