#include "exact/scan.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "distance/table.hpp"

namespace spell::exact {

// Eight sums in a fixed order: one would wait for itself.
float inverse_length(const float* vector, std::size_t dim) noexcept {
    std::array<double, 8> sums{};
    std::size_t i = 0;
    for (; i + sums.size() <= dim; i += sums.size()) {
        for (std::size_t j = 0; j < sums.size(); ++j) {
            sums[j] += static_cast<double>(vector[i + j]) * vector[i + j];
        }
    }
    for (; i < dim; ++i) {
        sums[0] += static_cast<double>(vector[i]) * vector[i];
    }
    const double length = std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
    return length > 1e-18 && length < 1e18 ? static_cast<float>(1.0 / length) : 0.0f;
}

Query::Query(Metric metric, const float* query, std::size_t dim)
    : metric_(metric), original_(query), dim_(dim), used_(query) {
    const distance::Kernels& table = distance::kernels();
    kernel_ = metric == Metric::l2 ? table.l2_rows : metric == Metric::l1 ? table.l1_rows : table.dot_rows;
    if (metric == Metric::cosine) {
        const float scale = inverse_length(query, dim);
        unit_.resize(dim);
        for (std::size_t i = 0; i < dim; ++i) {
            // NaN sends every row to the careful distance.
            unit_[i] = scale == 0.0f ? NAN : query[i] * scale;
        }
        used_ = unit_.data();
    }
}

float Query::finish(float raw, const float* vector, float scale) const noexcept {
    const bool vanished = metric_ == Metric::l2 && raw < 1e-32f;
    if (!std::isfinite(raw) || vanished || (metric_ == Metric::cosine && scale == 0.0f)) {
        return careful_distance(metric_, original_, vector, dim_);
    }
    switch (metric_) {
        case Metric::cosine: return std::clamp(1.0f - raw * scale, 0.0f, 2.0f);
        case Metric::l2: return std::sqrt(raw);
        case Metric::ip: return -raw;
        case Metric::l1: break;
    }
    return raw;
}

void Query::rows(const float* vectors, const float* scales, std::size_t count, float* out) const {
    kernel_(used_, vectors, count, dim_, out);
    for (std::size_t i = 0; i < count; ++i) {
        out[i] = finish(out[i], vectors + i * dim_, scales[i]);
    }
}

void scan_chunk(const Chunk& chunk, const Query& query, std::size_t dim, const Decode& decode, Best& best) {
    std::array<float, 64> distances;
    std::vector<float> decoded(decode ? 64 * dim : 0);
    for (std::size_t base = 0; base < chunk.rows; base += 64) {
        // Runs of live rows: a row that is not live may be being written.
        for (std::uint64_t live = chunk.live[base / 64]; live != 0;) {
            const auto begin = static_cast<std::size_t>(std::countr_zero(live));
            const auto run = static_cast<std::size_t>(std::countr_one(live >> begin));
            const std::size_t first = base + begin;
            const float* rows = decode ? decoded.data() : chunk.vectors + first * dim;
            for (std::size_t i = 0; decode && i < run; ++i) {
                decode(first + i, decoded.data() + i * dim);
            }
            query.rows(rows, chunk.scales + first, run, distances.data());
            for (std::size_t i = 0; i < run; ++i) {
                best.offer(distances[i], chunk.keys[first + i]);
            }
            live = begin + run == 64 ? 0 : live & (~0ull << (begin + run));
        }
    }
}

}  // namespace spell::exact
