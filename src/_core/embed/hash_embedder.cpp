// How a text becomes a vector.
//
//   text -> NFKC, case folded -> words -> features, counted -> signed sum into `dim` slots -> unit length
//
// Three kinds of features, each hashed with its own start value: words, neighbouring words, and character n-grams of a
// word between two blanks. A word that occurs n times weighs 1 + ln n. Without statistics of a corpus the rarity of a
// word is guessed from its form: a short list of English function words weighs little, and short words weigh less than
// long ones. The n-grams of one word share a fixed energy, so that a long word does not drown the others; they are what
// matches "shuffled" with "shuffle". Every sum runs in order of first appearance, in double precision, without
// contraction and without libm, hence the same bits everywhere.
// Source: feature hashing of Weinberger et al. 2009; subword n-grams of Bojanowski et al. 2017.
#include "embed/hash_embedder.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/parallel.hpp"
#include "text/fold.hpp"
#include "text/tables.hpp"

namespace spell {
namespace {

constexpr std::uint64_t word_start = 0x9E3779B97F4A7C15ull, pair_start = 0xC2B2AE3D27D4EB4Full,
                        gram_start = 0x165667B19E3779F9ull, empty_feature = 0x27D4EB2F165667C5ull;
constexpr double pair_weight = 0.30, gram_energy = 0.60, frequent_weight = 0.05;

constexpr std::array<std::string_view, 96> frequent_words = {
    "a",     "about",  "after", "all",   "also",  "an",   "and",  "any",   "are",     "as",    "at",   "be",
    "been",  "but",    "by",    "can",   "did",   "do",   "does", "each",  "else",    "for",   "from", "get",
    "had",   "has",    "have",  "he",    "her",   "his",  "how",  "i",     "if",      "in",    "into", "is",
    "it",    "its",    "just",  "like",  "make",  "may",  "me",   "more",  "most",    "must",  "my",   "no",
    "not",   "of",     "off",   "on",    "one",   "only", "or",   "other", "our",     "out",   "over", "same",
    "she",   "should", "so",    "some",  "such",  "than", "that", "the",   "their",   "them",  "then", "there",
    "these", "they",   "this",  "those", "to",    "too",  "up",   "use",   "used",    "using", "was",  "we",
    "were",  "what",   "when",  "where", "which", "who",  "will", "with",  "without", "would", "you",  "your"};

std::uint64_t step(std::uint64_t hash, std::uint64_t value) noexcept {
    hash = (hash ^ value) * 0xFF51AFD7ED558CCDull;
    return hash ^ (hash >> 32);
}

std::uint64_t finish(std::uint64_t hash) noexcept {
    hash ^= hash >> 33;
    hash *= 0xC4CEB9FE1A85EC53ull;
    return hash ^ (hash >> 33);
}

// ln n by the series of artanh: only operations that IEEE 754 rounds in one way.
double natural_log(std::uint32_t n) noexcept {
    int exponent = 0;
    double m = n;
    while (m >= 1.5) {
        m *= 0.5;
        ++exponent;
    }
    const double z = (m - 1.0) / (m + 1.0), z2 = z * z;
    double sum = 0.0, power = z;
    for (int k = 1; k < 40; k += 2) {
        sum += power / k;
        power *= z2;
    }
    return exponent * 0.6931471805599453 + 2.0 * sum;
}

// 1 + ln n of the counts that texts have; the series costs more than the rest of a feature.
double term_weight(std::uint32_t n) noexcept {
    static const std::array<double, 256> known = [] {
        std::array<double, 256> made{};
        for (std::uint32_t i = 1; i < made.size(); ++i) {
            made[i] = 1.0 + natural_log(i);
        }
        return made;
    }();
    return n < known.size() ? known[n] : 1.0 + natural_log(n);
}

struct Feature {
    std::uint64_t hash;
    std::uint32_t count;
    float weight;
};

// Counts features by hash and keeps the order of first appearance.
class Counter {
 public:
    // Costs what was counted, not what the largest text before has left behind. The last feature in is the first out:
    // its probe passes only over features that are still there. A table that is well filled is wiped as a whole.
    void clear() {
        if (features.size() * 16 > slots_.size()) {
            std::fill(slots_.begin(), slots_.end(), 0u);
            features.clear();
            return;
        }
        for (std::size_t i = features.size(); i > 0; --i) {
            find(features[i - 1].hash) = 0;
        }
        features.clear();
    }

