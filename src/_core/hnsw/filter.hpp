// Conditions on attributes: built once, bound to the columns for each search.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hnsw/columns.hpp"

namespace spell::hnsw {

enum class Op : std::uint8_t { all, any, none, eq, ne, in, nin, gt, gte, lt, lte, exists, contains, prefix };

struct Filter {
    static constexpr std::size_t deepest = 16, most_terms = 256;

    Op op = Op::all;
    std::string field;
    std::vector<Value> values;
    std::vector<Filter> parts;  // of all, any and none (which has one)

    // The same for equal conditions and for no others.
    std::string text() const;
};

class Bound {
 public:
    Bound(const Filter& filter, const Columns& columns);
    bool passes(Slot slot) const;
    // One bit for each slot, whether it lives or not.
    void mark(std::vector<std::uint64_t>& bits, std::size_t slots) const;

 private:
    bool cell_passes(const Cell& cell) const;
    template <class Test>
    void mark_cells(std::vector<std::uint64_t>& bits, std::size_t slots, Test&& test) const;
    bool equal(const Cell& cell, std::size_t i) const;
    int compare(const Cell& cell) const;
    bool contains(const Cell& cell) const;

    const Filter& filter_;
    const Columns& columns_;
    int column_ = -1;
    std::vector<std::int64_t> numbers_;  // of values that are strings; -1 when no element holds it
    std::vector<Bound> parts_;
};

}  // namespace spell::hnsw
