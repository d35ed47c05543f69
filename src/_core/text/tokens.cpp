// The rates are those of byte-pair vocabularies of current models on running text: about 1.3 tokens per English word
// with its blank, two to three times as much per letter in other alphabets, one token per ideograph or a little less.
#include "text/tokens.hpp"

#include <array>

#include "text/tables.hpp"

namespace spell::text {
namespace {

struct Range {
    char32_t last;
    std::uint16_t cost;
};

// Ascending; each range ends at `last`.
constexpr Range ranges[] = {
    {0x024F, 480},                                       // Latin with diacritics
    {0x036F, 300},                                       // marks
    {0x03FF, 560},                                       // Greek
    {0x052F, 410},                                       // Cyrillic
    {0x05FF, 560},                                       // Armenian, Hebrew
    {0x077F, 450},                                       // Arabic, Syriac
    {0x0DFF, 620},                                       // scripts of India
    {0x0FFF, 620},                                       // Thai, Lao, Tibetan
    {0x10FF, 640},                                       // Burmese, Georgian
    {0x11FF, 450},                                       // Hangul letters
    {0x1FFF, 600},    {0x206F, 500},                     // punctuation
    {0x2BFF, 1024},                                      // symbols
    {0x2FFF, 900},    {0x30FF, 720},                     // kana
    {0x9FFF, 960},                                       // ideographs
    {0xABFF, 900},    {0xD7FF, 800},                     // Hangul syllables
    {0xFFFF, 900},    {0x1EFFF, 2048}, {0x1FAFF, 2048},  // emoji
    {0x10FFFF, 1536},
};

constexpr std::uint16_t ascii_cost(unsigned code) noexcept {
    if ((code | 32) >= 'a' && (code | 32) <= 'z') return 240;
    if (code >= '0' && code <= '9') return 400;
    if (code == ' ') return 64;
    if (code == '\n') return 300;
    if (code < 0x20) return 200;
    return 560;
}

constexpr auto ascii_costs = [] {
    std::array<std::uint16_t, 128> out{};
    for (unsigned code = 0; code < 128; ++code) {
        out[code] = ascii_cost(code);
    }
    return out;
}();

}  // namespace

std::uint64_t token_cost(char32_t code) noexcept {
    if (code < 0x80) {
        return ascii_costs[code];
    }
    for (const Range& range : ranges) {
        if (code <= range.last) {
            return range.cost;
        }
    }
    return 1536;
}

std::int64_t count_tokens(std::string_view text) noexcept {
    std::uint64_t total = 0;
    for (std::size_t at = 0; at < text.size();) {
        total += token_cost(next_code_point(text, at));
    }
    return static_cast<std::int64_t>((total + token - 1) / token);
}

}  // namespace spell::text
