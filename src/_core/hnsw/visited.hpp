// What one walk needs, kept between walks: the marks of seen slots, the pool of candidates and their distances.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace spell::hnsw {

using Slot = std::uint32_t;

// One bit per slot, taken back by the list of what was set: cheaper than counters, which leave the nearest cache.
class Visited {
 public:
    void reset(std::size_t slots) {
        for (std::size_t i = 0; i < count_; ++i) {
            bits_[seen_[i] / 64] = 0;
        }
        count_ = 0;
        if (bits_.size() * 64 < slots) {
            bits_.resize((slots + 63) / 64);
        }
        slots_ = slots;
    }
    // Before up to `more` calls of first().
    void expect(std::size_t more) {
        if (seen_.size() < count_ + more) {
            seen_.resize(2 * (count_ + more));
        }
    }
    // True the first time. A slot beyond the index, which a damaged file may name, never is.
    bool first(Slot slot) noexcept {
        if (slot >= slots_) {
            return false;
        }
        std::uint64_t& word = bits_[slot / 64];
        const std::uint64_t before = word;
        word |= 1ull << (slot % 64);
        seen_[count_] = slot;
        count_ += word != before ? 1 : 0;
        return word != before;
    }
    std::size_t count() const noexcept { return count_; }

 private:
    std::vector<std::uint64_t> bits_;
    std::vector<Slot> seen_;
    std::size_t count_ = 0, slots_ = 0;
};

// A slot with its distance, as one number: the order of such numbers is that of the distances, then of the slots.
class Near {
 public:
    Near() = default;
    Near(float distance, Slot slot) noexcept {
        const auto bits = std::bit_cast<std::uint32_t>(distance);
        const std::uint32_t ordered = bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFu : 0x80000000u);
        key_ = std::uint64_t{ordered} << 32 | std::uint64_t{slot} << 1;
    }
    float distance() const noexcept {
        const auto ordered = static_cast<std::uint32_t>(key_ >> 32);
        return std::bit_cast<float>(ordered ^ ((ordered >> 31) != 0 ? 0x80000000u : 0xFFFFFFFFu));
    }
    Slot slot() const noexcept { return static_cast<Slot>(key_) >> 1; }
    bool expanded() const noexcept { return (key_ & 1) != 0; }
    void expand() noexcept { key_ |= 1; }
    bool operator<(const Near& other) const noexcept { return key_ < other.key_; }

 private:
    std::uint64_t key_ = 0;
};

struct Scratch {
    Visited visited;
    std::vector<Near> pool;   // ascending, or a heap in a walk with a filter
    std::vector<Near> queue;  // heap of what is still to be expanded, in a walk with a filter
};

// Lends scratch to as many callers at once as there are.
class Scratches {
 public:
    class Loan {
     public:
        Loan(Scratches& from, std::unique_ptr<Scratch> lent) : from_(from), lent_(std::move(lent)) {}
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;
        ~Loan() {
            const std::lock_guard guard(from_.lock_);
            if (from_.idle_.size() < from_.idle_.capacity()) {
                from_.idle_.push_back(std::move(lent_));
            }
        }
        Scratch& operator*() const noexcept { return *lent_; }

     private:
        Scratches& from_;
        std::unique_ptr<Scratch> lent_;
    };

    Loan lend() {
        {
            const std::lock_guard guard(lock_);
            if (!idle_.empty()) {
                auto lent = std::move(idle_.back());
                idle_.pop_back();
                return Loan(*this, std::move(lent));
            }
            idle_.reserve(16);
        }
        return Loan(*this, std::make_unique<Scratch>());
    }

 private:
    std::mutex lock_;
    std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace spell::hnsw
