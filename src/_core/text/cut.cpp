// Two readers walk the text once each: `ahead` looks for the end of the window and remembers the last sentence and word
// boundary it passed, `start` follows to where the next window begins. Neither ever goes back more than a fixed number
// of clusters, hence the time is linear even when windows share almost everything.
#include "text/cut.hpp"

#include "text/clusters.hpp"
#include "text/pauses.hpp"
#include "text/tables.hpp"
#include "text/tokens.hpp"

namespace spell::text {
namespace {

struct Place {
    std::size_t byte = 0;
    std::uint64_t cost = 0;  // of everything before
};

std::uint64_t cost_of(std::string_view text, std::size_t begin, std::size_t end, Unit unit) noexcept {
    if (unit == Unit::bytes) {
        return end - begin;
    }
    std::uint64_t total = 0;
    for (std::size_t at = begin; at < end;) {
        const char32_t code = next_code_point(text, at);
        total += unit == Unit::chars ? 1 : token_cost(code);
    }
    return total;
}

class Cutter {
 public:
    Cutter(std::string_view text, const Cut& how) noexcept
        : text_(text),
          how_(how),
          scale_(how.unit == Unit::tokens ? token : 1),
          size_(static_cast<std::uint64_t>(how.size) * scale_),
          overlap_(static_cast<std::uint64_t>(how.overlap) * scale_) {}

    Ranges run() {
        Ranges out;
        while (end_.byte < text_.size()) {
            extend();
            const Place end = choose();
            out.emplace_back(start_.byte, end.byte);
            end_ = end;
            begin_next();
        }
        return out;
    }

 private:
    Place after(Place at, char32_t& first) const noexcept {
        const std::size_t end = cluster_end(text_, at.byte, first);
        if (end == at.byte + 1) {
            return {end, at.cost + (how_.unit == Unit::tokens ? token_cost(first) : 1)};
        }
        return {end, at.cost + cost_of(text_, at.byte, end, how_.unit)};
    }

    // Moves `ahead_` to the last boundary that fits, at least one cluster past the window before.
    void extend() noexcept {
        while (ahead_.byte < text_.size()) {
            char32_t first = 0;
            const Place next = after(ahead_, first);
            if (next.cost - start_.cost > size_ && ahead_.byte > end_.byte) {
                return;
            }
            while (next.cost - start_.cost > size_ && start_.byte < ahead_.byte) {
                char32_t ignored = 0;
                start_ = after(start_, ignored);
            }
            const Pause pause = pauses_.before(first);
            if (pause >= Pause::word) word_ = ahead_;
            if (pause == Pause::sentence) sentence_ = ahead_;
            ahead_ = next;
        }
    }

    bool usable(const Place& place) const noexcept {
        return place.byte > end_.byte && place.byte > start_.byte && (place.cost - start_.cost) * 5 >= size_ * 4;
    }

    Place choose() noexcept {
        if (ahead_.byte == text_.size()) {
            return ahead_;
        }
        char32_t first = 0;
        (void)cluster_end(text_, ahead_.byte, first);
        const Pause here = pauses_.peek(first);
        if (how_.at == At::sentence && here == Pause::sentence) return ahead_;
        if (how_.at == At::sentence && usable(sentence_)) return sentence_;
        if (how_.at == At::grapheme || here >= Pause::word) return ahead_;
        return usable(word_) ? word_ : ahead_;
    }

    void begin_next() noexcept {
        if (overlap_ == 0) {
            start_ = end_;
            return;
        }
        char32_t first = 0;
        while (start_.byte < end_.byte && end_.cost - start_.cost > overlap_) {
            start_ = after(start_, first);
        }
        if (how_.at != At::grapheme) {
            start_ = word_start(start_);
        }
    }

    // The next start of a word, when one is near.
    Place word_start(Place at) const noexcept {
        constexpr int near = 32;
        const Place given = at;
        for (int i = 0; i < near && at.byte < end_.byte; ++i) {
            const bool blank = at.byte > 0 && is_blank(static_cast<unsigned char>(text_[at.byte - 1]));
            char32_t first = 0;
            const Place next = after(at, first);
            if (blank && !is_blank(first)) {
                return at;
            }
            at = next;
        }
        return given;
    }

    std::string_view text_;
    Cut how_;
    std::uint64_t scale_, size_, overlap_;
    Place start_, end_, ahead_, word_, sentence_;
    Pauses pauses_;
};

}  // namespace

Result<Ranges> cut(std::string_view text, const Cut& how) noexcept {
    if (how.size < 1 || how.size > (std::int64_t{1} << 40)) {
        return Error{Errc::invalid_argument, how.size, 0, "size", "1 to 2^40"};
    }
    if (how.overlap < 0 || how.overlap >= how.size) {
        return Error{Errc::invalid_argument, how.overlap, 0, "overlap", "at least 0 and less than size"};
    }
    return guarded<Ranges>([&] { return Result<Ranges>(Cutter(text, how).run()); });
}

}  // namespace spell::text
