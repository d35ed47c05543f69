// Attributes of the elements, column by column. Strings are kept once and named by number. Read and written under the
// lock of the index.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "exact/rows.hpp"

namespace spell::hnsw {

using exact::Slot;
using Texts = std::vector<std::string>;
using Value = std::variant<std::monostate, bool, std::int64_t, double, std::string, Texts>;
using Attrs = std::vector<std::pair<std::string, Value>>;

enum class Kind : std::uint8_t { missing, boolean, integer, real, text, list };

struct Cell {
    Kind kind = Kind::missing;
    std::uint32_t extra = 0;  // length of a list
    std::int64_t bits = 0;    // the value, the number of the string, or where the list begins
};

class Columns {
 public:
    static constexpr std::size_t chunk = 4096;
    static constexpr std::size_t most_columns = 64, longest_name = 128, longest_text = 4096, longest_list = 65535;

    static Status check(std::span<const Attrs> rows) noexcept;
    // Whether these rows can be stored without more columns than allowed.
    Status fits(std::span<const Attrs> rows) const;

    // merge: columns not named stay as they are.
    void set(Slot slot, const Attrs& attrs, bool merge);
    Attrs get(Slot slot) const;
    // No byte of it stays reachable; its strings go at the next tidy.
    void erase(Slot slot) noexcept;
    // Forgets strings no element uses. slots: how many there are.
    void tidy(std::size_t slots);

    int find(std::string_view name) const noexcept;
    Cell cell(int column, Slot slot) const noexcept;
    // The cells of the chunk that begins with this slot, or null when all are missing.
    const Cell* cells(int column, std::size_t first) const noexcept;
    std::string_view text(std::size_t number) const noexcept { return *texts_[number]; }
    std::string_view item(const Cell& list, std::size_t i) const noexcept {
        return text(lists_[static_cast<std::size_t>(list.bits) + i]);
    }
    std::int64_t number_of(const std::string& text) const noexcept;
    std::size_t count() const noexcept { return columns_.size(); }
    const std::string& name(std::size_t column) const noexcept { return columns_[column].name; }
    // At least what the attributes of an element take in a file.
    std::size_t bytes_of(Slot slot) const;
    std::size_t bytes() const noexcept;

 private:
    struct Column {
        std::string name;
        std::vector<std::unique_ptr<Cell[]>> chunks;
    };
    Cell& place(Column& column, Slot slot);
    std::uint32_t intern(const std::string& text);
    Cell coded(const Value& value);

    std::vector<Column> columns_;
    std::unordered_map<std::string, std::uint32_t> numbers_;
    std::vector<const std::string*> texts_;  // keys of numbers_
    std::vector<std::uint32_t> lists_;
};

}  // namespace spell::hnsw
