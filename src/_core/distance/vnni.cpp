// The int8 dot product of AVX-512 VNNI. The instruction multiplies unsigned by signed, so `a` is moved up by 128 and
// 128 times the sum of `b` is taken off again; every intermediate fits in 32 bits.
#include <immintrin.h>

#include "distance/table.hpp"

namespace spell::distance {

std::int32_t vnni_dot_i8(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    const __m512i ones = _mm512_set1_epi8(1), top = _mm512_set1_epi8(static_cast<char>(0x80));
    __m512i products = _mm512_setzero_si512(), sums = products;
    for (std::size_t i = 0; i < n; i += 64) {
        const std::size_t left = n - i;
        const __mmask64 mask = left >= 64 ? ~0ull : (1ull << left) - 1ull;
        const __m512i x = _mm512_maskz_loadu_epi8(mask, a + i), y = _mm512_maskz_loadu_epi8(mask, b + i);
        products = _mm512_dpbusd_epi32(products, _mm512_xor_si512(x, top), y);
        sums = _mm512_dpbusd_epi32(sums, ones, y);
    }
    return _mm512_reduce_add_epi32(_mm512_sub_epi32(products, _mm512_slli_epi32(sums, 7)));
}

namespace {

inline std::int32_t code_dot(const std::uint8_t* a, const std::int8_t* b, std::size_t n) {
    __m512i s0 = _mm512_setzero_si512(), s1 = s0;
    std::size_t i = 0;
    for (; i + 128 <= n; i += 128) {
        s0 = _mm512_dpbusd_epi32(s0, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
        s1 = _mm512_dpbusd_epi32(s1, _mm512_loadu_si512(a + i + 64), _mm512_loadu_si512(b + i + 64));
    }
    if (i < n) {
        s0 = _mm512_dpbusd_epi32(s0, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
}

#include "distance/codes.inc"

}  // namespace

void vnni_dot_codes(const std::uint8_t* query, const std::int8_t* const* rows, std::size_t count, std::size_t n,
                    std::int32_t* out) {
    dot_codes(query, rows, count, n, out);
}

}  // namespace spell::distance