    // Returns the number of the feature.
    std::size_t add(std::uint64_t hash, float weight, std::uint32_t count) {
        if ((features.size() + 1) * 2 > slots_.size()) {
            grow();
        }
        std::uint32_t& slot = find(hash);
        if (slot == 0) {
            features.push_back({hash, 0, weight});
            slot = static_cast<std::uint32_t>(features.size());
        }
        Feature& feature = features[slot - 1];
        feature.count += count;
        feature.weight = std::max(feature.weight, weight);
        return slot - 1;
    }

    std::vector<Feature> features;

 private:
    std::uint32_t& find(std::uint64_t hash) {
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
            if (slots_[at] == 0 || features[slots_[at] - 1].hash == hash) {
                return slots_[at];
            }
        }
    }

    void grow() {
        slots_.assign(std::max<std::size_t>(256, slots_.size() * 2), 0u);
        for (std::size_t i = 0; i < features.size(); ++i) {
            find(features[i].hash) = static_cast<std::uint32_t>(i + 1);
        }
    }

    std::vector<std::uint32_t> slots_;  // number of the feature + 1
};

struct Word {
    std::uint32_t begin, end;
};

struct Scratch {
    std::vector<char32_t> text;
    std::vector<Word> first;  // where each distinct word was first seen
    Counter words, pairs, grams;
    std::vector<double> sums;
};

bool in_word(char32_t code) noexcept {
    if (code < 0x80) {
        return (code >= 'a' && code <= 'z') || (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z');
    }
    return (text::flags(code) & text::word) != 0;
}

bool alone(char32_t code) noexcept {
    return code >= 0x80 && (text::flags(code) & text::ideograph) != 0;
}

// An ideograph is a word of its own, for there are no blanks to say otherwise; marks stay with what they follow.
std::uint32_t word_end(const std::vector<char32_t>& text, std::uint32_t at) noexcept {
    const auto size = static_cast<std::uint32_t>(text.size());
    const bool single = alone(text[at]);
    for (++at; at < size && in_word(text[at]); ++at) {
        if (alone(text[at]) || (single && text::combining_class(text[at]) == 0)) {
            break;
        }
    }
    return at;
}

std::uint64_t word_hash(std::uint64_t seed, const char32_t* begin, const char32_t* end) noexcept {
    std::uint64_t hash = seed ^ word_start;
    for (; begin != end; ++begin) {
        hash = step(hash, *begin);
    }
    return finish(hash);
}

double length_weight(std::uint32_t length) noexcept {
    constexpr double weights[] = {0.0, 0.3, 0.45, 0.8, 0.95, 1.05, 1.15, 1.25};
    return weights[std::min<std::uint32_t>(length, 7)];
}

void add_grams(const EmbedOptions& o, std::uint64_t seed, const char32_t* word, std::uint32_t size, float weight,
               std::uint32_t count, Counter& grams) {
    const auto padded = static_cast<std::int64_t>(size) + 2;
    std::int64_t total = 0;
    for (std::int64_t n = o.shortest; n <= std::min(o.longest, padded); ++n) {
        total += padded - n + 1;
    }
    if (total == 0) {
        return;
    }
    const auto share = static_cast<float>(weight * std::sqrt(gram_energy / static_cast<double>(total)));
    for (std::int64_t i = 0; i + o.shortest <= padded; ++i) {
        std::uint64_t hash = seed ^ gram_start;
        for (std::int64_t n = 1; n <= o.longest && i + n <= padded; ++n) {
            const std::int64_t at = i + n - 2;
            hash = step(hash, at < 0 || at >= static_cast<std::int64_t>(size) ? U' ' : word[at]);
            if (n >= o.shortest) {
                grams.add(finish(hash), share, count);
            }
        }
    }
}

void add_sum(const std::vector<Feature>& features, std::vector<double>& sums) noexcept {
    for (const Feature& feature : features) {
        const double tf = term_weight(feature.count);
        const std::size_t slot = ((feature.hash >> 32) * sums.size()) >> 32;
        const double value = feature.weight * tf;
        sums[slot] += (feature.hash & 1) != 0 ? value : -value;
    }
}

void normalise(std::vector<double>& sums, std::uint64_t seed, float* out) noexcept {
    double square = 0.0;
    for (const double value : sums) {
        square += value * value;
    }
    if (square == 0.0) {
        sums[finish(step(seed, empty_feature)) % sums.size()] = square = 1.0;
    }
    const double length = std::sqrt(square);
    for (std::size_t i = 0; i < sums.size(); ++i) {
        out[i] = static_cast<float>(sums[i] / length);
    }
}

void embed_one(const EmbedOptions& o, std::uint64_t seed, const std::vector<std::uint64_t>& frequent,
               std::string_view utf8, Scratch& s, float* out) {
    text::fold(utf8, o.lowercase, s.text);
    s.words.clear();
    s.pairs.clear();
    s.grams.clear();
    s.first.clear();
    std::array<std::uint64_t, 2> before{};  // hashes of the last words; 0 when there is none
    std::array<float, 2> before_weight{};
    const auto size = static_cast<std::uint32_t>(s.text.size());
    for (std::uint32_t at = 0; at < size;) {
        if (!in_word(s.text[at])) {
            ++at;
            continue;
        }
        const std::uint32_t end = word_end(s.text, at);
        const std::uint64_t hash = word_hash(seed, s.text.data() + at, s.text.data() + end);
        const bool dull = std::binary_search(frequent.begin(), frequent.end(), hash);
        const auto weight = static_cast<float>(dull ? frequent_weight : length_weight(end - at));
        if (s.words.add(hash, weight, 1) == s.first.size()) {
            s.first.push_back({at, end});
        }
        std::uint64_t joined = hash;
        float pair = weight;
        for (std::int64_t n = 2; n <= o.word_ngrams && before[n - 2] != 0; ++n) {
            joined = finish(step(before[n - 2] ^ pair_start, joined));
            pair = std::min(pair, before_weight[n - 2]);
            s.pairs.add(joined, static_cast<float>(pair * pair_weight), 1);
        }
        before = {hash, before[0]};
        before_weight = {weight, before_weight[0]};
        at = end;
    }
    for (std::size_t i = 0; i < s.first.size(); ++i) {
        const Feature& word = s.words.features[i];
        add_grams(o, seed, s.text.data() + s.first[i].begin, s.first[i].end - s.first[i].begin, word.weight, word.count,
                  s.grams);
    }
    s.sums.assign(static_cast<std::size_t>(o.dim), 0.0);
    add_sum(s.words.features, s.sums);
    add_sum(s.pairs.features, s.sums);
    add_sum(s.grams.features, s.sums);
    normalise(s.sums, seed, out);
}

}  // namespace

HashEmbedder::HashEmbedder(const EmbedOptions& options)
    : options_(options), seed_(finish(static_cast<std::uint64_t>(options.seed) + word_start)) {
    for (const std::string_view word : frequent_words) {
        std::array<char32_t, 16> codes{};
        std::copy(word.begin(), word.end(), codes.begin());
        frequent_.push_back(word_hash(seed_, codes.data(), codes.data() + word.size()));
    }
    std::sort(frequent_.begin(), frequent_.end());
}

Result<HashEmbedder> HashEmbedder::make(const EmbedOptions& o) noexcept {
    if (o.dim < 32 || o.dim > 4096) return Error{Errc::invalid_argument, o.dim, 0, "dim", "32 to 4096"};
    if (o.seed < 0) return Error{Errc::invalid_argument, o.seed, 0, "seed", "at least 0"};
    if (o.shortest < 1 || o.shortest > 8) return Error{Errc::invalid_argument, o.shortest, 0, "char_ngrams", "1 to 8"};
    if (o.longest < o.shortest || o.longest > 8) {
        return Error{Errc::invalid_argument, o.longest, 0, "char_ngrams", "shortest to 8"};
    }
    if (o.word_ngrams < 1 || o.word_ngrams > 3)
        return Error{Errc::invalid_argument, o.word_ngrams, 0, "word_ngrams", "1 to 3"};
    return guarded<HashEmbedder>([&] { return Result<HashEmbedder>(HashEmbedder(o)); });
}

std::string HashEmbedder::id() const {
    return "hash-v1:" + std::to_string(options_.dim) + ":" + std::to_string(options_.seed) + ":" +
           std::to_string(options_.shortest) + "-" + std::to_string(options_.longest) + ":" +
           std::to_string(options_.word_ngrams) + ":" + (options_.lowercase ? "1" : "0");
}

Status HashEmbedder::embed(std::span<const std::string_view> texts, float* out, std::int64_t threads) const noexcept {
    return in_parallel(texts.size(), threads, [&](std::size_t begin, std::size_t end) {
        Scratch scratch;
        for (std::size_t i = begin; i < end; ++i) {
            embed_one(options_, seed_, frequent_, texts[i], scratch, out + i * static_cast<std::size_t>(options_.dim));
        }
    });
}

}  // namespace spell
