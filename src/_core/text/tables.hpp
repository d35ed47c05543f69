// Facts about code points, compiled in: see make_tables.py for where they come from.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace spell::text {

enum Flag : std::uint8_t { word = 1, ideograph = 2, dropped = 4, has_nfkd = 8, has_fold = 16, second = 32 };

enum class Cluster : std::uint8_t {
    other,
    cr,
    lf,
    control,
    extend,
    zwj,
    regional,
    prepend,
    spacing,
    l,
    v,
    t,
    lv,
    lvt,
    pictographic
};
enum class Conjunct : std::uint8_t { none, consonant, linker, extend };

std::uint8_t flags(char32_t code) noexcept;
std::uint8_t combining_class(char32_t code) noexcept;
Cluster cluster_of(char32_t code) noexcept;
Conjunct conjunct_of(char32_t code) noexcept;

// Full compatibility decomposition and case folding of one code point; empty when it maps to itself.
std::span<const std::uint32_t> decomposition(char32_t code) noexcept;
std::span<const std::uint32_t> folding(char32_t code) noexcept;

// The canonical composite of two code points, or 0. Hangul is not in the tables.
char32_t composite(char32_t first, char32_t second) noexcept;

// Reads one code point and moves `at` behind it; a byte that is not UTF-8 reads as U+FFFD.
char32_t next_code_point(std::string_view text, std::size_t& at) noexcept;

}  // namespace spell::text
