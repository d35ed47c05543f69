#include "exact/rows.hpp"

#include <algorithm>
#include <random>

namespace spell::exact {

// The vectors are left unwritten, so that the pages of a large chunk cost nothing before their rows are used.
Chunk::Chunk(std::size_t count, std::size_t dim)
    : rows(count),
      own_vectors(new float[count * dim]),
      own_keys(new std::int64_t[count]),
      own_scales(new float[count]),
      vectors(own_vectors.get()),
      keys(own_keys.get()),
      scales(own_scales.get()),
      live(new std::uint64_t[(count + 63) / 64]()) {}

Chunk::Chunk(const Saved& saved, std::size_t first, std::size_t count, std::size_t dim)
    : rows(count),
      borrowed(true),
      vectors(saved.vectors == nullptr ? nullptr : saved.vectors + first * dim),
      keys(saved.keys + first),
      scales(saved.scales + first),
      live(new std::uint64_t[(count + 63) / 64]()) {}

namespace {

// Drawn once in a process: keys come from strangers, who could choose them to fall on one place.
const std::uint64_t secret = [] {
    std::random_device random;
    return static_cast<std::uint64_t>(random()) << 32 | random();
}();

}  // namespace

std::size_t KeyMap::home(std::int64_t key) const noexcept {
    std::uint64_t hash = static_cast<std::uint64_t>(key) ^ secret;
    hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15ull;
    hash = (hash ^ (hash >> 29)) * 0xBF58476D1CE4E5B9ull;
    return static_cast<std::size_t>((((hash ^ (hash >> 32)) & 0xFFFFFFFFu) * slots_.size()) >> 32);
}

// Where the key is, or the unused place where it would go.
std::size_t KeyMap::place(const Rows& rows, std::int64_t key) const noexcept {
    std::size_t i = home(key);
    while (slots_[i] != no_slot && rows.key(slots_[i]) != key) {
        i = after(i);
    }
    return i;
}

Slot KeyMap::find(const Rows& rows, std::int64_t key) const noexcept {
    return slots_.empty() ? no_slot : slots_[place(rows, key)];
}

void KeyMap::insert(std::int64_t key, Slot slot) noexcept {
    std::size_t i = home(key);
    while (slots_[i] != no_slot) {
        i = after(i);
    }
    slots_[i] = slot;
    ++count_;
}

bool KeyMap::try_insert(const Rows& rows, std::int64_t key, Slot slot) noexcept {
    Slot& held = slots_[place(rows, key)];
    if (held != no_slot) {
        return false;
    }
    held = slot;
    ++count_;
    return true;
}

void KeyMap::assign(const Rows& rows, std::int64_t key, Slot slot) noexcept {
    slots_[place(rows, key)] = slot;
}

// Moves later rows of the run back instead of leaving a mark, so that the map never fills with marks.
void KeyMap::erase(const Rows& rows, std::int64_t key) noexcept {
    const auto steps = [&](std::size_t from, std::size_t to) {
        return to >= from ? to - from : to + slots_.size() - from;
    };
    std::size_t hole = place(rows, key);
    for (std::size_t i = after(hole); slots_[i] != no_slot; i = after(i)) {
        if (steps(home(rows.key(slots_[i])), i) >= steps(hole, i)) {
            slots_[hole] = slots_[i];
            hole = i;
        }
    }
    slots_[hole] = no_slot;
    --count_;
}

KeyMap KeyMap::grown(const Rows& rows, std::size_t more) const {
    KeyMap out;
    out.slots_.assign(std::max<std::size_t>(16, (count_ + more) * 4 / 3 + 2), no_slot);
    for (const Slot slot : slots_) {
        if (slot != no_slot) {
            out.insert(rows.key(slot), slot);
        }
    }
    return out;
}

Rows::~Rows() {
    for (auto& chunk : chunks_) {
        delete chunk.load(std::memory_order_relaxed);
    }
}

void Rows::borrow(const Saved& saved) {
    for (std::size_t n = 0, first = 0; first < saved.rows; ++n) {
        const std::size_t full = n == 0 ? first_rows : std::size_t{first_rows} << (n - 1);
        const std::size_t count = std::min(full, saved.rows - first);
        chunks_[n].store(new Chunk(saved, first, count, dim_), std::memory_order_release);
        first += count;
    }
    used_ = saved.rows;
}

void Rows::reserve(std::size_t more) {
    if (more <= free_.size()) {
        return;
    }
    const std::size_t last = number(static_cast<Slot>(used_ + (more - free_.size()) - 1));
    for (std::size_t n = 0; n <= last; ++n) {
        const std::size_t full = n == 0 ? first_rows : std::size_t{first_rows} << (n - 1);
        Chunk* const old = chunks_[n].load(std::memory_order_relaxed);
        if (old != nullptr && old->rows == full) {
            continue;
        }
        auto chunk = std::make_unique<Chunk>(full, dim_);
        if (old != nullptr) {
            // The last chunk of a file, cut short.
            std::copy_n(old->keys, old->rows, chunk->keys);
            std::copy_n(old->scales, old->rows, chunk->scales);
            std::copy_n(old->vectors, old->rows * dim_, chunk->vectors);
            std::copy_n(old->live.get(), (old->rows + 63) / 64, chunk->live.get());
            retired_.emplace_back(old);
        }
        chunks_[n].store(chunk.release(), std::memory_order_release);
    }
}

Slot Rows::take() noexcept {
    if (free_.empty()) {
        return static_cast<Slot>(used_++);
    }
    const Slot slot = free_.back();
    free_.pop_back();
    return slot;
}

Rows::Floats Rows::drop_floats() noexcept {
    Floats gone;
    gone.reserve(chunks_.size());
    dim_ = 0;
    for (auto& held : chunks_) {
        if (Chunk* const chunk = held.load(std::memory_order_relaxed); chunk != nullptr) {
            gone.push_back(std::move(chunk->own_vectors));
            chunk->vectors = nullptr;
        }
    }
    return gone;
}

void Rows::set_floats(std::size_t dim, Floats floats) noexcept {
    dim_ = dim;
    for (std::size_t n = 0; n < floats.size(); ++n) {
        Chunk* const chunk = chunks_[n].load(std::memory_order_relaxed);
        chunk->own_vectors = std::move(floats[n]);
        chunk->vectors = chunk->own_vectors.get();
    }
}

void Rows::set_live(Slot slot, bool live) noexcept {
    const std::size_t i = offset(slot);
    const std::uint64_t bit = 1ull << (i % 64);
    std::uint64_t& word = at(slot).live[i / 64];
    word = live ? word | bit : word & ~bit;
}

std::size_t Rows::bytes() const noexcept {
    return used_ * (dim_ * sizeof(float) + sizeof(std::int64_t) + sizeof(float)) + used_ / 8 +
           free_.capacity() * sizeof(Slot);
}

}  // namespace spell::exact
