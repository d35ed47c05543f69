#include "exact/index.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/parallel.hpp"
#include "exact/scan.hpp"

namespace spell::exact {
namespace {

constexpr Error closed{Errc::closed, 0, 0, "index"};

std::optional<Error> bad_row(const float* row, std::size_t dim, std::size_t number, Metric metric) noexcept {
    bool zero = true;
    for (std::size_t i = 0; i < dim; ++i) {
        if (!std::isfinite(row[i])) {
            return Error{Errc::non_finite, static_cast<std::int64_t>(number), static_cast<std::int64_t>(i)};
        }
        zero = zero && row[i] == 0.0f;
    }
    if (zero && metric == Metric::cosine) {
        return Error{Errc::zero_vector, static_cast<std::int64_t>(number)};
    }
    return std::nullopt;
}

std::optional<Error> bad_key(std::span<const std::int64_t> keys) noexcept {
    for (const std::int64_t key : keys) {
        if (key < 0) {
            return Error{Errc::invalid_argument, key, 0, "key", "an integer of at least 0"};
        }
    }
    return std::nullopt;
}

}  // namespace

std::shared_lock<std::shared_mutex> Index::read() const {
    const std::lock_guard turn(turn_);
    return std::shared_lock(rows_lock_);
}

std::unique_lock<std::shared_mutex> Index::write() {
    const std::lock_guard turn(turn_);
    return std::unique_lock(rows_lock_);
}

// The rows of the call that count: the last of each key, in key order.
Result<std::vector<std::size_t>> Index::chosen_rows(std::span<const std::int64_t> keys, const float* vectors,
                                                    bool replace) const {
    if (const auto error = bad_key(keys)) {
        return *error;
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (const auto error = bad_row(vectors + i * dim_, dim_, i, metric_)) {
            return *error;
        }
    }
    std::vector<std::size_t> order(keys.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
    std::vector<std::size_t> chosen;
    chosen.reserve(order.size());
    for (const std::size_t row : order) {
        if (!chosen.empty() && keys[chosen.back()] == keys[row]) {
            if (!replace) {
                return Error{Errc::duplicate_key, keys[row]};
            }
            chosen.back() = row;
        } else {
            chosen.push_back(row);
        }
    }
    return chosen;
}

Result<std::int64_t> Index::add(std::span<const std::int64_t> keys, const float* vectors, bool replace) noexcept {
    return guarded<std::int64_t>([&]() -> Result<std::int64_t> {
        const auto chosen = chosen_rows(keys, vectors, replace);
        if (!chosen) {
            return chosen.error();
        }
        const std::lock_guard writing(writer_);
        if (closed_) {
            return closed;
        }
        std::size_t fresh = 0;
        for (const std::size_t row : chosen.value()) {
            const bool known = map_.find(*rows_, keys[row]) != no_slot;
            if (known && !replace) {
                return Error{Errc::duplicate_key, keys[row]};
            }
            fresh += known ? 0 : 1;
        }
        if (map_.count() + fresh > max_elements_) {
            return Error{Errc::limit_exceeded, static_cast<std::int64_t>(max_elements_),
                         static_cast<std::int64_t>(map_.count() + fresh), "max_elements"};
        }
        return store(keys, vectors, chosen.value(), chosen.value().size() - fresh);
    });
}

// Everything that can fail happens before the first row is published. The writer lock is held.
Result<std::int64_t> Index::store(std::span<const std::int64_t> keys, const float* vectors,
                                  const std::vector<std::size_t>& chosen, std::size_t replaced) {
    std::vector<Fresh> fresh;
    fresh.reserve(chosen.size());
    rows_->reserve(chosen.size());
    rows_->reserve_free(replaced);
    if (!map_.has_room(chosen.size())) {
        KeyMap larger = map_.grown(*rows_, std::max(chosen.size(), map_.count()));
        const auto lock = write();
        std::swap(map_, larger);
    }
    for (const std::size_t row : chosen) {
        const Slot slot = rows_->take();
        fresh.push_back({keys[row], slot, map_.find(*rows_, keys[row])});
        std::memcpy(rows_->vector(slot), vectors + row * dim_, dim_ * sizeof(float));
        rows_->key(slot) = keys[row];
        rows_->scale(slot) = metric_ == Metric::cosine ? inverse_length(vectors + row * dim_, dim_) : 1.0f;
    }
    const std::size_t before = map_.count();
    for (std::size_t begin = 0; begin < fresh.size(); begin += round) {
        publish(std::span(fresh).subspan(begin, std::min(round, fresh.size() - begin)));
    }
    for (const Fresh& row : fresh) {
        if (row.old != no_slot) {
            rows_->give_back(row.old);
        }
    }
    return static_cast<std::int64_t>(map_.count() - before);
}

void Index::publish(std::span<const Fresh> fresh) noexcept {
    const auto lock = write();
    for (const Fresh& row : fresh) {
        if (row.old != no_slot) {
            rows_->set_live(row.old, false);
            map_.assign(*rows_, row.key, row.slot);
        } else {
            map_.insert(row.key, row.slot);
        }
        rows_->set_live(row.slot, true);
    }
    live_.store(map_.count(), std::memory_order_relaxed);
    ++generation_;
}

Result<std::int64_t> Index::remove(std::span<const std::int64_t> keys) noexcept {
    return guarded<std::int64_t>([&]() -> Result<std::int64_t> {
        const std::lock_guard writing(writer_);
        if (closed_) {
            return closed;
        }
        rows_->reserve_free(keys.size());
        std::int64_t removed = 0;
        for (std::size_t begin = 0; begin < keys.size(); begin += round) {
            const auto lock = write();
            for (const std::int64_t key : keys.subspan(begin, std::min(round, keys.size() - begin))) {
                const Slot slot = map_.find(*rows_, key);
                if (slot != no_slot) {
                    map_.erase(*rows_, key);
                    rows_->set_live(slot, false);
                    rows_->give_back(slot);
                    ++removed;
                }
            }
            live_.store(map_.count(), std::memory_order_relaxed);
            ++generation_;
        }
        return removed;
    });
}

Status Index::clear() noexcept {
    return guarded<Done>([&]() -> Status {
        const std::lock_guard writing(writer_);
        if (closed_) {
            return closed;
        }
        auto empty_rows = std::make_unique<Rows>(dim_);
        KeyMap empty_map;
        {
            const auto lock = write();
            std::swap(rows_, empty_rows);
            std::swap(map_, empty_map);
            live_.store(0, std::memory_order_relaxed);
            ++generation_;
        }
        return Done{};
    });
}

void Index::close() noexcept {
    std::unique_ptr<Rows> empty_rows;
    KeyMap empty_map;
    const std::lock_guard writing(writer_);
    const auto lock = write();
    closed_ = true;
    std::swap(rows_, empty_rows);
    std::swap(map_, empty_map);
    live_.store(0, std::memory_order_relaxed);
}

Result<Found> Index::scan(const float* query, const Search& how) const {
    const Query ready(metric_, query, dim_);
    Best best(static_cast<std::size_t>(how.k), how.threshold, metric_);
    std::int64_t visited = 0;
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    searches_.fetch_add(1, std::memory_order_relaxed);
    if (!how.allow) {
        rows_->each_chunk([&](const Chunk& chunk) { scan_chunk(chunk, ready, dim_, best); });
        visited = static_cast<std::int64_t>(map_.count());
    } else {
        for (const std::int64_t key : *how.allow) {
            const Slot slot = map_.find(*rows_, key);
            if (slot != no_slot) {
                float distance = 0.0f;
                ready.rows(rows_->vector(slot), rows_->chunk_of(slot).scales.get() + Rows::offset(slot), 1, &distance);
                best.offer(distance, key);
                ++visited;
            }
        }
    }
    return std::move(best).finish(visited);
}

Result<Found> Index::search(const float* query, const Search& how) const noexcept {
    auto many = search_many(query, 1, how, 1);
    return many ? Result<Found>(std::move(many.value().front())) : Result<Found>(many.error());
}

Result<std::vector<Found>> Index::search_many(const float* queries, std::size_t count, const Search& how,
                                              std::int64_t threads) const noexcept {
    return guarded<std::vector<Found>>([&]() -> Result<std::vector<Found>> {
        if (how.k < 1 || how.k > 100000) {
            return Error{Errc::invalid_argument, how.k, 0, "k", "1 to 100000"};
        }
        for (std::size_t i = 0; i < count; ++i) {
            if (const auto error = bad_row(queries + i * dim_, dim_, i, metric_)) {
                return *error;
            }
        }
        Search with = how;
        std::vector<std::int64_t> allowed;
        if (how.allow) {
            allowed.assign(how.allow->begin(), how.allow->end());
            std::sort(allowed.begin(), allowed.end());
            allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
            with.allow = allowed;
        }
        std::vector<Found> found(count);
        std::atomic<bool> was_closed{false};
        Status status = in_parallel(count, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                auto one = scan(queries + i * dim_, with);
                if (one) {
                    found[i] = std::move(one.value());
                } else {
                    was_closed = true;
                }
            }
        });
        if (!status) {
            return status.error();
        }
        return was_closed ? Result<std::vector<Found>>(closed) : Result<std::vector<Found>>(std::move(found));
    });
}

