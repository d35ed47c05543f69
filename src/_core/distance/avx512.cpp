// AVX-512 F, BW, VL. Includes nothing with inline functions: a copy compiled here could be the one the linker keeps.
#include <immintrin.h>

#include "distance/table.hpp"

namespace spell::distance {
namespace {

inline __m512 dot_step(__m512 sum, __m512 a, __m512 b) {
    return _mm512_fmadd_ps(a, b, sum);
}

inline __m512 l2_step(__m512 sum, __m512 a, __m512 b) {
    const __m512 d = _mm512_sub_ps(a, b);
    return _mm512_fmadd_ps(d, d, sum);
}

inline __m512 l1_step(__m512 sum, __m512 a, __m512 b) {
    return _mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(a, b)));
}

template <__m512 (*Step)(__m512, __m512, __m512)>
inline float reduce(const float* a, const float* b, std::size_t n) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    std::size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = Step(s0, _mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
        s1 = Step(s1, _mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16));
        s2 = Step(s2, _mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32));
        s3 = Step(s3, _mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48));
    }
    for (; i + 16 <= n; i += 16) {
        s0 = Step(s0, _mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
    }
    if (i < n) {
        const __mmask16 mask = static_cast<__mmask16>((1u << (n - i)) - 1u);
        s1 = Step(s1, _mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i));
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
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
    __m512i sum = _mm512_setzero_si512();
    for (std::size_t i = 0; i < n; i += 32) {
        const std::size_t left = n - i;
        const __mmask32 mask = left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1u;
        const __m512i x = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, a + i));
        const __m512i y = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, b + i));
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(x, y));
    }
    return _mm512_reduce_add_epi32(sum);
}

inline std::int32_t code_dot(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    __m512i s0 = _mm512_setzero_si512(), s1 = s0;
    const __m256i top = _mm256_set1_epi8(static_cast<char>(0x80));
    for (std::size_t i = 0; i < n; i += 64) {
        const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i));
        const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i + 32));
        const __m512i x = _mm512_cvtepu8_epi16(_mm256_xor_si256(top, first));
        const __m512i y = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i)));
        const __m512i u = _mm512_cvtepu8_epi16(_mm256_xor_si256(top, second));
        const __m512i v = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i + 32)));
        s0 = _mm512_add_epi32(s0, _mm512_madd_epi16(x, y));
        s1 = _mm512_add_epi32(s1, _mm512_madd_epi16(u, v));
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
}

#include "distance/restore.inc"
#include "distance/rows.inc"

}  // namespace

const Kernels avx512_kernels = {"avx512", &dot, &l2, &l1, &dot_i8, &dot_codes, &restore, &dot_rows, &l2_rows, &l1_rows};

}  // namespace spell::distance
