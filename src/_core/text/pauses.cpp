#include "text/pauses.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "text/tables.hpp"

namespace spell::text {
namespace {

constexpr std::uint64_t packed(std::string_view word) noexcept {
    std::uint64_t out = 0;
    for (const char letter : word) {
        out = out << 8 | static_cast<unsigned char>(letter);
    }
    return out;
}

constexpr std::array<std::uint64_t, 34> abbreviations = {
    packed("mr"),  packed("mrs"), packed("ms"),  packed("dr"),   packed("prof"),   packed("sr"),   packed("jr"),
    packed("st"),  packed("vs"),  packed("fig"), packed("figs"), packed("eq"),     packed("vol"),  packed("no"),
    packed("pp"),  packed("al"),  packed("cf"),  packed("ca"),   packed("approx"), packed("dept"), packed("gen"),
    packed("col"), packed("rev"), packed("hon"), packed("jan"),  packed("feb"),    packed("aug"),  packed("sept"),
    packed("oct"), packed("nov"), packed("dec"), packed("bzw"),  packed("nr"),     packed("usw")};

bool is_small(char32_t code) noexcept {
    return code >= 'a' && code <= 'z';
}

bool is_letter(char32_t code) noexcept {
    return code < 0x80 ? is_small(code | 32) : (flags(code) & word) != 0;
}

bool is_closer(char32_t code) noexcept {
    constexpr std::u32string_view closers = U"\"')]}\u00BB\u2019\u201D\u300D\u300F\uFF09\u3011";
    return closers.find(code) != closers.npos;
}

bool is_wide_stop(char32_t code) noexcept {
    return code == 0x3002 || code == 0xFF01 || code == 0xFF1F || code == 0xFF0E || code == 0xFF61;
}

bool is_ideograph(char32_t code) noexcept {
    return code >= 0x0E00 && (flags(code) & ideograph) != 0;
}

}  // namespace

Pause Pauses::peek(char32_t code) const noexcept {
    if (!began_ || is_blank(code)) {
        return Pause::none;
    }
    if (newlines_ >= 2 || (stop_ == Stop::wide && !is_closer(code) && !is_wide_stop(code)) ||
        (blank_ && stop_ == Stop::strong) || (blank_ && stop_ == Stop::dot && !is_small(code))) {
        return Pause::sentence;
    }
    return blank_ || ideograph_ || (code >= 0x80 && is_ideograph(code)) ? Pause::word : Pause::none;
}

Pause Pauses::before(char32_t code) noexcept {
    if (code < 0x80 && is_small(code | 32) && letters_ != 0 && !blank_ && stop_ == Stop::none) {
        // Inside a word, which is most of a text.
        letters_ = static_cast<std::uint8_t>(std::min(9, letters_ + 1));
        word_ = letters_ > 8 ? 0 : word_ << 8 | (code | 32);
        const Pause inside = ideograph_ ? Pause::word : Pause::none;
        ideograph_ = false;
        return inside;
    }
    const Pause pause = peek(code);
    began_ = true;
    if (is_blank(code)) {
        blank_ = true;
        newlines_ = static_cast<std::uint8_t>(std::min(2, newlines_ + (code == '\n' || code == '\r' ? 1 : 0)));
        return pause;
    }
    ideograph_ = is_ideograph(code);
    if (blank_) {
        word_ = letters_ = newlines_ = 0;
        blank_ = false;
        stop_ = Stop::none;
    }
    if (code == '.') {
        const bool short_form =
            letters_ == 1 || std::find(abbreviations.begin(), abbreviations.end(), word_) != abbreviations.end();
        stop_ = short_form && letters_ != 0 ? Stop::none : Stop::dot;
        word_ = letters_ = 0;
    } else if (code == '!' || code == '?' || code == 0x2026) {
        stop_ = Stop::strong;
    } else if (is_wide_stop(code)) {
        stop_ = Stop::wide;
    } else if (!is_closer(code)) {
        stop_ = Stop::none;
        const bool letter = is_letter(code);
        letters_ = letter ? static_cast<std::uint8_t>(std::min(9, letters_ + 1)) : std::uint8_t{0};
        word_ = !letter || letters_ > 8 ? 0 : word_ << 8 | (code < 0x80 ? code | 32 : 1);
    }
    return pause;
}

}  // namespace spell::text
