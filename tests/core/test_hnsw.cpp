#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/crc.hpp"
#include "check.hpp"
#include "distance/table.hpp"
#include "hnsw/index.hpp"
#include "hnsw/quantise.hpp"

using spell::Errc;
using spell::exact::Metric;
using spell::hnsw::Attrs;
using spell::hnsw::Filter;
using spell::hnsw::Index;
using spell::hnsw::Op;
using spell::hnsw::Options;
using spell::hnsw::Search;
using spell::hnsw::Verify;

namespace {

constexpr std::size_t dim = 24;

std::vector<float> drawn(std::size_t count, unsigned seed) {
    std::mt19937 source(seed);
    std::normal_distribution<float> normal;
    std::vector<float> out(count * dim);
    for (float& value : out) value = normal(source);
    return out;
}

std::vector<std::int64_t> numbered(std::size_t count, std::int64_t first = 0) {
    std::vector<std::int64_t> keys(count);
    std::iota(keys.begin(), keys.end(), first);
    return keys;
}

Options small_graph(Metric metric, bool int8 = false) {
    Options options{.dim = dim, .metric = metric};
    options.m = 6;
    options.ef_construction = 40;
    options.exact_below = 50;
    options.int8 = int8;
    return options;
}

double recall(const Index& index, std::size_t queries, std::int64_t ef) {
    const auto asked = drawn(queries, 99);
    std::size_t same = 0;
    for (std::size_t i = 0; i < queries; ++i) {
        const auto near = index.search(asked.data() + i * dim, Search{.k = 10, .ef = ef});
        const auto exact = index.search(asked.data() + i * dim, Search{.k = 10, .exact = true});
        CHECK(near && exact && near.value().hits.size() == 10);
        std::set<std::int64_t> wanted;
        for (const auto& hit : exact.value().hits) wanted.insert(hit.key);
        for (const auto& hit : near.value().hits) same += wanted.count(hit.key);
    }
    return static_cast<double>(same) / static_cast<double>(queries * 10);
}

struct Place {
    std::string path = "/tmp/core-hnsw-" + std::to_string(::getpid()) + ".lsvx";
    ~Place() { ::unlink(path.c_str()); }
};

std::string content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void put(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace

TEST(products_of_codes_agree_with_plain_arithmetic) {
    std::mt19937 source(3);
    for (const std::size_t n : {64u, 128u, 192u, 256u, 384u, 512u, 768u, 1024u, 1088u}) {
        alignas(64) std::int8_t query[1088], rows[3][1152];
        for (auto& value : query) value = static_cast<std::int8_t>(source() % 255 - 127);
        for (auto& row : rows)
            for (auto& value : row) value = static_cast<std::int8_t>(source() % 255 - 127);
        const std::int8_t* pointers[3] = {rows[0], rows[1], rows[2]};
        std::int32_t plain[3] = {}, active[3], baseline[3];
        for (int i = 0; i < 3; ++i)
            for (std::size_t j = 0; j < n; ++j) plain[i] += (query[j] + 128) * rows[i][j];
        spell::distance::kernels().dot_codes(query, pointers, 3, n, active);
        spell::distance::baseline_kernels.dot_codes(query, pointers, 3, n, baseline);
        CHECK(std::memcmp(plain, active, sizeof(plain)) == 0 && std::memcmp(plain, baseline, sizeof(plain)) == 0);
    }
}

TEST(vectors_only_a_damaged_file_holds_have_a_code_of_zeros) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        const float vector[4] = {1.0f, bad, -2.0f, 0.5f};
        std::int8_t code[4] = {1, 1, 1, 1};
        const auto coded = spell::hnsw::quantise(vector, 4, code);
        CHECK(coded.squares == 0 && coded.sum == 0 && coded.scale == 0.0f);
        CHECK(std::all_of(code, code + 4, [](std::int8_t value) { return value == 0; }));
    }
}

