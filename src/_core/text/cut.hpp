// Cutting a text into windows that overlap, at places where a reader would pause.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace spell::text {

enum class Unit : std::uint8_t { tokens, chars, bytes };
enum class At : std::uint8_t { grapheme, word, sentence };

struct Cut {
    std::int64_t size = 512;
    std::int64_t overlap = 0;  // less than size
    Unit unit = Unit::tokens;
    At at = At::sentence;
};

using Ranges = std::vector<std::pair<std::int64_t, std::int64_t>>;

// Byte ranges, ascending. Without overlap they are the text; a grapheme cluster is never divided, so a window may
// exceed `size` only by being one cluster. Linear in the text, whatever the overlap.
Result<Ranges> cut(std::string_view text, const Cut& how) noexcept;

}  // namespace spell::text
