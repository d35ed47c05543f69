// What makes a vector unfit, found fast.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/result.hpp"
#include "exact/metric.hpp"

namespace spell::exact {

// Infinite or NaN when a number of the vector is, 0 when all are. Compared as integers, which the compiler vectorises.
inline float largest_magnitude(const float* vector, std::size_t n) noexcept {
    std::int32_t most = 0;
    for (std::size_t i = 0; i < n; ++i) {
        most = std::max(most, std::bit_cast<std::int32_t>(vector[i]) & 0x7FFFFFFF);
    }
    return std::bit_cast<float>(most);
}

// Why the row of that number cannot be stored or searched for.
inline std::optional<Error> bad_row(const float* row, std::size_t dim, std::size_t number, Metric metric) noexcept {
    const float most = largest_magnitude(row, dim);
    if (!std::isfinite(most)) {
        const auto* const at = std::find_if(row, row + dim, [](float value) { return !std::isfinite(value); });
        return Error{Errc::non_finite, static_cast<std::int64_t>(number), at - row};
    }
    if (most == 0.0f && metric == Metric::cosine) {
        return Error{Errc::zero_vector, static_cast<std::int64_t>(number)};
    }
    return std::nullopt;
}

}  // namespace spell::exact
