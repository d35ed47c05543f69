#include "hnsw/columns.hpp"

#include <algorithm>
#include <bit>
#include <set>

namespace spell::hnsw {

Status Columns::check(std::span<const Attrs> rows) noexcept {
    const auto size = [](const std::string& text) { return static_cast<std::int64_t>(text.size()); };
    for (const Attrs& row : rows) {
        for (const auto& [name, value] : row) {
            if (name.size() > longest_name || name.empty()) {
                return Error{Errc::invalid_argument, size(name), 0, "length of an attribute name", "1 to 128 bytes"};
            }
            const auto* text = std::get_if<std::string>(&value);
            if (text != nullptr && text->size() > longest_text) {
                return Error{Errc::invalid_argument, size(*text), 0, "length of an attribute", "at most 4096 bytes"};
            }
            const auto* list = std::get_if<Texts>(&value);
            if (list != nullptr && list->size() > longest_list) {
                return Error{Errc::invalid_argument, static_cast<std::int64_t>(list->size()), 0,
                             "length of a list attribute", "at most 65535 strings"};
            }
            for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
                if ((*list)[i].size() > longest_text) {
                    return Error{Errc::invalid_argument, size((*list)[i]), 0, "length of an attribute",
                                 "at most 4096 bytes"};
                }
            }
        }
    }
    return Done{};
}

Status Columns::fits(std::span<const Attrs> rows) const {
    std::set<std::string_view> fresh;
    for (const Attrs& row : rows) {
        for (const auto& [name, value] : row) {
            if (find(name) < 0) {
                fresh.insert(name);
            }
        }
    }
    const std::size_t all = columns_.size() + fresh.size();
    if (!fresh.empty() && all > most_columns) {
        return Error{Errc::limit_exceeded, most_columns, static_cast<std::int64_t>(all), "attribute columns"};
    }
    return Done{};
}

int Columns::find(std::string_view name) const noexcept {
    const auto found =
        std::find_if(columns_.begin(), columns_.end(), [&](const Column& column) { return column.name == name; });
    return found == columns_.end() ? -1 : static_cast<int>(found - columns_.begin());
}

Cell Columns::cell(int column, Slot slot) const noexcept {
    if (column < 0) {
        return {};
    }
    const auto& chunks = columns_[static_cast<std::size_t>(column)].chunks;
    const std::size_t n = slot / chunk;
    return n < chunks.size() && chunks[n] ? chunks[n][slot % chunk] : Cell{};
}

const Cell* Columns::cells(int column, std::size_t first) const noexcept {
    const std::size_t n = first / chunk;
    if (column < 0 || columns_[static_cast<std::size_t>(column)].chunks.size() <= n) {
        return nullptr;
    }
    return columns_[static_cast<std::size_t>(column)].chunks[n].get();
}

Cell& Columns::place(Column& column, Slot slot) {
    const std::size_t n = slot / chunk;
    if (column.chunks.size() <= n) {
        column.chunks.resize(n + 1);
    }
    if (!column.chunks[n]) {
        column.chunks[n] = std::make_unique<Cell[]>(chunk);
    }
    return column.chunks[n][slot % chunk];
}

std::int64_t Columns::number_of(const std::string& text) const noexcept {
    const auto found = numbers_.find(text);
    return found == numbers_.end() ? -1 : found->second;
}

std::uint32_t Columns::intern(const std::string& text) {
    texts_.reserve(texts_.size() + 1 > texts_.capacity() ? texts_.size() * 2 + 16 : texts_.capacity());
    const auto [place, fresh] = numbers_.try_emplace(text, static_cast<std::uint32_t>(texts_.size()));
    if (fresh) {
        texts_.push_back(&place->first);
    }
    return place->second;
}

