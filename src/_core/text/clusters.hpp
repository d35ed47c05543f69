// Grapheme clusters: what a reader takes for one character, and must not be cut through.
#pragma once

#include <cstddef>
#include <string_view>

namespace spell::text {

// The end of the cluster that starts at `at` (a boundary), and its first code point. Linear in the cluster.
// Source: Unicode Standard Annex 29, extended grapheme clusters, rules GB3 to GB999 with GB9c.
std::size_t cluster_end(std::string_view text, std::size_t at, char32_t& first) noexcept;

}  // namespace spell::text
