// The kernels of one instruction set, chosen once. `l2` is squared; the batch forms compare one query with n rows that
// lie one after another. Integer dot products are exact for up to 65 535 numbers of -128 to 127.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spell::distance {

struct Kernels {
    const char* name;
    float (*dot)(const float* a, const float* b, std::size_t n);
    float (*l2)(const float* a, const float* b, std::size_t n);
    float (*l1)(const float* a, const float* b, std::size_t n);
    std::int32_t (*dot_i8)(const std::int8_t* a, const std::int8_t* b, std::size_t n);
    // Sums of (query + 128) times row: the products of VNNI. n: a multiple of 64; everything starts on a cache line.
    void (*dot_codes)(const std::int8_t* query, const std::int8_t* const* rows, std::size_t count, std::size_t n,
                      std::int32_t* out);
    // The numbers of a vector from their codes and the 24 bits of each that hnsw/tails.hpp keeps.
    void (*restore)(const std::int8_t* code, const std::uint16_t* low, const std::uint8_t* high, float base,
                    std::size_t n, float* out);
    void (*dot_rows)(const float* query, const float* rows, std::size_t n, std::size_t dim, float* out);
    void (*l2_rows)(const float* query, const float* rows, std::size_t n, std::size_t dim, float* out);
    void (*l1_rows)(const float* query, const float* rows, std::size_t n, std::size_t dim, float* out);
};

// Each is defined in the file of its name, where the compiler may target it; only dispatch.cpp decides which one runs.
extern const Kernels baseline_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
std::int32_t vnni_dot_i8(const std::int8_t* a, const std::int8_t* b, std::size_t n);
void vnni_dot_codes(const std::int8_t* query, const std::int8_t* const* rows, std::size_t count, std::size_t n,
                    std::int32_t* out);
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
#endif

// The kernels of the active level of spell::cpu().
const Kernels& kernels() noexcept;

}  // namespace spell::distance
