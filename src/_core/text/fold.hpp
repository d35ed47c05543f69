// Compatibility normalisation (NFKC), with or without case folding, over the compiled tables.
#pragma once

#include <string_view>
#include <vector>

namespace spell::text {

// Replaces `out` by the folded code points of `utf8`; format characters (soft hyphen, zero-width joiner) are dropped.
// Source: Unicode Standard Annex 15; the case folding is the full one of CaseFolding.txt.
void fold(std::string_view utf8, bool lowercase, std::vector<char32_t>& out);

}  // namespace spell::text