TEST(checksums_are_those_of_castagnoli) {
    CHECK(spell::crc32c("123456789", 9) == 0xE3069283u);
    CHECK(spell::crc32c("6789", 4, spell::crc32c("12345", 5)) == 0xE3069283u);
    // Lengths about those that are read in three parts.
    std::string bytes(30000, '\0');
    std::mt19937 source(1);
    for (char& byte : bytes) byte = static_cast<char>(source());
    std::uint32_t plain = 0;
    std::size_t done = 0;
    for (const std::size_t size : {7u, 767u, 768u, 769u, 3 * 4096u - 1, 3 * 4096u, 3 * 4096u + 776u, 30000u}) {
        for (; done < size; ++done) plain = spell::crc32c(&bytes[done], 1, plain);
        CHECK(spell::crc32c(bytes.data(), size) == plain);
    }
}

TEST(every_metric_finds_what_is_near_and_keeps_its_links_sound) {
    const auto vectors = drawn(1500, 1);
    const auto keys = numbered(1500);
    for (const Metric metric : {Metric::cosine, Metric::l2, Metric::ip, Metric::l1}) {
        Index index(small_graph(metric));
        CHECK(index.add({keys, vectors.data()}).value() == 1500);
        CHECK(index.is_graph() && index.is_sound());
        CHECK(recall(index, 40, 150) > 0.95);
    }
    Index coded(small_graph(Metric::cosine, true));
    CHECK(coded.add({keys, vectors.data()}));
    CHECK(coded.is_sound() && recall(coded, 40, 150) > 0.95);
}

TEST(links_stay_sound_while_elements_come_and_go) {
    Index index(small_graph(Metric::l2));
    const auto vectors = drawn(4000, 2);
    std::mt19937 source(5);
    CHECK(index.add({numbered(3000), vectors.data()}));
    for (int round = 0; round < 12; ++round) {
        std::vector<std::int64_t> gone;
        for (int i = 0; i < 500; ++i) gone.push_back(static_cast<std::int64_t>(source() % 4000));
        CHECK(index.remove(gone));
        CHECK(index.is_sound());
        const auto first = static_cast<std::int64_t>(source() % 3600);
        CHECK(index.add({numbered(400, first), vectors.data() + first * static_cast<std::int64_t>(dim)}));
        CHECK(index.is_sound());
    }
    CHECK(recall(index, 40, 150) > 0.9);
    CHECK(index.compact());
    CHECK(index.is_sound());
    const auto stats = index.stats();
    CHECK(stats && stats.value().count == index.size());
    CHECK(recall(index, 40, 150) > 0.9);
}

TEST(removing_everything_leaves_an_index_that_can_be_filled_again) {
    for (const bool int8 : {false, true}) {
        Index index(small_graph(Metric::cosine, int8));
        const auto vectors = drawn(300, 3);
        for (int round = 0; round < 3; ++round) {
            CHECK(index.add({numbered(300), vectors.data()}).value() == 300);
            CHECK(index.is_graph() && recall(index, 5, 300) > 0.99);
            CHECK(index.remove(numbered(300)).value() == 300);
            CHECK(index.search(vectors.data(), Search{}).value().hits.empty());
            CHECK(index.compact());
            CHECK(!index.is_graph());
        }
    }
}

TEST(the_number_of_threads_does_not_change_the_file) {
    const auto vectors = drawn(1000, 4);
    std::string files[2];
    for (int threads = 1; threads <= 2; ++threads) {
        const Place place;
        Index index(small_graph(Metric::cosine));
        CHECK(index.add({.keys = numbered(1000), .vectors = vectors.data(), .attrs = {}, .threads = threads * 2 - 1}));
        CHECK(index.save(place.path, false, "tag"));
        files[threads - 1] = content(place.path);
    }
    CHECK(files[0] == files[1]);
}

