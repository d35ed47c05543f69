#include "text/fold.hpp"

#include <algorithm>

#include "text/tables.hpp"

namespace spell::text {
namespace {

constexpr char32_t hangul_base = 0xAC00, l_base = 0x1100, v_base = 0x1161, t_base = 0x11A7;
constexpr char32_t l_count = 19, v_count = 21, t_count = 28, hangul_count = l_count * v_count * t_count;

void push_folded(char32_t code, bool lowercase, std::vector<char32_t>& out) {
    if (!lowercase) {
        out.push_back(code);
    } else if (code < 0x80) {
        out.push_back(code >= 'A' && code <= 'Z' ? code + 32 : code);
    } else if ((flags(code) & has_fold) != 0) {
        const auto text = folding(code);
        out.insert(out.end(), text.begin(), text.end());
    } else {
        out.push_back(code);
    }
}

void push_decomposed(char32_t code, bool lowercase, std::vector<char32_t>& out) {
    if (code >= hangul_base && code < hangul_base + hangul_count) {
        const char32_t i = code - hangul_base;
        out.push_back(l_base + i / (v_count * t_count));
        out.push_back(v_base + i % (v_count * t_count) / t_count);
        if (i % t_count != 0) {
            out.push_back(t_base + i % t_count);
        }
        return;
    }
    const std::uint8_t kind = flags(code);
    if ((kind & dropped) != 0) {
        return;
    }
    if ((kind & has_nfkd) == 0) {
        push_folded(code, lowercase, out);
        return;
    }
    for (const std::uint32_t part : decomposition(code)) {
        push_folded(part, lowercase, out);
    }
}

void order_marks(std::vector<char32_t>& out) {
    const auto mark = [](char32_t code) { return code >= 0x300 && combining_class(code) != 0; };
    for (auto at = out.begin(); at != out.end();) {
        at = std::find_if(at, out.end(), mark);
        const auto end = std::find_if_not(at, out.end(), mark);
        std::stable_sort(at, end, [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
        at = end;
    }
}

char32_t compose_pair(char32_t first, char32_t second_code) {
    if (first >= l_base && first < l_base + l_count && second_code >= v_base && second_code < v_base + v_count) {
        return hangul_base + ((first - l_base) * v_count + (second_code - v_base)) * t_count;
    }
    if (first >= hangul_base && first < hangul_base + hangul_count && (first - hangul_base) % t_count == 0 &&
        second_code > t_base && second_code < t_base + t_count) {
        return first + (second_code - t_base);
    }
    return (flags(second_code) & second) != 0 ? composite(first, second_code) : 0;
}

void compose(std::vector<char32_t>& out) {
    constexpr std::size_t none = static_cast<std::size_t>(-1);
    std::size_t starter = none, end = 0;
    std::uint8_t last = 0;
    for (const char32_t code : out) {
        const std::uint8_t order = code < 0x300 ? std::uint8_t{0} : combining_class(code);
        const bool adjacent = starter != none && end == starter + 1;
        // A mark is blocked by one of the same or a higher class between it and the starter.
        if (code >= 0x300 && starter != none && (adjacent || (last < order && last != 0))) {
            if (const char32_t joined = compose_pair(out[starter], code)) {
                out[starter] = joined;
                continue;
            }
        }
        if (order == 0) {
            starter = end;
        }
        last = order;
        out[end++] = code;
    }
    out.resize(end);
}

}  // namespace

void fold(std::string_view utf8, bool lowercase, std::vector<char32_t>& out) {
    out.clear();
    out.reserve(utf8.size());
    bool plain = true;
    for (std::size_t at = 0; at < utf8.size();) {
        const auto byte = static_cast<unsigned char>(utf8[at]);
        if (byte < 0x80) {
            out.push_back(lowercase && byte >= 'A' && byte <= 'Z' ? byte + 32u : byte);
            ++at;
            continue;
        }
        plain = false;
        push_decomposed(next_code_point(utf8, at), lowercase, out);
    }
    if (!plain) {
        order_marks(out);
        compose(out);
    }
}

}  // namespace spell::text