Status Index::get(std::span<const std::int64_t> keys, float* out) const noexcept {
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const Slot slot = map_.find(*rows_, keys[i]);
        if (slot == no_slot) {
            return Error{Errc::not_found, keys[i], 0, "key"};
        }
        std::memcpy(out + i * dim_, rows_->vector(slot), dim_ * sizeof(float));
    }
    return Done{};
}

Status Index::contains(std::span<const std::int64_t> keys, bool* out) const noexcept {
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    std::transform(keys.begin(), keys.end(), out, [&](std::int64_t key) { return map_.find(*rows_, key) != no_slot; });
    return Done{};
}

Result<std::vector<std::int64_t>> Index::keys() const noexcept {
    return guarded<std::vector<std::int64_t>>([&]() -> Result<std::vector<std::int64_t>> {
        std::vector<std::int64_t> out;
        {
            const auto lock = read();
            if (closed_) {
                return closed;
            }
            out.reserve(map_.count());
            rows_->each_chunk([&](const Chunk& chunk) {
                for (std::size_t i = 0; i < chunk.rows; ++i) {
                    if ((chunk.live[i / 64] >> (i % 64) & 1) != 0) {
                        out.push_back(chunk.keys[i]);
                    }
                }
            });
        }
        std::sort(out.begin(), out.end());
        return out;
    });
}

Result<Stats> Index::stats() const noexcept {
    const std::lock_guard writing(writer_);
    const auto lock = read();
    if (closed_) {
        return closed;
    }
    const std::size_t count = map_.count();
    return Stats{count, rows_->used() - count, sizeof(Index) + rows_->bytes() + map_.bytes(), searches_.load(),
                 generation_};
}

}  // namespace spell::exact
