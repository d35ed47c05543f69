#include <cmath>
#include <random>
#include <vector>

#include "base/cpu.hpp"
#include "check.hpp"
#include "distance/table.hpp"

namespace {

using spell::distance::Kernels;

// Every table this machine can run.
std::vector<Kernels> tables() {
    std::vector<Kernels> out{spell::distance::baseline_kernels};
#if defined(__x86_64__)
    if (spell::cpu().avx2) out.push_back(spell::distance::avx2_kernels);
    if (spell::cpu().avx512) out.push_back(spell::distance::avx512_kernels);
    if (spell::cpu().vnni) {
        out.push_back(spell::distance::avx512_kernels);
        out.back().dot_i8 = &spell::distance::vnni_dot_i8;
    }
#elif defined(__aarch64__)
    out.push_back(spell::distance::neon_kernels);
#endif
    return out;
}

bool near(float got, double wanted, double magnitude) {
    return std::fabs(got - wanted) <= 1e-5 * (magnitude + 1e-6);
}

}  // namespace

TEST(every_kernel_agrees_with_double_precision_at_every_length) {
    std::mt19937 source(7);
    std::normal_distribution<float> number;
    for (std::size_t n = 0; n < 200; ++n) {
        // Exactly as long as needed, so that the sanitizer sees a read past the end.
        std::vector<float> a(n), b(n);
        for (std::size_t i = 0; i < n; ++i) {
            a[i] = number(source);
            b[i] = number(source);
        }
        double dot = 0, l2 = 0, l1 = 0, size = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double x = a[i], y = b[i];
            dot += x * y;
            size += std::fabs(x * y);
            l2 += (x - y) * (x - y);
            l1 += std::fabs(x - y);
        }
        for (const Kernels& k : tables()) {
            CHECK(near(k.dot(a.data(), b.data(), n), dot, size));
            CHECK(near(k.l2(a.data(), b.data(), n), l2, l2));
            CHECK(near(k.l1(a.data(), b.data(), n), l1, l1));
        }
    }
}

TEST(batches_equal_single_calls) {
    std::mt19937 source(8);
    std::normal_distribution<float> number;
    constexpr std::size_t n = 9, dim = 37;
    std::vector<float> query(dim), rows(n * dim), out(n);
    for (float& value : query) value = number(source);
    for (float& value : rows) value = number(source);
    for (const Kernels& k : tables()) {
        k.dot_rows(query.data(), rows.data(), n, dim, out.data());
        for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == k.dot(query.data(), rows.data() + i * dim, dim));
        k.l2_rows(query.data(), rows.data(), n, dim, out.data());
        for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == k.l2(query.data(), rows.data() + i * dim, dim));
        k.l1_rows(query.data(), rows.data(), n, dim, out.data());
        for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == k.l1(query.data(), rows.data() + i * dim, dim));
    }
}

TEST(int8_products_are_exact_also_at_the_extremes) {
    std::mt19937 source(9);
    std::uniform_int_distribution<int> number(-128, 127);
    for (const std::size_t n : {0u, 1u, 15u, 16u, 17u, 63u, 64u, 65u, 1000u, 65535u}) {
        std::vector<std::int8_t> a(n), b(n), low(n, -128), high(n, 127);
        std::int64_t wanted = 0;
        for (std::size_t i = 0; i < n; ++i) {
            a[i] = static_cast<std::int8_t>(number(source));
            b[i] = static_cast<std::int8_t>(number(source));
            wanted += a[i] * b[i];
        }
        for (const Kernels& k : tables()) {
            CHECK(k.dot_i8(a.data(), b.data(), n) == wanted);
            CHECK(k.dot_i8(low.data(), low.data(), n) == static_cast<std::int64_t>(n) * 16384);
            CHECK(k.dot_i8(high.data(), low.data(), n) == static_cast<std::int64_t>(n) * -16256);
        }
    }
}
