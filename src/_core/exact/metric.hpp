// The four metrics: how a raw kernel value becomes a distance, and a distance a score.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace spell::exact {

enum class Metric : std::uint8_t { cosine, l2, ip, l1 };

std::optional<Metric> metric_of(std::string_view name) noexcept;
const char* name_of(Metric metric) noexcept;

// Computed in double precision: for vectors so large or so small that float sums overflow or vanish.
float careful_distance(Metric metric, const float* query, const float* vector, std::size_t dim) noexcept;

float score_of(Metric metric, float distance) noexcept;

}  // namespace spell::exact