Cell Columns::coded(const Value& value) {
    if (const auto* flag = std::get_if<bool>(&value)) {
        return {Kind::boolean, 0, *flag ? 1 : 0};
    }
    if (const auto* whole = std::get_if<std::int64_t>(&value)) {
        return {Kind::integer, 0, *whole};
    }
    if (const auto* real = std::get_if<double>(&value)) {
        return {Kind::real, 0, std::bit_cast<std::int64_t>(*real)};
    }
    if (const auto* text = std::get_if<std::string>(&value)) {
        return {Kind::text, 0, intern(*text)};
    }
    if (const auto* list = std::get_if<Texts>(&value)) {
        std::vector<std::uint32_t> items;
        for (const std::string& item : *list) {
            items.push_back(intern(item));
        }
        const auto begin = static_cast<std::int64_t>(lists_.size());
        lists_.insert(lists_.end(), items.begin(), items.end());
        return {Kind::list, static_cast<std::uint32_t>(items.size()), begin};
    }
    return {};
}

void Columns::set(Slot slot, const Attrs& attrs, bool merge) {
    std::vector<std::pair<std::size_t, Cell>> cells;
    for (const auto& [name, value] : attrs) {
        int column = find(name);
        if (column < 0 && std::holds_alternative<std::monostate>(value)) {
            continue;
        }
        if (column < 0) {
            column = static_cast<int>(columns_.size());
            columns_.push_back({name, {}});
        }
        place(columns_[static_cast<std::size_t>(column)], slot);
        cells.emplace_back(static_cast<std::size_t>(column), coded(value));
    }
    if (!merge) {
        erase(slot);
    }
    for (const auto& [column, cell] : cells) {
        place(columns_[column], slot) = cell;
    }
}

Attrs Columns::get(Slot slot) const {
    Attrs out;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        const Cell found = cell(static_cast<int>(i), slot);
        Value value;
        switch (found.kind) {
            case Kind::missing: continue;
            case Kind::boolean: value = found.bits != 0; break;
            case Kind::integer: value = found.bits; break;
            case Kind::real: value = std::bit_cast<double>(found.bits); break;
            case Kind::text: value = std::string(text(static_cast<std::size_t>(found.bits))); break;
            case Kind::list: {
                Texts items;
                for (std::size_t j = 0; j < found.extra; ++j) {
                    items.emplace_back(item(found, j));
                }
                value = std::move(items);
            }
        }
        out.emplace_back(columns_[i].name, std::move(value));
    }
    return out;
}

void Columns::erase(Slot slot) noexcept {
    for (Column& column : columns_) {
        const std::size_t n = slot / chunk;
        if (n < column.chunks.size() && column.chunks[n]) {
            column.chunks[n][slot % chunk] = {};
        }
    }
}

void Columns::tidy(std::size_t slots) {
    Columns fresh;
    for (std::size_t slot = 0; slot < slots; ++slot) {
        const Attrs attrs = get(static_cast<Slot>(slot));
        if (!attrs.empty()) {
            fresh.set(static_cast<Slot>(slot), attrs, true);
        }
    }
    *this = std::move(fresh);
}

std::size_t Columns::bytes_of(Slot slot) const {
    std::size_t bytes = 8;
    for (const auto& [name, value] : get(slot)) {
        bytes += name.size() + 16;
        if (const auto* text = std::get_if<std::string>(&value)) {
            bytes += text->size();
        } else if (const auto* list = std::get_if<Texts>(&value)) {
            for (const std::string& item : *list) {
                bytes += item.size() + 4;
            }
        }
    }
    return bytes;
}

std::size_t Columns::bytes() const noexcept {
    std::size_t bytes = lists_.capacity() * sizeof(std::uint32_t) + texts_.capacity() * sizeof(void*);
    for (const Column& column : columns_) {
        for (const auto& held : column.chunks) {
            bytes += held ? chunk * sizeof(Cell) : 0;
        }
    }
    for (const std::string* text : texts_) {
        bytes += sizeof(std::string) + text->capacity() + 16;
    }
    return bytes;
}

}  // namespace spell::hnsw
