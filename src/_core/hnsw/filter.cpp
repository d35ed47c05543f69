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
        default: break;
    }
    const Cell cell = columns_.cell(column_, slot);
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

}  // namespace spell::hnsw
