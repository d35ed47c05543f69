// Codes of one byte a number, with one scale for each vector.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace spell::hnsw {

struct Coded {
    float most = 0.0f;  // the largest magnitude
    float scale = 0.0f;
    std::int32_t sum = 0;
    std::int64_t squares = 0;
    // Of a code number when the coded vector is to have unit length.
    float unit_scale() const noexcept { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(squares))); }
    bool wild = false;  // so large or so small that distances of codes would overflow or vanish
};

// code: n numbers of -127 to 127.
Coded quantise(const float* vector, std::size_t n, std::int8_t* code) noexcept;

}  // namespace spell::hnsw
