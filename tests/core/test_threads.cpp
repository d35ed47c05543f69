#include <unistd.h>

#include <array>
#include <atomic>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "embed/hash_embedder.hpp"
#include "hnsw/index.hpp"

using spell::exact::Metric;
using spell::hnsw::Index;
using spell::hnsw::Options;
using spell::hnsw::Search;
using spell::hnsw::Verify;

TEST(searches_see_each_key_once_while_a_writer_works) {
    constexpr std::size_t count = 100, dim = 8;
    Index index(Options{.dim = dim, .metric = Metric::l2, .max_elements = 100000});
    std::vector<std::int64_t> keys(count), more(700);
    std::iota(keys.begin(), keys.end(), 0);
    std::iota(more.begin(), more.end(), 1000);
    std::vector<float> vectors(700 * dim, 0.5f);
    CHECK(index.add({keys, vectors.data()}));
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i) {
        readers.emplace_back([&] {
            std::vector<float> out(dim);
            while (!stop.load()) {
                const auto found = index.search(vectors.data(), Search{.k = 2000});
                CHECK(found);
                std::size_t stable = 0;
                for (const auto& hit : found.value().hits) stable += hit.key < 1000 ? 1 : 0;
                CHECK(stable == count);
                CHECK(index.get(std::span(keys).first(1), out.data()));
                CHECK(index.keys());
                CHECK(index.stats());
            }
        });
    }
    for (int round = 0; round < 40; ++round) {
        CHECK(index.add({keys, vectors.data()}));
        CHECK(index.add({more, vectors.data()}));
        CHECK(index.remove(more).value() == 700);
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
}