TEST(a_file_gives_back_what_was_saved) {
    const Place place;
    const auto vectors = drawn(600, 6);
    for (const bool int8 : {false, true}) {
        Index index(small_graph(Metric::ip, int8));
        std::vector<Attrs> attrs(600);
        for (std::size_t i = 0; i < 600; ++i) {
            attrs[i] = {{"n", static_cast<std::int64_t>(i % 5)}, {"text", "<" + std::to_string(i) + ">"}};
        }
        const auto keys = numbered(600);
        CHECK(index.add({keys, vectors.data(), attrs}));
        CHECK(index.remove(numbered(100)).value() == 100);
        CHECK(index.save(place.path, true, "mark").value() > 0);
        CHECK(content(place.path).find("<57>") == std::string::npos);
        CHECK(content(place.path).find("<157>") != std::string::npos);
        for (const bool mapped : {false, true}) {
            auto opened = Index::open(place.path, mapped, true, Verify::full);
            CHECK(opened);
            Index& other = *opened.value();
            CHECK(other.is_sound() && other.tag() == "mark" && other.keys().value() == index.keys().value());
            const Filter three{.op = Op::eq, .field = "n", .values = {std::int64_t{3}}, .parts = {}};
            for (const Filter* filter : {static_cast<const Filter*>(nullptr), &three}) {
                const Search how{.k = 7, .filter = filter};
                const auto a = index.search(vectors.data(), how), b = other.search(vectors.data(), how);
                CHECK(a && b && a.value().hits.size() == 7 && b.value().hits.size() == 7);
                for (std::size_t i = 0; i < 7; ++i) CHECK(a.value().hits[i].key == b.value().hits[i].key);
            }
            CHECK(other.add({numbered(200, 1000), vectors.data()}).value() == 200);
            CHECK(other.remove(numbered(200, 300)).value() == 200);
            CHECK(other.is_sound() && recall(other, 10, 200) > 0.9);
        }
    }
}

TEST(a_file_cut_short_is_refused) {
    const Place place;
    Index index(small_graph(Metric::cosine));
    const auto vectors = drawn(120, 7);
    CHECK(index.add({numbered(120), vectors.data()}));
    CHECK(index.save(place.path, false, "t"));
    const std::string whole = content(place.path);
    for (std::size_t size = 0; size < whole.size(); size += 1 + size / 16) {
        put(place.path, whole.substr(0, size));
        for (const Verify verify : {Verify::header, Verify::full}) {
            const auto opened = Index::open(place.path, true, true, verify);
            CHECK(!opened && opened.error().code == Errc::corrupt);
        }
    }
}

TEST(a_file_with_any_bit_turned_is_refused_or_harmless) {
    const Place place;
    Index index(small_graph(Metric::cosine));
    const auto vectors = drawn(120, 8);
    std::vector<Attrs> attrs(120, Attrs{{"name", std::string("value")}});
    CHECK(index.add({numbered(120), vectors.data(), attrs}));
    CHECK(index.save(place.path, false, "t"));
    const std::string whole = content(place.path);
    std::mt19937 source(9);
    for (int round = 0; round < 600; ++round) {
        std::string bent = whole;
        const std::size_t flips = round % 3 == 0 ? 200 : 1;
        for (std::size_t i = 0; i < flips; ++i) {
            // Past the header and table, whose checksums would hide everything else.
            const std::size_t low = flips == 1 ? 0 : 1024;
            bent[low + source() % (bent.size() - low)] ^= static_cast<char>(1u << (source() % 8));
        }
        put(place.path, bent);
        auto checked = Index::open(place.path, true, true, Verify::full);
        CHECK(!checked || recall(*checked.value(), 1, 50) > 0.0);
        auto opened = Index::open(place.path, true, true, Verify::header);
        if (!opened) {
            CHECK(opened.error().code == Errc::corrupt || opened.error().code == Errc::version_mismatch);
            continue;
        }
        Index& damaged = *opened.value();
        (void)damaged.search(vectors.data(), Search{.k = 20});
        (void)damaged.remove(numbered(60));
        (void)damaged.add({numbered(80, 500), vectors.data()});
        (void)damaged.compact();
        (void)damaged.search(vectors.data(), Search{.k = 20});
    }
}

TEST(values_the_codes_cannot_carry_are_still_found) {
    for (const float size : {1e-30f, 1e30f}) {
        Index index(small_graph(Metric::l2));
        auto vectors = drawn(200, 10);
        for (float& value : vectors) value *= size;
        CHECK(index.add({numbered(200), vectors.data()}));
        for (std::int64_t key = 0; key < 200; key += 20) {
            const auto found = index.search(vectors.data() + key * static_cast<std::int64_t>(dim), Search{.k = 1});
            CHECK(found && found.value().hits[0].key == key);
        }
    }
}
