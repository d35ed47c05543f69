// The `estimate` tokenizer: how many tokens a text costs, by script, without a vocabulary.
#pragma once

#include <cstdint>
#include <string_view>

namespace spell::text {

constexpr std::uint64_t token = 1024;  // estimates are sums of 1/1024 tokens

// Depends on the code point alone, so that the cost of a text is the sum over its parts.
std::uint64_t token_cost(char32_t code) noexcept;

// Rounded up; 0 for the empty text.
std::int64_t count_tokens(std::string_view text) noexcept;

}  // namespace spell::text
