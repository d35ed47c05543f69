// The kernels every processor of the family can run. Eight sums side by side let the compiler use the baseline vectors
// without being allowed to reorder floating-point additions.
#include "distance/table.hpp"

namespace spell::distance {
namespace {

constexpr std::size_t lanes = 8;

inline float fold(const float* sums) {
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

inline float magnitude(float value) {
    return value < 0.0f ? -value : value;
}

float dot(const float* a, const float* b, std::size_t n) {
    float sums[lanes] = {};
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        for (std::size_t j = 0; j < lanes; ++j) {
            sums[j] += a[i + j] * b[i + j];
        }
    }
    for (; i < n; ++i) {
        sums[i % lanes] += a[i] * b[i];
    }
    return fold(sums);
}

float l2(const float* a, const float* b, std::size_t n) {
    float sums[lanes] = {};
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        for (std::size_t j = 0; j < lanes; ++j) {
            const float d = a[i + j] - b[i + j];
            sums[j] += d * d;
        }
    }
    for (; i < n; ++i) {
        const float d = a[i] - b[i];
        sums[i % lanes] += d * d;
    }
    return fold(sums);
}

float l1(const float* a, const float* b, std::size_t n) {
    float sums[lanes] = {};
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        for (std::size_t j = 0; j < lanes; ++j) {
            sums[j] += magnitude(a[i + j] - b[i + j]);
        }
    }
    for (; i < n; ++i) {
        sums[i % lanes] += magnitude(a[i] - b[i]);
    }
    return fold(sums);
}

std::int32_t dot_i8(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        sum += static_cast<std::int32_t>(a[i]) * b[i];
    }
    return sum;
}

std::int32_t code_dot(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        sum += (a[i] + 128) * b[i];
    }
    return sum;
}

#include "distance/restore.inc"
#include "distance/rows.inc"

}  // namespace

const Kernels baseline_kernels = {"baseline", &dot,     &l2,       &l1,      &dot_i8,
                                  &dot_codes, &restore, &dot_rows, &l2_rows, &l1_rows};

}  // namespace spell::distance
