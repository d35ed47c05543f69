#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "embed/hash_embedder.hpp"
#include "text/fold.hpp"

using spell::EmbedOptions;
using spell::HashEmbedder;

TEST(random_bytes_embed_to_unit_vectors) {
    const auto made = HashEmbedder::make(EmbedOptions{});
    CHECK(made);
    std::mt19937 source(3);
    std::uniform_int_distribution<int> byte(0, 255), size(0, 300);
    std::vector<float> out(384);
    for (int round = 0; round < 300; ++round) {
        std::string text(static_cast<std::size_t>(size(source)), '\0');
        for (char& c : text) c = static_cast<char>(byte(source));
        const std::array<std::string_view, 1> one{text};
        CHECK(made.value().embed(one, out.data(), 1));
        double square = 0;
        for (const float value : out) square += static_cast<double>(value) * value;
        CHECK(std::fabs(square - 1.0) < 1e-4);
    }
}

TEST(folding_composes_reorders_and_drops) {
    std::vector<char32_t> out;
    const auto folded = [&](std::string_view text, bool lowercase) {
        spell::text::fold(text, lowercase, out);
        return std::u32string(out.begin(), out.end());
    };
    CHECK(folded("A\xCC\x8A\xC2\xAD"
                 "B",
                 false) == U"\u00C5B");
    CHECK(folded("\xEF\xAC\x81N\xC3\x9F", true) == U"finss");
    CHECK(folded("a\xCC\xA3\xCC\x82", true) == folded("a\xCC\x82\xCC\xA3", true));
    CHECK(folded("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", true) == U"\uAC01");
    CHECK(folded("", true).empty());
}

TEST(options_out_of_range_are_errors) {
    CHECK(!HashEmbedder::make(EmbedOptions{.dim = 8}));
    CHECK(!HashEmbedder::make(EmbedOptions{.shortest = 5, .longest = 4}));
}
