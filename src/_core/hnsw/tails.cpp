#include "hnsw/tails.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "distance/table.hpp"

namespace spell::hnsw {
namespace {

constexpr unsigned tail_shift = 13;
// Of the distance between two codes: what c * base stands for is then within a factor of two for c = 1 too, whose
// numbers reach from half a step to one and a half.
constexpr float share = 0.9375f / 127.0f;

}  // namespace

Tails::Tails(std::size_t dim, std::size_t note)
    : dim_(dim), room_((note - head) / rest), rows_((3 * dim + 63) / 64 * 64, tail_shift) {}

void Tails::split(Slot slot, const std::int8_t* code, const float* vector, float most, unsigned char* note) {
    unsigned char* const row = rows_.at(slot);
    auto* const low = reinterpret_cast<std::uint16_t*>(row);
    unsigned char* const high = row + 2 * dim_;
    Rests rests;
    for (std::size_t i = 0; i < dim_; ++i) {
        const auto bits = std::bit_cast<std::uint32_t>(vector[i]);
        if (code[i] == 0 && (bits & 0xFF) != 0) {
            rests.push_back(static_cast<std::uint32_t>(i << 8 | (bits & 0xFF)));
        }
        const std::uint32_t tail = code[i] == 0 ? bits >> 8 : bits;
        low[i] = static_cast<std::uint16_t>(tail);
        high[i] = static_cast<unsigned char>(tail >> 16);
    }
    const float base = most * share;
    const std::uint16_t count = rests.size() > room_ ? elsewhere : static_cast<std::uint16_t>(rests.size());
    std::memcpy(note, &base, sizeof(base));
    std::memcpy(note + sizeof(base), &count, sizeof(count));
    if (count == elsewhere) {
        const std::lock_guard guard(lock_);
        spilled_[slot] = std::move(rests);
        return;
    }
    for (unsigned char* to = note + head; const std::uint32_t one : rests) {
        to[0] = static_cast<unsigned char>(one >> 8);
        to[1] = static_cast<unsigned char>(one >> 16);
        to[2] = static_cast<unsigned char>(one);
        to += rest;
    }
}

// Positions are checked: a damaged file may hold any.
void Tails::restore(Slot slot, const std::int8_t* code, const unsigned char* note, float* out) const noexcept {
    const unsigned char* const row = rows_.at(slot);
    const unsigned char* const high = row + 2 * dim_;
    float base;
    std::uint16_t count;
    std::memcpy(&base, note, sizeof(base));
    std::memcpy(&count, note + sizeof(base), sizeof(count));
    distance::kernels().restore(code, reinterpret_cast<const std::uint16_t*>(row), high, base, dim_, out);
    const auto put = [&](std::size_t at, std::uint32_t byte) {
        if (at < dim_) {
            out[at] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(out[at]) | byte);
        }
    };
    if (count == elsewhere) {
        const std::lock_guard guard(lock_);
        const auto found = spilled_.find(slot);
        for (std::size_t i = 0; found != spilled_.end() && i < found->second.size(); ++i) {
            put(found->second[i] >> 8, found->second[i] & 0xFF);
        }
        return;
    }
    const unsigned char* from = note + head;
    for (std::size_t i = 0; i < std::min<std::size_t>(count, room_); ++i, from += rest) {
        put(from[0] | from[1] << 8, from[2]);
    }
}

void Tails::erase(Slot slot) noexcept {
    std::memset(rows_.at(slot), 0, rows_.stride());
    const std::lock_guard guard(lock_);
    spilled_.erase(slot);
}

bool Tails::set_spilled(Slot slot, Rests rests) {
    const bool fits = rests.size() <= dim_ &&
                      std::all_of(rests.begin(), rests.end(), [&](std::uint32_t one) { return one >> 8 < dim_; });
    const std::lock_guard guard(lock_);
    return fits && spilled_.emplace(slot, std::move(rests)).second;
}

const Tails::Rests* Tails::spilled(Slot slot) const noexcept {
    const std::lock_guard guard(lock_);
    const auto found = spilled_.find(slot);
    return found == spilled_.end() ? nullptr : &found->second;
}

std::size_t Tails::bytes() const noexcept {
    const std::lock_guard guard(lock_);
    std::size_t elsewhere_bytes = 0;
    for (const auto& [slot, rests] : spilled_) {
        elsewhere_bytes += 64 + rests.capacity() * sizeof(std::uint32_t);
    }
    return rows_.bytes() + elsewhere_bytes;
}

}  // namespace spell::hnsw
