#include "hnsw/graph.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "distance/table.hpp"
#include "exact/scan.hpp"
#include "hnsw/quantise.hpp"

namespace spell::hnsw {
namespace {

constexpr unsigned record_shift = 13, block_shift = 12;

std::size_t padded(std::size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

std::size_t links_bytes(const Shape& shape) {
    return sizeof(Head) + 2 * shape.m * sizeof(Slot);
}

void store(Slot& link, Slot to) noexcept {
    std::atomic_ref<Slot>(link).store(to, std::memory_order_release);
}

}  // namespace

void Measure::query(const float* vector) {
    const Shape& shape = graph_.shape_;
    vector_ = vector;
    if (!shape.codes) {
        return;
    }
    own_code_.resize(graph_.code_bytes_ + 64);
    std::int8_t* code = own_code_.data() + (64 - reinterpret_cast<std::uintptr_t>(own_code_.data()) % 64);
    const Coded coded = quantise(vector_, shape.dim, code);
    const bool l2 = shape.metric == Metric::l2;
    code_ = code;
    factor_ = (l2 ? -2.0f : -1.0f) * (shape.metric == Metric::cosine ? coded.unit_scale() : coded.scale);
    constant_ = l2 ? coded.scale * coded.scale * static_cast<float>(coded.squares) : 0.0f;
}

void Measure::element(Slot slot) {
    if (!graph_.shape_.codes) {
        vector_ = graph_.rows_.vector(slot);
        return;
    }
    const Head& head = graph_.head(slot);
    const bool l2 = graph_.shape_.metric == Metric::l2;
    code_ = graph_.code(slot);
    factor_ = (l2 ? -2.0f : -1.0f) * head.scale;
    constant_ = l2 ? head.bias : 0.0f;
}

void Measure::many(const Slot* slots, std::size_t count, float* out) const {
    if (!graph_.shape_.codes) {
        for (std::size_t i = 0; i < count; ++i) {
            out[i] = distance::kernels().l1(vector_, graph_.rows_.vector(slots[i]), graph_.shape_.dim);
        }
        return;
    }
    std::array<const std::int8_t*, 64> rows;
    std::array<std::int32_t, 64> raw;
    for (std::size_t first = 0; first < count; first += rows.size()) {
        const std::size_t part = std::min(rows.size(), count - first);
        for (std::size_t i = 0; i < part; ++i) {
            rows[i] = graph_.code(slots[first + i]);
        }
        distance::kernels().dot_codes(code_, rows.data(), part, graph_.code_bytes_, raw.data());
        for (std::size_t i = 0; i < part; ++i) {
            const Head& head = *reinterpret_cast<const Head*>(rows[i] + graph_.code_bytes_);
            // In 64 bits: a damaged file may hold any sum.
            const auto dot = static_cast<float>(raw[i] - std::int64_t{128} * head.sum);
            const float distance = constant_ + head.bias + factor_ * head.scale * dot;
            out[first + i] = distance == distance ? distance : std::numeric_limits<float>::infinity();
        }
    }
}

Graph::Graph(const Shape& shape, const Rows& rows)
    : shape_(shape),
      rows_(rows),
      code_bytes_(shape.codes ? padded(shape.dim) : 0),
      records_(padded(code_bytes_ + links_bytes(shape) + (shape.tails ? Tails::least_note(shape.dim) : 0)),
               record_shift),
      upper_((shape.m + 1) * sizeof(Slot), block_shift),
      free_blocks_(most_levels + 1) {
    if (shape.tails) {
        tails_.emplace(shape.dim, records_.stride() - code_bytes_ - links_bytes(shape));
    }
}

Graph::Growth Graph::grown(std::size_t slots, std::size_t blocks) const {
    return {records_.grown(slots), upper_.grown(blocks_ + blocks),
            tails_ ? tails_->rows().grown(slots) : Store::Growth()};
}

void Graph::commit(Growth& growth) noexcept {
    records_.commit(growth.records);
    upper_.commit(growth.upper);
    if (tails_) {
        tails_->rows().commit(growth.tails);
    }
}

void Graph::encode(Slot slot, const float* vector) {
    Head& to = head(slot);
    to = Head{};
    if (!shape_.codes) {
        return;
    }
    auto* code = reinterpret_cast<std::int8_t*>(records_.at(slot));
    std::fill(code + shape_.dim, code + code_bytes_, std::int8_t{0});
    const Coded coded = quantise(vector, shape_.dim, code);
    if (coded.wild && shape_.metric != Metric::cosine) {
        set_wild();
    }
    to.sum = coded.sum;
    to.scale = coded.scale;
    if (shape_.metric == Metric::cosine) {
        // The direction only: the coded vector has unit length.
        to.scale = coded.unit_scale();
    }
    to.bias = shape_.metric == Metric::l2 ? coded.scale * coded.scale * static_cast<float>(coded.squares) : 0.0f;
    if (tails_) {
        tails_->split(slot, code, vector, coded.most, note(slot));
    }
}

void Graph::decode(Slot slot, float* out) const noexcept {
    const std::int8_t* from = code(slot);
    if (tails_) {
        tails_->restore(slot, from, note(slot), out);
        return;
    }
    float scale = head(slot).scale;
    if (shape_.metric == Metric::cosine && rows_.scale(slot) > 0.0f) {
        scale /= rows_.scale(slot);
    }
    for (std::size_t i = 0; i < shape_.dim; ++i) {
        out[i] = static_cast<float>(from[i]) * scale;
    }
}

float Graph::coded_scale(Slot slot, const float* vector) const noexcept {
    float most = 0.0f;
    for (std::size_t i = 0; i < shape_.dim; ++i) {
        most = std::max(most, std::fabs(vector[i]));
    }
    const float scale = head(slot).scale / (most / 127.0f);
    return scale > 1e-18f && scale < 1e18f ? scale : 0.0f;
}

void Graph::erase(Slot slot) noexcept {
    std::memset(records_.at(slot), 0, records_.stride());
    if (tails_) {
        tails_->erase(slot);
    }
}

// As often as a number drawn from (seed, key) is below 1/m, 1/m^2, and so on: exact on every machine.
std::size_t Graph::level_of(std::int64_t key) const noexcept {
    std::uint64_t x = shape_.seed * 0x9E3779B97F4A7C15ull + static_cast<std::uint64_t>(key) + 0x632BE59BD9B4E019ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    x ^= x >> 31;
    const double drawn = static_cast<double>(x >> 11) * 0x1p-53;
    double line = 1.0 / static_cast<double>(shape_.m);
    std::size_t level = 0;
    while (level < most_levels && drawn < line) {
        line /= static_cast<double>(shape_.m);
        ++level;
    }
    return level;
}

Entry Graph::entry() const noexcept {
    const std::uint64_t both = entry_.load(std::memory_order_acquire);
    return {static_cast<Slot>(both), static_cast<std::uint32_t>(both >> 32)};
}

void Graph::set_entry(Entry entry) noexcept {
    entry_.store(static_cast<std::uint64_t>(entry.level) << 32 | entry.slot, std::memory_order_release);
}

// The list of layer 0 is counted in its head, every other one in its block. None where a damaged file leads nowhere.
Slot* Graph::list(Slot slot, std::size_t level) const noexcept {
    if (level == 0) {
        return reinterpret_cast<Slot*>(records_.at(slot) + code_bytes_ + sizeof(Head));
    }
    const Head& from = head(slot);
    const std::size_t block = std::size_t{from.upper} + level - 1;
    if (from.upper == 0 || level > from.level || block >= upper_.capacity()) {
        return nullptr;
    }
    return reinterpret_cast<Slot*>(upper_.at(block));
}

std::span<const Slot> Graph::links(Slot slot, std::size_t level, std::array<Slot, most_links>& out) const noexcept {
    const std::size_t slots = limit();
    std::size_t kept = 0;
    each_link(slot, level, [&](Slot to) {
        out[kept] = to;
        kept += to < slots ? 1 : 0;
    });
    return {out.data(), kept};
}

void Graph::set_links(Slot slot, std::size_t level, std::span<const Slot> to) noexcept {
    Slot* into = list(slot, level);
    if (into == nullptr) {
        return;
    }
    Slot* const first = level == 0 ? into : into + 1;
    for (std::size_t i = 0; i < to.size(); ++i) {
        store(first[i], to[i]);
    }
    if (level == 0) {
        std::atomic_ref<std::uint16_t>(head(slot).count)
            .store(static_cast<std::uint16_t>(to.size()), std::memory_order_release);
    } else {
        store(*into, static_cast<Slot>(to.size()));
    }
}

void Graph::take_blocks(Slot slot, std::size_t level) noexcept {
    Head& to = head(slot);
    to.level = static_cast<std::uint8_t>(level);
    to.upper = 0;
    if (level == 0) {
        return;
    }
    auto& free = free_blocks_[level];
    if (!free.empty()) {
        to.upper = free.back();
        free.pop_back();
    } else {
        to.upper = static_cast<std::uint32_t>(blocks_);
        blocks_ += level;
    }
    for (std::size_t l = 1; l <= level; ++l) {
        set_links(slot, l, {});
    }
}

std::size_t Graph::blocks_needed(std::span<const Slot> fresh) const noexcept {
    std::size_t blocks = 0;
    for (const Slot slot : fresh) {
        blocks += level_of(rows_.key(slot));
    }
    return blocks;
}

void Graph::set_dead(Slot slot) noexcept {
    head(slot).dead = 1;
}

// The blocks of its levels go with it; what else the slot held is overwritten by the next element or on saving.
void Graph::forget(Slot slot) noexcept {
    Head& gone = head(slot);
    if (gone.upper != 0 && gone.level <= most_levels) {
        free_blocks_[gone.level].push_back(gone.upper);
    }
    erase(slot);
}

void Graph::unlink() noexcept {
    set_entry({});
    linked = false;
    blocks_ = 1;
    for (auto& free : free_blocks_) {
        free.clear();
    }
}

// The highest of the living, the first of them in slot order.
void Graph::move_entry(std::size_t slots) noexcept {
    Entry best;
    for (std::size_t i = 0; i < slots; ++i) {
        const auto slot = static_cast<Slot>(i);
        if (rows_.is_live(slot) && (best.slot == no_slot || head(slot).level > best.level)) {
            best = {slot, head(slot).level};
        }
    }
    set_entry(best);
}

}  // namespace spell::hnsw
