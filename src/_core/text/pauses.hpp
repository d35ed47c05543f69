// Where a reader pauses: between words, and between sentences. Fed with the first code point of every cluster in turn.
#pragma once

#include <cstdint>

namespace spell::text {

enum class Pause : std::uint8_t { none, word, sentence };

inline bool is_blank(char32_t code) noexcept {
    return code == ' ' || (code >= 9 && code <= 13) || code == 0x85 || code == 0xA0 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x3000;
}

// Blanks belong to what they follow. A full stop ends a sentence when a blank follows, then no small letter, and when
// the word before is neither a single letter nor a known abbreviation; the stops of Chinese and Japanese need no blank;
// an empty line ends anything.
class Pauses {
 public:
    // The pause before `code`, which would be next.
    Pause peek(char32_t code) const noexcept;
    // The same, and moves past it.
    Pause before(char32_t code) noexcept;

 private:
    enum class Stop : std::uint8_t { none, dot, strong, wide };

    std::uint64_t word_ = 0;  // the letters of the last word, eight at most; 0 when longer
    std::uint8_t letters_ = 0;
    std::uint8_t newlines_ = 0;
    bool blank_ = false;
    bool ideograph_ = false;
    bool began_ = false;
    Stop stop_ = Stop::none;
};

}  // namespace spell::text
