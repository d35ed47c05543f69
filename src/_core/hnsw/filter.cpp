#include "hnsw/filter.hpp"

#include <algorithm>
#include <bit>

namespace spell::hnsw {
namespace {

constexpr int incomparable = 2;

template <class T>
int order(const T& a, const T& b) {
    return a < b ? -1 : b < a ? 1 : a == b ? 0 : incomparable;
}

bool numeric(const Cell& cell) {
    return cell.kind == Kind::integer || cell.kind == Kind::real;
}

double real_of(const Cell& cell) {
    return cell.kind == Kind::real ? std::bit_cast<double>(cell.bits) : static_cast<double>(cell.bits);
}

}  // namespace

Bound::Bound(const Filter& filter, const Columns& columns)
    : filter_(filter), columns_(columns), column_(columns.find(filter.field)) {
    for (const Value& value : filter.values) {
        const auto* text = std::get_if<std::string>(&value);
        numbers_.push_back(text == nullptr ? -1 : columns.number_of(*text));
    }
    for (const Filter& part : filter.parts) {
        parts_.emplace_back(part, columns);
    }
}

bool Bound::equal(const Cell& cell, std::size_t i) const {
    const Value& value = filter_.values[i];
    if (std::holds_alternative<std::monostate>(value)) {
        return cell.kind == Kind::missing;
    }
    if (const auto* flag = std::get_if<bool>(&value)) {
        return cell.kind == Kind::boolean && (cell.bits != 0) == *flag;
    }
    if (const auto* whole = std::get_if<std::int64_t>(&value)) {
        return cell.kind == Kind::integer ? cell.bits == *whole
                                          : cell.kind == Kind::real && real_of(cell) == static_cast<double>(*whole);
    }
    if (const auto* real = std::get_if<double>(&value)) {
        return numeric(cell) && real_of(cell) == *real;
    }
    if (std::holds_alternative<std::string>(value)) {
        return cell.kind == Kind::text && cell.bits == numbers_[i];
    }
    const auto& list = std::get<Texts>(value);
    if (cell.kind != Kind::list || cell.extra != list.size()) {
        return false;
    }
    for (std::size_t j = 0; j < list.size(); ++j) {
        if (columns_.item(cell, j) != list[j]) {
            return false;
        }
    }
    return true;
}

int Bound::compare(const Cell& cell) const {
    const Value& value = filter_.values.front();
    if (const auto* flag = std::get_if<bool>(&value)) {
        return cell.kind == Kind::boolean ? order<int>(cell.bits != 0, *flag) : incomparable;
    }
    if (const auto* whole = std::get_if<std::int64_t>(&value)) {
        return cell.kind == Kind::integer ? order(cell.bits, *whole)
               : cell.kind == Kind::real  ? order(real_of(cell), static_cast<double>(*whole))
                                          : incomparable;
    }
    if (const auto* real = std::get_if<double>(&value)) {
        return numeric(cell) ? order(real_of(cell), *real) : incomparable;
    }
    const auto* text = std::get_if<std::string>(&value);
    return text != nullptr && cell.kind == Kind::text
               ? order(columns_.text(static_cast<std::size_t>(cell.bits)), std::string_view(*text))
               : incomparable;
}

bool Bound::contains(const Cell& cell) const {
    const auto* text = std::get_if<std::string>(&filter_.values.front());
    if (text == nullptr) {
        return false;
    }
    if (cell.kind == Kind::text) {
        return columns_.text(static_cast<std::size_t>(cell.bits)).find(*text) != std::string_view::npos;
    }
    for (std::size_t i = 0; cell.kind == Kind::list && i < cell.extra; ++i) {
        if (columns_.item(cell, i) == *text) {
            return true;
        }
    }
    return false;
}

bool Bound::passes(Slot slot) const {
    const auto pass = [&](const Bound& part) { return part.passes(slot); };
    switch (filter_.op) {
        case Op::all: return std::all_of(parts_.begin(), parts_.end(), pass);
        case Op::any: return std::any_of(parts_.begin(), parts_.end(), pass);
        case Op::none: return !parts_.front().passes(slot);
        default: return cell_passes(columns_.cell(column_, slot));
    }
}

bool Bound::cell_passes(const Cell& cell) const {
    const auto one_of = [&] {
        for (std::size_t i = 0; i < filter_.values.size(); ++i) {
            if (equal(cell, i)) {
                return true;
            }
        }
        return false;
    };
    const bool missing = cell.kind == Kind::missing;
    if (filter_.op == Op::exists) {
        return missing != std::get<bool>(filter_.values.front());
    }
    if (filter_.op == Op::ne || filter_.op == Op::nin) {
        return missing || !one_of();
    }
    if (missing) {
        return false;
    }
    switch (filter_.op) {
        case Op::eq:
        case Op::in: return one_of();
        case Op::gt: return compare(cell) == 1;
        case Op::gte: return compare(cell) == 1 || compare(cell) == 0;
        case Op::lt: return compare(cell) == -1;
        case Op::lte: return compare(cell) == -1 || compare(cell) == 0;
        case Op::contains: return contains(cell);
        default: break;
    }
    const auto* text = std::get_if<std::string>(&filter_.values.front());
    return text != nullptr && cell.kind == Kind::text &&
           columns_.text(static_cast<std::size_t>(cell.bits)).starts_with(*text);
}

template <class Test>
void Bound::mark_cells(std::vector<std::uint64_t>& bits, std::size_t slots, Test&& test) const {
    const bool missing = test(Cell{});
    for (std::size_t first = 0; first < slots; first += Columns::chunk) {
        const Cell* const cells = columns_.cells(column_, first);
        const std::size_t end = std::min(slots, first + Columns::chunk);
        for (std::size_t i = first; i < end; i += 64) {
            std::uint64_t word = 0;
            for (std::size_t j = i; j < std::min(end, i + 64); ++j) {
                const bool passes = cells == nullptr ? missing : test(cells[j - first]);
                word |= static_cast<std::uint64_t>(passes) << (j - i);
            }
            bits[i / 64] = word;
        }
    }
}

// Conditions on one number or one string, which most are, have loops of their own.
void Bound::mark(std::vector<std::uint64_t>& bits, std::size_t slots) const {
    if (filter_.op == Op::all || filter_.op == Op::any || filter_.op == Op::none) {
        const bool any = filter_.op == Op::any;
        std::fill(bits.begin(), bits.end(), any ? 0 : ~0ull);
        std::vector<std::uint64_t> part(bits.size());
        for (const Bound& bound : parts_) {
            bound.mark(part, slots);
            std::transform(bits.begin(), bits.end(), part.begin(), bits.begin(),
                           [&](std::uint64_t a, std::uint64_t b) { return any ? a | b : a & b; });
        }
        if (filter_.op == Op::none) {
            std::transform(bits.begin(), bits.end(), bits.begin(), [](std::uint64_t word) { return ~word; });
        }
        if (slots % 64 != 0) {
            bits[slots / 64] &= (1ull << (slots % 64)) - 1;
        }
        return;
    }
    const Value& value = filter_.values.empty() ? Value() : filter_.values.front();
    const bool one = filter_.values.size() == 1;
    if (one && std::holds_alternative<std::string>(value) && (filter_.op == Op::eq || filter_.op == Op::in)) {
        const std::int64_t number = numbers_.front();
        return mark_cells(bits, slots,
                          [=](const Cell& cell) { return cell.kind == Kind::text && cell.bits == number; });
    }
    const auto* const whole = std::get_if<std::int64_t>(&value);
    const auto* const real = std::get_if<double>(&value);
    if (one && (whole != nullptr || real != nullptr) && filter_.op != Op::contains && filter_.op != Op::prefix &&
        filter_.op != Op::exists && filter_.op != Op::ne && filter_.op != Op::nin) {
        const Op op = filter_.op;
        return mark_cells(bits, slots, [&](const Cell& cell) {
            const int order = numeric(cell) ? compare(cell) : incomparable;
            switch (op) {
                case Op::gt: return order == 1;
                case Op::gte: return order == 1 || order == 0;
                case Op::lt: return order == -1;
                case Op::lte: return order == -1 || order == 0;
                default: return order == 0;
            }
        });
    }
    mark_cells(bits, slots, [&](const Cell& cell) { return cell_passes(cell); });
}

std::string Filter::text() const {
    std::string out(1, static_cast<char>('a' + static_cast<int>(op)));
    const auto put = [&](const auto& number) { out.append(reinterpret_cast<const char*>(&number), sizeof(number)); };
    const auto put_text = [&](const std::string& text) {
        put(text.size());
        out += text;
    };
    put_text(field);
    put(values.size());
    for (const Value& value : values) {
        put(static_cast<std::uint8_t>(value.index()));
        if (const auto* flag = std::get_if<bool>(&value)) {
            put(*flag);
        } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
            put(*whole);
        } else if (const auto* real = std::get_if<double>(&value)) {
            put(*real);
        } else if (const auto* text = std::get_if<std::string>(&value)) {
            put_text(*text);
        } else if (const auto* list = std::get_if<Texts>(&value)) {
            put(list->size());
            std::for_each(list->begin(), list->end(), put_text);
        }
    }
    put(parts.size());
    for (const Filter& part : parts) {
        out += part.text();
    }
    return out;
}

}  // namespace spell::hnsw
