#include "exact/metric.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace spell::exact {
namespace {

constexpr std::array<std::pair<std::string_view, Metric>, 10> names{{
    {"cosine", Metric::cosine},
    {"cos", Metric::cosine},
    {"l2", Metric::l2},
    {"euclidean", Metric::l2},
    {"ip", Metric::ip},
    {"inner_product", Metric::ip},
    {"innerproduct", Metric::ip},
    {"dot", Metric::ip},
    {"l1", Metric::l1},
    {"manhattan", Metric::l1},
}};

}  // namespace

std::optional<Metric> metric_of(std::string_view name) noexcept {
    const auto* found = std::find_if(names.begin(), names.end(), [&](const auto& row) { return row.first == name; });
    return found == names.end() ? std::nullopt : std::optional<Metric>(found->second);
}

const char* name_of(Metric metric) noexcept {
    constexpr std::array<const char*, 4> plain{"cosine", "l2", "ip", "l1"};
    return plain[static_cast<std::size_t>(metric)];
}

float careful_distance(Metric metric, const float* query, const float* vector, std::size_t dim) noexcept {
    double dot = 0.0, qq = 0.0, vv = 0.0, squares = 0.0, sum = 0.0;
    for (std::size_t i = 0; i < dim; ++i) {
        const double q = query[i], v = vector[i];
        dot += q * v;
        qq += q * q;
        vv += v * v;
        squares += (q - v) * (q - v);
        sum += std::fabs(q - v);
    }
    switch (metric) {
        case Metric::cosine:
            return static_cast<float>(std::clamp(1.0 - dot / (std::sqrt(qq) * std::sqrt(vv)), 0.0, 2.0));
        case Metric::l2: return static_cast<float>(std::sqrt(squares));
        case Metric::ip: return static_cast<float>(-dot);
        case Metric::l1: break;
    }
    return static_cast<float>(sum);
}

float score_of(Metric metric, float distance) noexcept {
    switch (metric) {
        case Metric::cosine: return 1.0f - distance;
        case Metric::ip: return -distance;
        case Metric::l2:
        case Metric::l1: break;
    }
    return 1.0f / (1.0f + distance);
}

}  // namespace spell::exact
