// A lexical text embedder: hashed words, word pairs and spellings. It knows no meaning and needs no weights.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace spell {

struct EmbedOptions {
    std::int64_t dim = 384;
    std::int64_t seed = 0;
    std::int64_t shortest = 3;  // character n-grams
    std::int64_t longest = 5;
    std::int64_t word_ngrams = 2;
    bool lowercase = true;
};

class HashEmbedder {
 public:
    static Result<HashEmbedder> make(const EmbedOptions& options) noexcept;

    // Writes one unit vector of `dim` floats per text. The same bits on every platform and for any number of threads.
    Status embed(std::span<const std::string_view> texts, float* out, std::int64_t threads) const noexcept;

    const EmbedOptions& options() const noexcept { return options_; }
    std::string id() const;

 private:
    explicit HashEmbedder(const EmbedOptions& options);

    EmbedOptions options_;
    std::uint64_t seed_ = 0;
    std::vector<std::uint64_t> frequent_;  // hashes of the words that carry little, sorted
};

}  // namespace spell
