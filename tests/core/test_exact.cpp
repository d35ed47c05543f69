#include <map>
#include <random>
#include <set>
#include <vector>

#include "check.hpp"
#include "hnsw/index.hpp"

using spell::Errc;
using spell::exact::KeyMap;
using spell::exact::Metric;
using spell::exact::Rows;
using spell::hnsw::Index;
using spell::hnsw::Options;
using spell::hnsw::Search;

TEST(the_key_map_agrees_with_a_dictionary) {
    Rows rows(1);
    KeyMap map;
    std::map<std::int64_t, spell::exact::Slot> naive;
    std::mt19937_64 source(1);
    for (int step = 0; step < 40000; ++step) {
        const auto key = static_cast<std::int64_t>(source() % 700) << (step % 3 * 20);
        if (source() % 3 != 0 && !naive.contains(key)) {
            if (!map.has_room(1)) map = map.grown(rows, 1);
            rows.reserve(1);
            const auto slot = rows.take();
            rows.key(slot) = key;
            map.insert(key, slot);
            naive[key] = slot;
        } else if (naive.contains(key)) {
            map.erase(rows, key);
            rows.give_back(naive[key]);
            naive.erase(key);
        }
        CHECK(map.count() == naive.size());
        const auto found = naive.find(key);
        CHECK(map.find(rows, key) == (found == naive.end() ? spell::exact::no_slot : found->second));
    }
    for (const auto& [key, slot] : naive) CHECK(map.find(rows, key) == slot);
}

TEST(vectors_never_move) {
    Rows rows(3);
    std::vector<float*> places;
    for (int i = 0; i < 5000; ++i) {
        rows.reserve(1);
        places.push_back(rows.vector(rows.take()));
        places.back()[0] = places.back()[2] = static_cast<float>(i);
    }
    CHECK(std::set<float*>(places.begin(), places.end()).size() == places.size());
    for (int i = 0; i < 5000; ++i) {
        CHECK(rows.vector(static_cast<spell::exact::Slot>(i)) == places[static_cast<std::size_t>(i)]);
        CHECK(places[static_cast<std::size_t>(i)][2] == static_cast<float>(i));
    }
}

TEST(adding_past_the_limit_adds_nothing) {
    Index index(Options{.dim = 2, .metric = Metric::l2, .max_elements = 3});
    const std::vector<std::int64_t> keys{1, 2, 3, 4};
    const std::vector<float> vectors(8, 1.0f);
    const auto result = index.add({keys, vectors.data()});
    CHECK(!result && result.error().code == Errc::limit_exceeded);
    CHECK(index.size() == 0);
    CHECK(index.add({std::span(keys).first(3), vectors.data()}).value() == 3);
    CHECK(index.add({std::span(keys).first(3), vectors.data()}).value() == 0);
}

TEST(a_closed_index_says_so) {
    Index index(Options{.dim = 2, .metric = Metric::cosine, .max_elements = 10});
    index.close();
    const std::vector<std::int64_t> keys{1};
    const std::vector<float> vector{1, 2};
    CHECK(index.add({keys, vector.data()}).error().code == Errc::closed);
    CHECK(index.search(vector.data(), Search{}).error().code == Errc::closed);
    CHECK(index.remove(keys).error().code == Errc::closed);
    CHECK(index.keys().error().code == Errc::closed);
}
