// AVX2 with FMA. Includes nothing with inline functions: a copy compiled here could be the one the linker keeps.
#include <immintrin.h>

#include "distance/table.hpp"

namespace spell::distance {
namespace {

inline float fold(__m256 sum) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

inline __m256 magnitude(__m256 value) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value);
}

// The first n of eight lanes.
inline __m256i first_lanes(std::size_t n) {
    const __m256i numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), numbers);
}

inline __m256 dot_step(__m256 sum, __m256 a, __m256 b) {
    return _mm256_fmadd_ps(a, b, sum);
}

inline __m256 l2_step(__m256 sum, __m256 a, __m256 b) {
    const __m256 d = _mm256_sub_ps(a, b);
    return _mm256_fmadd_ps(d, d, sum);
}

inline __m256 l1_step(__m256 sum, __m256 a, __m256 b) {
    return _mm256_add_ps(sum, magnitude(_mm256_sub_ps(a, b)));
}

template <__m256 (*Step)(__m256, __m256, __m256)>
inline float reduce(const float* a, const float* b, std::size_t n) {
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    std::size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = Step(s0, _mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        s1 = Step(s1, _mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8));
        s2 = Step(s2, _mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16));
        s3 = Step(s3, _mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24));
    }
    for (; i + 8 <= n; i += 8) {
        s0 = Step(s0, _mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
    }
    if (i < n) {
        const __m256i mask = first_lanes(n - i);
        s1 = Step(s1, _mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask));
    }
    return fold(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
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
    __m256i sum = _mm256_setzero_si256();
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i)));
        const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
    }
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    std::int32_t total = _mm_cvtsi128_si32(half);
    for (; i < n; ++i) {
        total += static_cast<std::int32_t>(a[i]) * b[i];
    }
    return total;
}

inline std::int32_t code_dot(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    __m256i s0 = _mm256_setzero_si256(), s1 = s0;
    const __m128i top = _mm_set1_epi8(static_cast<char>(0x80));
    for (std::size_t i = 0; i < n; i += 32) {
        const __m128i first = _mm_xor_si128(top, _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i)));
        const __m128i second = _mm_xor_si128(top, _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i + 16)));
        const __m256i x = _mm256_cvtepu8_epi16(first);
        const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i)));
        const __m256i u = _mm256_cvtepu8_epi16(second);
        const __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + i + 16)));
        s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(x, y));
        s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(u, v));
    }
    const __m256i sum = _mm256_add_epi32(s0, s1);
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    return _mm_cvtsi128_si32(half);
}

#include "distance/restore.inc"
#include "distance/rows.inc"

}  // namespace

const Kernels avx2_kernels = {"avx2", &dot, &l2, &l1, &dot_i8, &dot_codes, &restore, &dot_rows, &l2_rows, &l1_rows};

}  // namespace spell::distance
