// The scan of live rows and the keeping of the best.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "exact/hits.hpp"
#include "exact/rows.hpp"

namespace spell::exact {

// Keeps the k smallest hits; a heap whose top is the worst of them.
class Best {
 public:
    Best(std::size_t k, std::optional<float> threshold, Metric metric)
        : k_(k), threshold_(threshold), metric_(metric) {}

    void offer(float distance, std::int64_t key) {
        if (threshold_ && !(score_of(metric_, distance) >= *threshold_)) {
            return;
        }
        ++matched_;
        // Only a damaged file holds vectors without a distance.
        const Hit hit{distance == distance ? distance : std::numeric_limits<float>::infinity(), key};
        if (hits_.size() < k_) {
            hits_.push_back(hit);
            std::push_heap(hits_.begin(), hits_.end());
        } else if (hit < hits_.front()) {
            std::pop_heap(hits_.begin(), hits_.end());
            hits_.back() = hit;
            std::push_heap(hits_.begin(), hits_.end());
        }
    }

    bool full() const noexcept { return hits_.size() == k_; }
    // Of what is kept; there is something.
    float worst() const noexcept { return hits_.front().distance; }

    Found finish(std::int64_t visited) && {
        std::sort_heap(hits_.begin(), hits_.end());
        return {std::move(hits_), matched_ <= k_, visited};
    }

 private:
    std::size_t k_;
    std::optional<float> threshold_;
    Metric metric_;
    std::size_t matched_ = 0;
    std::vector<Hit> hits_;
};

// A query made ready: of unit length under cosine when that is within float, and the kernels of its metric.
class Query {
 public:
    Query(Metric metric, const float* query, std::size_t dim);

    // Distances of `count` rows that lie one after another; scales belong to the same rows.
    void rows(const float* vectors, const float* scales, std::size_t count, float* out) const;

 private:
    float finish(float raw, const float* vector, float scale) const noexcept;

    Metric metric_;
    const float* original_;
    std::size_t dim_;
    std::vector<float> unit_;
    const float* used_;
    void (*kernel_)(const float*, const float*, std::size_t, std::size_t, float*);
};

// 1 / length, or 0 when the length or its inverse is not a normal float.
float inverse_length(const float* vector, std::size_t dim) noexcept;

// decode writes the vector of the row of that number in the chunk; without it the rows hold their vectors.
using Decode = std::function<void(std::size_t, float*)>;
void scan_chunk(const Chunk& chunk, const Query& query, std::size_t dim, const Decode& decode, Best& best);

}  // namespace spell::exact
