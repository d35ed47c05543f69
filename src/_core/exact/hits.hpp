// What a search finds.
#pragma once

#include <cstdint>
#include <vector>

#include "exact/metric.hpp"

namespace spell::exact {

struct Hit {
    float distance;
    std::int64_t key;

    bool operator<(const Hit& other) const noexcept {
        return distance != other.distance ? distance < other.distance : key < other.key;
    }
};

struct Found {
    std::vector<Hit> hits;  // ascending by distance, then key
    bool exhausted = true;
    std::int64_t visited = 0;
};

}  // namespace spell::exact
