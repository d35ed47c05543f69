// NEON, which every aarch64 processor has. Empty on other families.
#include "distance/table.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>

namespace spell::distance {
namespace {

inline float32x4_t dot_step(float32x4_t sum, float32x4_t a, float32x4_t b) {
    return vfmaq_f32(sum, a, b);
}

inline float32x4_t l2_step(float32x4_t sum, float32x4_t a, float32x4_t b) {
    const float32x4_t d = vsubq_f32(a, b);
    return vfmaq_f32(sum, d, d);
}

inline float32x4_t l1_step(float32x4_t sum, float32x4_t a, float32x4_t b) {
    return vaddq_f32(sum, vabdq_f32(a, b));
}

template <float32x4_t (*Step)(float32x4_t, float32x4_t, float32x4_t)>
inline float reduce(const float* a, const float* b, std::size_t n) {
    float32x4_t s0 = vdupq_n_f32(0.0f), s1 = s0, s2 = s0, s3 = s0;
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 = Step(s0, vld1q_f32(a + i), vld1q_f32(b + i));
        s1 = Step(s1, vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
        s2 = Step(s2, vld1q_f32(a + i + 8), vld1q_f32(b + i + 8));
        s3 = Step(s3, vld1q_f32(a + i + 12), vld1q_f32(b + i + 12));
    }
    for (; i + 4 <= n; i += 4) {
        s0 = Step(s0, vld1q_f32(a + i), vld1q_f32(b + i));
    }
    if (i < n) {
        float x[4] = {}, y[4] = {};
        for (std::size_t j = 0; i + j < n; ++j) {
            x[j] = a[i + j];
            y[j] = b[i + j];
        }
        s1 = Step(s1, vld1q_f32(x), vld1q_f32(y));
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)));
}

float dot(const float* a, const float* b, std::size_t n) {
    return reduce<dot_step>(a, b, n);
}
float l2(const float* a, const float* b, std::size_t n) {
    return reduce<l2_step>(a, b, n);
}
float l1(const float* a, const float* b, std::size_t n) {
    return reduce<l1_step>(a, b, n);
}

std::int32_t dot_i8(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    int32x4_t sum = vdupq_n_s32(0);
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const int8x16_t x = vld1q_s8(a + i), y = vld1q_s8(b + i);
        sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
        sum = vpadalq_s16(sum, vmull_high_s8(x, y));
    }
    std::int32_t total = vaddvq_s32(sum);
    for (; i < n; ++i) {
        total += static_cast<std::int32_t>(a[i]) * b[i];
    }
    return total;
}

inline std::int32_t code_dot(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    int32x4_t sum = vdupq_n_s32(0);
    for (std::size_t i = 0; i < n; i += 16) {
        const uint8x16_t x = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(a + i)), vdupq_n_u8(0x80));
        const int8x16_t y = vld1q_s8(b + i);
        const int16x8_t xl = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x)));
        const int16x8_t xh = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(x)));
        const int16x8_t yl = vmovl_s8(vget_low_s8(y)), yh = vmovl_s8(vget_high_s8(y));
        sum = vmlal_s16(sum, vget_low_s16(xl), vget_low_s16(yl));
        sum = vmlal_s16(sum, vget_high_s16(xl), vget_high_s16(yl));
        sum = vmlal_s16(sum, vget_low_s16(xh), vget_low_s16(yh));
        sum = vmlal_s16(sum, vget_high_s16(xh), vget_high_s16(yh));
    }
    return vaddvq_s32(sum);
}

#include "distance/restore.inc"
#include "distance/rows.inc"

}  // namespace

const Kernels neon_kernels = {"neon", &dot, &l2, &l1, &dot_i8, &dot_codes, &restore, &dot_rows, &l2_rows, &l1_rows};

}  // namespace spell::distance
#endif
