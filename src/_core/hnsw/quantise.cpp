#include "hnsw/quantise.hpp"

#include <algorithm>
#include <cmath>

namespace spell::hnsw {

Coded quantise(const float* vector, std::size_t n, std::int8_t* code) noexcept {
    float most = 0.0f;
    for (std::size_t i = 0; i < n; ++i) {
        most = std::max(most, std::fabs(vector[i]));
    }
    Coded out;
    if (most == 0.0f) {
        std::fill(code, code + n, std::int8_t{0});
        return out;
    }
    out.wild = most > 1e15f || most < 1e-15f;
    out.scale = most / 127.0f;
    const double inverse = 127.0 / static_cast<double>(most);
    std::int32_t squares = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const auto value = static_cast<std::int32_t>(std::lrint(vector[i] * inverse));
        code[i] = static_cast<std::int8_t>(value);
        out.sum += value;
        squares += value * value;  // at most 65 535 * 127 * 127
    }
    out.squares = squares;
    return out;
}

}  // namespace spell::hnsw
