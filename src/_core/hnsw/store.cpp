#include "hnsw/store.hpp"

#include <algorithm>
#include <cstring>

namespace spell::hnsw {

// The first chunk starts small and is copied as it grows, so that a small index costs little.
Store::Growth Store::grown(std::size_t rows) const {
    Growth out;
    if (rows <= capacity_) {
        return out;
    }
    out.needed = true;
    const std::size_t full = mask_ + 1;
    out.table = table_;
    out.owned.resize(table_.size());
    std::size_t whole = capacity_ / full;  // chunks that stay
    out.capacity = whole * full;
    out.table.resize(whole);
    out.owned.resize(whole);
    while (out.capacity < rows) {
        const std::size_t left = capacity_ - std::min(capacity_, out.capacity);
        const bool small = out.table.empty() && rows < full;
        const std::size_t size = small ? std::min(full, std::max<std::size_t>({rows, 2 * left, 16})) : full;
        Pages chunk = pages(size * stride_);
        if (left != 0) {
            std::memcpy(chunk.get(), at(out.capacity), left * stride_);
        }
        out.table.push_back(chunk.get());
        out.owned.push_back(std::move(chunk));
        out.capacity += size;
    }
    return out;
}

void Store::commit(Growth& growth) noexcept {
    if (!growth.needed) {
        return;
    }
    const std::size_t stay = std::min(owned_.size(), capacity_ / (mask_ + 1));
    for (std::size_t i = 0; i < stay; ++i) {
        std::swap(growth.owned[i], owned_[i]);
    }
    std::swap(table_, growth.table);
    std::swap(owned_, growth.owned);
    std::swap(capacity_, growth.capacity);
}

void Store::borrow(unsigned char* bytes, std::size_t rows) {
    const std::size_t full = mask_ + 1;
    for (std::size_t first = 0; first < rows; first += full) {
        table_.push_back(bytes + first * stride_);
        owned_.emplace_back();
    }
    capacity_ = rows;
}

std::size_t Store::bytes() const noexcept {
    std::size_t owned = 0;
    for (std::size_t i = 0; i < owned_.size(); ++i) {
        owned += owned_[i] ? std::min(mask_ + 1, capacity_ - i * (mask_ + 1)) * stride_ : 0;
    }
    return owned;
}

}  // namespace spell::hnsw
