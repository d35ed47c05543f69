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

inline std::int32_t code_dot(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
    const __m512i top = _mm512_set1_epi8(static_cast<char>(0x80));
    __m512i s0 = _mm512_setzero_si512(), s1 = s0;
    for (std::size_t i = 0; i < n; i += 64) {
        s0 = _mm512_dpbusd_epi32(s0, _mm512_xor_si512(top, _mm512_load_si512(a + i)), _mm512_load_si512(b + i));
        const __m512i swap = s0;
        s0 = s1;
        s1 = swap;
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
}

#include "distance/codes.inc"

// The query stays in registers while rows pass by.
template <std::size_t Lines>
void few_lines(const std::int8_t* query, const std::int8_t* const* rows, std::size_t count, std::int32_t* out) {
    __m512i held[Lines];
    for (std::size_t j = 0; j < Lines; ++j) {
        held[j] = _mm512_xor_si512(_mm512_set1_epi8(static_cast<char>(0x80)), _mm512_load_si512(query + 64 * j));
    }
    for (std::size_t i = 0; i < count && i < rows_ahead; ++i) {
        fetch_row(rows[i], 64 * Lines);
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (i + rows_ahead < count) {
            fetch_row(rows[i + rows_ahead], 64 * Lines);
        }
        __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (std::size_t j = 0; j < Lines; ++j) {
            sums[j % 2] = _mm512_dpbusd_epi32(sums[j % 2], held[j], _mm512_load_si512(rows[i] + 64 * j));
        }
        out[i] = _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]));
    }
}

}  // namespace

void vnni_dot_codes(const std::int8_t* query, const std::int8_t* const* rows, std::size_t count, std::size_t n,
                    std::int32_t* out) {
    switch (n / 64) {
        case 2: return few_lines<2>(query, rows, count, out);
        case 4: return few_lines<4>(query, rows, count, out);
        case 6: return few_lines<6>(query, rows, count, out);
        case 8: return few_lines<8>(query, rows, count, out);
        case 12: return few_lines<12>(query, rows, count, out);
        case 16: return few_lines<16>(query, rows, count, out);
        default: return dot_codes(query, rows, count, n, out);
    }
}

}  // namespace spell::distance