TEST(a_graph_is_searched_while_it_is_built_thinned_and_repaired) {
    constexpr std::size_t dim = 8, count = 600;
    Options options{.dim = dim, .metric = Metric::l2};
    options.m = 4;
    options.ef_construction = 16;
    options.exact_below = 32;
    Index index(options);
    std::vector<float> vectors(4 * count * dim);
    for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = static_cast<float>((i * 2654435761u) % 1000);
    std::vector<std::int64_t> stable(count), more(3 * count);
    std::iota(stable.begin(), stable.end(), 0);
    std::iota(more.begin(), more.end(), 10000);
    CHECK(index.add({stable, vectors.data()}));
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (std::size_t i = 0; i < 2; ++i) {
        readers.emplace_back([&, i] {
            for (std::size_t at = i; !stop.load(); at = (at + 7) % count) {
                const auto found = index.search(vectors.data() + at * dim, Search{.k = 10, .ef = 40});
                CHECK(found && found.value().hits.size() == 10);
                std::set<std::int64_t> once;
                for (const auto& hit : found.value().hits) once.insert(hit.key);
                CHECK(once.size() == 10);
            }
        });
    }
    for (int round = 0; round < 3; ++round) {
        CHECK(index.add({.keys = more, .vectors = vectors.data() + count * dim, .attrs = {}, .threads = 2}));
        CHECK(index.add({stable, vectors.data()}).value() == 0);
        CHECK(index.remove(more).value() == static_cast<std::int64_t>(more.size()));
        CHECK(index.compact());
        CHECK(index.is_sound());
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
}

TEST(closing_while_others_search_is_an_error_and_not_a_crash) {
    Index index(Options{.dim = 4, .metric = Metric::cosine, .max_elements = 100});
    const std::vector<std::int64_t> keys{1, 2};
    const std::vector<float> vectors{1, 0, 0, 0, 0, 1, 0, 0};
    CHECK(index.add({keys, vectors.data()}));
    std::thread reader([&] {
        while (index.search(vectors.data(), Search{})) {
        }
    });
    index.close();
    reader.join();
}

TEST(many_queries_on_many_threads_find_the_same) {
    Index index(Options{.dim = 4, .metric = Metric::ip, .max_elements = 100});
    const std::vector<std::int64_t> keys{1, 2};
    const std::vector<float> vectors{1, 0, 0, 0, 0, 1, 0, 0};
    CHECK(index.add({keys, vectors.data()}));
    std::vector<float> queries;
    for (int i = 0; i < 50; ++i)
        queries.insert(queries.end(), vectors.begin() + i % 2 * 4, vectors.begin() + i % 2 * 4 + 4);
    const auto found = index.search_many(queries.data(), 50, Search{.k = 1}, 4);
    CHECK(found);
    for (std::size_t i = 0; i < 50; ++i) CHECK(found.value()[i].hits[0].key == static_cast<std::int64_t>(i % 2 + 1));
}

TEST(texts_are_embedded_alike_on_many_threads) {
    const auto made = spell::HashEmbedder::make({});
    std::vector<std::string> owned;
    for (int i = 0; i < 40; ++i) owned.push_back("text " + std::to_string(i));
    const std::vector<std::string_view> texts(owned.begin(), owned.end());
    std::vector<float> one(40 * 384), four(40 * 384);
    CHECK(made.value().embed(texts, one.data(), 1));
    CHECK(made.value().embed(texts, four.data(), 4));
    CHECK(one == four);
}

TEST(a_filter_that_was_asked_before_holds_while_the_graph_grows) {
    constexpr std::size_t dim = 8, count = 600;
    Options options{.dim = dim, .metric = Metric::l2};
    options.m = 4;
    options.ef_construction = 16;
    options.exact_below = 32;
    Index index(options);
    std::vector<float> vectors(6 * count * dim);
    for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = static_cast<float>((i * 2654435761u) % 1000);
    std::vector<std::int64_t> stable(count), more(5 * count);
    std::iota(stable.begin(), stable.end(), 0);
    std::iota(more.begin(), more.end(), 10000);
    std::vector<spell::hnsw::Attrs> attrs(count);
    for (std::size_t i = 0; i < count; ++i) attrs[i] = {{"even", i % 2 == 0}};
    CHECK(index.add({stable, vectors.data(), attrs}));
    spell::hnsw::Filter even;
    even.op = spell::hnsw::Op::eq;
    even.field = "even";
    even.values = {true};
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (std::size_t i = 0; i < 2; ++i) {
        readers.emplace_back([&, i] {
            for (std::size_t at = i; !stop.load(); at = (at + 7) % count) {
                Search how{.k = 4, .ef = 4};
                how.filter = &even;
                const auto found = index.search(vectors.data() + at * dim, how);
                CHECK(found && found.value().hits.size() == 4);
                for (const auto& hit : found.value().hits) CHECK(hit.key < 600 && hit.key % 2 == 0);
            }
        });
    }
    for (int round = 0; round < 3; ++round) {
        CHECK(index.add({.keys = more, .vectors = vectors.data() + count * dim, .attrs = {}}));
        CHECK(index.remove(more).value() == static_cast<std::int64_t>(more.size()));
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
    CHECK(index.stats().value().searches > index.stats().value().exact_scans);
}

// Keys come and go in order: those below `gone` were removed before a search began, those from `going` to `added`
// cannot have been removed before it ended.
TEST(four_search_while_one_adds_removes_compacts_and_saves) {
    constexpr std::size_t dim = 8;
    constexpr std::int64_t batch = 48, window = 240;
    Options options{.dim = dim, .metric = Metric::cosine};
    options.m = 4;
    options.ef_construction = 16;
    options.exact_below = 100;
    Index index(options);
    const auto vectors = [](std::int64_t first) {
        std::vector<float> out(batch * dim);
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i] = static_cast<float>((static_cast<std::size_t>(first) * dim + i) * 2654435761u % 1000) - 499.5f;
        return out;
    };
    std::atomic<std::int64_t> added{0}, going{0}, gone{0};
    std::atomic<bool> stop{false};
    const auto watch = [&](bool exact) {
        const auto query = vectors(77);
        while (!stop.load()) {
            const std::int64_t low = gone.load(), high = added.load();
            const auto found = index.search(query.data(), Search{.k = exact ? 1000 : 10, .ef = 40, .exact = exact});
            const std::int64_t sure = going.load();
            CHECK(found && (exact || found.value().hits.size() == 10 || high < batch));
            std::set<std::int64_t> once;
            for (const auto& hit : found.value().hits) {
                CHECK(hit.key >= low && once.insert(hit.key).second);
            }
            for (std::int64_t key = sure; exact && key < high; ++key) CHECK(once.count(key) == 1);
        }
    };
    std::vector<std::thread> readers;
    for (int i = 0; i < 4; ++i) readers.emplace_back(watch, i % 2 == 0);
    const std::string path = "/tmp/core-threads-" + std::to_string(::getpid()) + ".lsvx";
    for (int round = 0; round < 30; ++round) {
        std::vector<std::int64_t> keys(batch);
        std::iota(keys.begin(), keys.end(), added.load());
        CHECK(index.add({.keys = keys, .vectors = vectors(added).data(), .attrs = {}, .threads = 2}));
        added += batch;
        if (added - gone > window) {
            std::iota(keys.begin(), keys.end(), gone.load());
            going += batch;
            CHECK(index.remove(keys).value() == batch);
            gone += batch;
        }
        if (round % 4 == 1) CHECK(index.compact(2));
        if (round % 5 == 2) {
            CHECK(index.save(path, false, "t"));
            const auto opened = Index::open(path, true, false, Verify::full);
            CHECK(opened && opened.value()->size() == index.size() && opened.value()->is_sound());
        }
        CHECK(index.is_sound());
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
    ::unlink(path.c_str());
}
