#include <random>
#include <string>

#include "check.hpp"
#include "text/clusters.hpp"
#include "text/cut.hpp"
#include "text/tables.hpp"
#include "text/tokens.hpp"

using spell::text::At;
using spell::text::Cut;
using spell::text::Unit;

TEST(any_bytes_are_cut_into_parts_that_are_the_text) {
    std::mt19937 source(5);
    std::uniform_int_distribution<int> byte(0, 255), size(0, 200), limit(1, 40), pick(0, 2);
    for (int round = 0; round < 2000; ++round) {
        std::string text(static_cast<std::size_t>(size(source)), '\0');
        for (char& c : text) c = static_cast<char>(byte(source) % (round % 2 ? 256 : 0x60));
        Cut how{limit(source), 0, static_cast<Unit>(pick(source)), static_cast<At>(pick(source))};
        const bool sharing = round % 3 == 0;
        if (sharing) how.overlap = how.size - 1;
        const auto ranges = spell::text::cut(text, how);
        CHECK(ranges);
        std::int64_t covered = 0;
        for (const auto& [begin, end] : ranges.value()) {
            CHECK(sharing ? begin <= covered : begin == covered);
            CHECK(end > covered);
            covered = end;
        }
        CHECK(covered == static_cast<std::int64_t>(text.size()));
    }
}

TEST(every_byte_is_read_once) {
    std::string text;
    for (int byte = 0; byte < 256; ++byte) text.push_back(static_cast<char>(byte));
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t before = at;
        (void)spell::text::next_code_point(text, at);
        CHECK(at > before && at <= text.size());
    }
}

TEST(code_points_beyond_unicode_have_no_properties) {
    CHECK(spell::text::flags(0x110000) == 0);
    CHECK(spell::text::flags(0xFFFFFFFF) == 0);
    CHECK(spell::text::decomposition(0x110000).empty());
    CHECK(spell::text::token_cost(0x110000) > 0);
}

TEST(wrong_sizes_are_errors) {
    CHECK(!spell::text::cut("text", Cut{.size = 0}));
    CHECK(!spell::text::cut("text", Cut{.size = 5, .overlap = 5}));
}
