#include "base/cpu.hpp"
#include "distance/table.hpp"

namespace spell::distance {
namespace {

Kernels choose() noexcept {
    const Cpu& found = cpu();
#if defined(__x86_64__)
    if (found.active == Simd::avx512) {
        Kernels best = avx512_kernels;
        if (found.vnni) {
            best.dot_i8 = &vnni_dot_i8;
            best.dot_codes = &vnni_dot_codes;
        }
        return best;
    }
    if (found.active == Simd::avx2) {
        return avx2_kernels;
    }
#elif defined(__aarch64__)
    if (found.active == Simd::neon) {
        return neon_kernels;
    }
#endif
    (void)found;
    return baseline_kernels;
}

}  // namespace

const Kernels& kernels() noexcept {
    static const Kernels chosen = choose();
    return chosen;
}

}  // namespace spell::distance
