// Calls on an index whose file was damaged: any answer will do that has the right shape.
#pragma once

#include <algorithm>
#include <cmath>
#include <set>

#include "fuzz.hpp"
#include "hnsw/index.hpp"

namespace fuzz {

inline void search_all_ways(const spell::hnsw::Index& index, const float* query) {
    using namespace spell::hnsw;
    const Filter filter{.op = Op::eq, .field = "n", .values = {std::int64_t{1}}, .parts = {}};
    const std::vector<std::int64_t> allow{1, 2, 3, 7};
    const std::vector<std::int64_t> live = index.keys().value();
    for (Search how : {Search{.k = 5}, Search{.k = 5, .ef = 60}, Search{.k = 5, .filter = &filter},
                       Search{.k = 5, .allow = allow}, Search{.k = 5, .exact = true}}) {
        const auto found = index.search(query, how);
        REQUIRE(found);
        std::set<std::int64_t> once;
        float last = -INFINITY;
        for (const auto& hit : found.value().hits) {
            REQUIRE(once.insert(hit.key).second && std::binary_search(live.begin(), live.end(), hit.key));
            REQUIRE(hit.distance >= last);
            last = hit.distance;
        }
        REQUIRE(once.size() == 5 || (once.size() < 5 && found.value().exhausted));
    }
}

template <class Opened>
void refused_or_used(Opened& opened, std::size_t size) {
    using spell::Errc;
    if (!opened) {
        const spell::Error& error = opened.error();
        REQUIRE(error.code == Errc::corrupt || error.code == Errc::version_mismatch ||
                error.code == Errc::dimension_mismatch || error.code == Errc::invalid_argument);
        REQUIRE(error.code != Errc::corrupt || (error.a >= 0 && static_cast<std::size_t>(error.a) <= size));
        return;
    }
    spell::hnsw::Index& index = *opened.value();
    std::vector<float> vectors(3 * index.dim(), 0.5f);
    search_all_ways(index, vectors.data());
    const auto live = index.keys().value();
    std::vector<float> all(live.size() * index.dim());
    REQUIRE(index.get(live, all.data()) && index.get_attrs(live) && index.stats());
    const std::vector<std::int64_t> fresh{1000, 1001, 7};
    const auto added = index.add({fresh, vectors.data()});
    REQUIRE(added || added.error().code == Errc::limit_exceeded);
    REQUIRE(index.remove(std::span(live).first(live.size() / 2)));
    REQUIRE(index.compact());
    search_all_ways(index, vectors.data());
}

}  // namespace fuzz
