// What this processor can do, and how much of it is used.
#pragma once

#include <string_view>

namespace spell {

enum class Simd : int { baseline = 0, neon = 1, avx2 = 2, avx512 = 3 };

struct Cpu {
    bool sse42 = false;
    bool avx2 = false;    // with FMA
    bool avx512 = false;  // F, BW, VL
    bool vnni = false;
    bool sha = false;
    bool neon = false;
    bool dotprod = false;
    bool crc = false;
    Simd detected = Simd::baseline;
    Simd active = Simd::baseline;
};

// Detected once at first use; LLMSPELL_SIMD (baseline, neon, avx2, avx512) may lower `active`, never raise it.
const Cpu& cpu() noexcept;

std::string_view simd_name(Simd level) noexcept;

}  // namespace spell
