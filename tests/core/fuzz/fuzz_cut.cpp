// Cutting, counting and folding any bytes as text.
#include <cstring>

#include "fuzz.hpp"
#include "text/cut.hpp"
#include "text/fold.hpp"
#include "text/tokens.hpp"

using namespace spell::text;

std::vector<std::string> fuzz::seeds() {
    return {
        std::string("\x10\x02\x00\x00", 4) + "One sentence. Another, with words! And a third?",
        std::string("\x04\x01\x01\x01", 4) +
            "e\xCC\x81\xCC\x82 \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 \xF0\x9F\x87\xA9"
            "\xF0\x9F\x87\xAA\r\n\xED\x95\x9C\xEA\xB8\x80",
        std::string("\x40\x20\x02\x02", 4) +
            "\xE4\xB8\xAD\xE6\x96\x87\xE3\x80\x82\xE0\xA4\xA8\xE0\xA5\x8D\xE0\xA4\xA6\n\n- a\n",
    };
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 4) return 0;
    const Cut how{.size = bytes[0],
                  .overlap = bytes[1],
                  .unit = static_cast<Unit>(bytes[2] % 3),
                  .at = static_cast<At>(bytes[3] % 3)};
    const std::string_view text(reinterpret_cast<const char*>(bytes) + 4, size - 4);
    const auto ranges = cut(text, how);
    REQUIRE(ranges || ranges.error().code == spell::Errc::invalid_argument);
    if (ranges) {
        std::int64_t end = 0, begin = 0;
        for (const auto& [from, to] : ranges.value()) {
            REQUIRE(from >= begin && from < to && from <= end && to > end);
            REQUIRE(how.overlap != 0 || from == end);
            begin = from;
            end = to;
        }
        REQUIRE(end == static_cast<std::int64_t>(text.size()));
    }
    REQUIRE(count_tokens(text) >= 0);
    std::vector<char32_t> folded;
    fold(text, bytes[3] % 2 == 0, folded);
    return 0;
}
