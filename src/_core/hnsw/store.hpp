// Rows of raw bytes in chunks of equal size. Readers hold the lock of the index; the writer prepares a larger table
// beside the one in use and swaps it in under that lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/pages.hpp"

namespace spell::hnsw {

class Store {
 public:
    // A table that replaces the one in use; what it no longer needs dies with it.
    struct Growth {
        std::vector<unsigned char*> table;
        std::vector<Pages> owned;
        std::size_t capacity = 0;
        bool needed = false;
    };

    Store(std::size_t stride, unsigned shift) : stride_(stride), shift_(shift), mask_((std::size_t{1} << shift) - 1) {}

    unsigned char* at(std::size_t row) const noexcept { return table_[row >> shift_] + (row & mask_) * stride_; }
    std::size_t stride() const noexcept { return stride_; }
    std::size_t capacity() const noexcept { return capacity_; }
    std::size_t bytes() const noexcept;

    // Rows up to `rows`, zeroed when new. A chunk that was borrowed in part is copied whole.
    Growth grown(std::size_t rows) const;
    void commit(Growth& growth) noexcept;
    // Uses memory that lives longer than this store.
    void borrow(unsigned char* bytes, std::size_t rows);

 private:
    std::size_t stride_;
    unsigned shift_;
    std::size_t mask_;
    std::vector<unsigned char*> table_;
    std::vector<Pages> owned_;  // one for each chunk, empty when borrowed
    std::size_t capacity_ = 0;
};

}  // namespace spell::hnsw
