#include "base/cpu.hpp"

#include <cstdlib>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace spell {
namespace {

void detect(Cpu& found) noexcept {
#if defined(__x86_64__)
    __builtin_cpu_init();
    found.sse42 = __builtin_cpu_supports("sse4.2") != 0;
    found.crc = found.sse42;
    found.avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    found.avx512 = found.avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                   __builtin_cpu_supports("avx512vl") != 0;
    found.vnni = found.avx512 && __builtin_cpu_supports("avx512vnni") != 0;
    unsigned a = 0, b = 0, c = 0, d = 0;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0u), "c"(0u));
    if (a >= 7) {
        __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7u), "c"(0u));
        found.sha = ((b >> 29) & 1u) != 0;
    }
    found.detected = found.avx512 ? Simd::avx512 : found.avx2 ? Simd::avx2 : Simd::baseline;
#elif defined(__aarch64__)
    found.neon = true;
    found.detected = Simd::neon;
#if defined(__linux__)
    const unsigned long caps = getauxval(AT_HWCAP);
    found.sha = (caps & (1ul << 6)) != 0;
    found.crc = (caps & (1ul << 7)) != 0;
    found.dotprod = (caps & (1ul << 20)) != 0;
#else
    found.sha = found.crc = found.dotprod = true;  // every Apple processor of this architecture
#endif
#endif
    found.active = found.detected;
}

void lower(Cpu& found, std::string_view wish) noexcept {
    for (Simd level : {Simd::baseline, Simd::neon, Simd::avx2, Simd::avx512}) {
        const bool same_family = level == Simd::baseline || (level == Simd::neon) == (found.detected == Simd::neon);
        if (wish == simd_name(level) && same_family && level < found.detected) {
            found.active = level;
        }
    }
}

}  // namespace

std::string_view simd_name(Simd level) noexcept {
    switch (level) {
        case Simd::neon: return "neon";
        case Simd::avx2: return "avx2";
        case Simd::avx512: return "avx512";
        case Simd::baseline: break;
    }
    return "baseline";
}

const Cpu& cpu() noexcept {
    static const Cpu found = [] {
        Cpu result;
        detect(result);
        if (const char* wish = std::getenv("LLMSPELL_SIMD")) {
            lower(result, wish);
        }
        return result;
    }();
    return found;
}

}  // namespace spell
