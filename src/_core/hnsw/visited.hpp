// What one walk needs, kept between walks: the marks of seen slots, the pool of candidates and their distances.
#pragma once

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
        for (const Slot slot : seen_) {
            bits_[slot / 64] = 0;
        }
        seen_.clear();
        if (bits_.size() * 64 < slots) {
            bits_.resize((slots + 63) / 64);
        }
        slots_ = slots;
    }
    // True the first time. A slot beyond the index, which a damaged file may name, never is.
    bool first(Slot slot) {
        if (slot >= slots_) {
            return false;
        }
        std::uint64_t& word = bits_[slot / 64];
        const std::uint64_t bit = 1ull << (slot % 64);
        if ((word & bit) != 0) {
            return false;
        }
        word |= bit;
        seen_.push_back(slot);
        return true;
    }
    std::size_t count() const noexcept { return seen_.size(); }

 private:
    std::vector<std::uint64_t> bits_;
    std::vector<Slot> seen_;
    std::size_t slots_ = 0;
};

struct Near {
    float distance;
    Slot slot : 31;
    Slot expanded : 1 = 0;

    bool operator<(const Near& other) const noexcept {
        return distance != other.distance ? distance < other.distance : slot < other.slot;
    }
};

struct Scratch {
    Visited visited;
    std::vector<Near> pool;   // ascending
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
