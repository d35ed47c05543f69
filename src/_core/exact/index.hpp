// One namespace of vectors, searched exactly.
//
// Locks, in the order they are taken:
//   writer_   one mutating call at a time; it prepares rows, chunks and a larger map while searches go on
//   turn_     held for an instant by whoever wants rows_lock_, so that searches cannot starve the writer
//   rows_lock_ shared by readers, exclusive while at most `round` prepared rows become visible
// A row is written only while it is not live, and readers touch live rows only: the two never meet.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "exact/metric.hpp"
#include "exact/rows.hpp"

namespace spell::exact {

struct Hit {
    float distance;
    std::int64_t key;

    bool operator<(const Hit& other) const noexcept {
        return distance != other.distance ? distance < other.distance : key < other.key;
    }
};

struct Found {
    std::vector<Hit> hits;  // ascending by distance, then key
    bool exhausted = true;
    std::int64_t visited = 0;
};

struct Search {
    std::int64_t k = 10;
    std::optional<float> threshold;                      // smallest score
    std::optional<std::span<const std::int64_t>> allow;  // the only keys that may be found
};

struct Stats {
    std::size_t count, removed, bytes;
    std::uint64_t searches, generation;
};

class Index {
 public:
    Index(std::size_t dim, Metric metric, std::size_t max_elements)
        : dim_(dim), metric_(metric), max_elements_(max_elements), rows_(std::make_unique<Rows>(dim)) {}

    // Returns how many keys were new. keys: n numbers of at least 0; vectors: n rows. All or nothing.
    Result<std::int64_t> add(std::span<const std::int64_t> keys, const float* vectors, bool replace) noexcept;
    Result<std::int64_t> remove(std::span<const std::int64_t> keys) noexcept;
    Status clear() noexcept;
    void close() noexcept;

    Result<Found> search(const float* query, const Search& how) const noexcept;
    Result<std::vector<Found>> search_many(const float* queries, std::size_t count, const Search& how,
                                           std::int64_t threads) const noexcept;
    Status get(std::span<const std::int64_t> keys, float* out) const noexcept;
    Status contains(std::span<const std::int64_t> keys, bool* out) const noexcept;
    Result<std::vector<std::int64_t>> keys() const noexcept;
    Result<Stats> stats() const noexcept;

    std::size_t size() const noexcept { return live_.load(std::memory_order_relaxed); }
    std::size_t dim() const noexcept { return dim_; }
    Metric metric() const noexcept { return metric_; }

 private:
    struct Fresh {
        std::int64_t key;
        Slot slot;
        Slot old;  // the row it replaces, or no_slot
    };
    static constexpr std::size_t round = 512;

    std::shared_lock<std::shared_mutex> read() const;
    std::unique_lock<std::shared_mutex> write();
    Result<std::vector<std::size_t>> chosen_rows(std::span<const std::int64_t> keys, const float* vectors,
                                                 bool replace) const;
    Result<std::int64_t> store(std::span<const std::int64_t> keys, const float* vectors,
                               const std::vector<std::size_t>& chosen, std::size_t replaced);
    void publish(std::span<const Fresh> fresh) noexcept;
    Result<Found> scan(const float* query, const Search& how) const;

    const std::size_t dim_;
    const Metric metric_;
    const std::size_t max_elements_;
    mutable std::mutex writer_;  // rows that are not live, free rows, growth of the map
    mutable std::mutex turn_;
    mutable std::shared_mutex rows_lock_;  // the live bits and the map
    std::unique_ptr<Rows> rows_;           // none once closed
    KeyMap map_;
    bool closed_ = false;  // written under writer_ and rows_lock_
    std::atomic<std::size_t> live_{0};
    mutable std::atomic<std::uint64_t> searches_{0};
    std::uint64_t generation_ = 0;
};

}  // namespace spell::exact
