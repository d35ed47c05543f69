#include "hnsw/quantise.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "exact/magnitude.hpp"

namespace spell::hnsw {

// Written for the compiler to vectorise; rounds to the nearest, halves to even, on every machine.
Coded quantise(const float* vector, std::size_t n, std::int8_t* code) noexcept {
    // Adding it to a double leaves the rounded number in the lowest bits.
    constexpr double rounder = 0x1.8p52;
    Coded out;
    out.most = exact::largest_magnitude(vector, n);
    if (!std::isfinite(out.most)) {
        out.most = 0.0f;  // only a damaged file holds such vectors
    }
    if (out.most == 0.0f) {
        std::fill(code, code + n, std::int8_t{0});
        return out;
    }
    out.wild = out.most > 1e15f || out.most < 1e-15f;
    out.scale = out.most / 127.0f;
    const double inverse = 127.0 / static_cast<double>(out.most);
    std::int32_t sum = 0, squares = 0;  // the latter at most 65 535 * 127 * 127
    for (std::size_t i = 0; i < n; ++i) {
        const auto bits = std::bit_cast<std::uint64_t>(static_cast<double>(vector[i]) * inverse + rounder);
        const auto value = static_cast<std::int32_t>(bits);
        code[i] = static_cast<std::int8_t>(value);
        sum += value;
        squares += value * value;
    }
    out.sum = sum;
    out.squares = squares;
    return out;
}

}  // namespace spell::hnsw
