#include "bind/attrs.hpp"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "bind/errors.hpp"

namespace py = pybind11;

namespace spell::bind {
namespace {

using hnsw::Attrs;
using hnsw::Filter;
using hnsw::Op;
using hnsw::Texts;
using hnsw::Value;

struct PyFilter {
    std::shared_ptr<const Filter> filter;
};

std::string text_of(const py::handle& value) {
    py::ssize_t size = 0;
    const char* bytes = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
    if (bytes == nullptr) {
        PyErr_Clear();
        raise(Error{Errc::invalid_text, 0, 0, "text"});
    }
    return {bytes, static_cast<std::size_t>(size)};
}

Value value_of(const py::handle& value, const char* name) {
    if (value.is_none()) {
        return {};
    }
    if (PyBool_Check(value.ptr())) {
        return value.ptr() == Py_True;
    }
    if (PyLong_Check(value.ptr())) {
        int beyond = 0;
        const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &beyond);
        if (beyond != 0) {
            raise_invalid(name, py::reinterpret_borrow<py::object>(value), "an integer of 64 bits");
        }
        return static_cast<std::int64_t>(number);
    }
    if (PyFloat_Check(value.ptr())) {
        return PyFloat_AsDouble(value.ptr());
    }
    if (PyUnicode_Check(value.ptr())) {
        return text_of(value);
    }
    if (PyList_Check(value.ptr()) || PyTuple_Check(value.ptr())) {
        Texts items;
        for (const py::handle item : py::reinterpret_borrow<py::sequence>(value)) {
            if (!PyUnicode_Check(item.ptr())) {
                raise_invalid(name, py::reinterpret_borrow<py::object>(value), "a list of strings");
            }
            items.push_back(text_of(item));
        }
        return items;
    }
    raise_invalid(name, py::reinterpret_borrow<py::object>(value), "a bool, int, float, str, list of str or None");
}

py::dict mapping_of(const py::handle& value, const char* name) {
    if (!PyMapping_Check(value.ptr()) || !py::hasattr(value, "items")) {
        raise_invalid(name, py::reinterpret_borrow<py::object>(value), "a mapping");
    }
    return py::dict(py::reinterpret_borrow<py::object>(value));
}

constexpr std::array<std::pair<const char*, Op>, 14> words{{
    {"and", Op::all},
    {"or", Op::any},
    {"not", Op::none},
    {"eq", Op::eq},
    {"ne", Op::ne},
    {"in", Op::in},
    {"nin", Op::nin},
    {"gt", Op::gt},
    {"gte", Op::gte},
    {"lt", Op::lt},
    {"lte", Op::lte},
    {"exists", Op::exists},
    {"contains", Op::contains},
    {"prefix", Op::prefix},
}};

std::optional<Op> word_of(const std::string& name) {
    const std::string plain = name.starts_with("$") ? name.substr(1) : name;
    for (const auto& [word, op] : words) {
        if (plain == word) {
            return op;
        }
    }
    return std::nullopt;
}

bool is_connective(Op op) {
    return op == Op::all || op == Op::any || op == Op::none;
}

class Reader {
 public:
    Filter read(const py::handle& condition, std::size_t depth) {
        if (depth > Filter::deepest) {
            raise(Error{Errc::invalid_argument, static_cast<std::int64_t>(depth), 0, "depth of the filter",
                        "at most 16"});
        }
        Filter out;
        for (const auto& [key, value] : mapping_of(condition, "filter")) {
            if (!PyUnicode_Check(key.ptr())) {
                raise_invalid("filter field", py::reinterpret_borrow<py::object>(key), "a string");
            }
            const std::string name = text_of(key);
            const auto word = word_of(name);
            if (word && is_connective(*word)) {
                out.parts.push_back(connect(*word, value, depth));
            } else if (name.starts_with("$")) {
                unknown(key);
            } else {
                terms(name, value, out.parts);
            }
        }
        return out;
    }

 private:
    static void unknown(const py::handle& name) {
        raise_invalid("filter operator", py::reinterpret_borrow<py::object>(name),
                      "$eq $ne $in $nin $gt $gte $lt $lte $exists $contains $prefix $and $or $not");
    }

    void count() {
        if (++terms_ > Filter::most_terms) {
            raise(Error{Errc::invalid_argument, static_cast<std::int64_t>(terms_), 0, "terms of the filter",
                        "at most 256"});
        }
    }

    Filter connect(Op op, const py::handle& value, std::size_t depth) {
        count();
        Filter out;
        out.op = op;
        if (op == Op::none) {
            out.parts.push_back(read(value, depth + 1));
            return out;
        }
        if (!PyList_Check(value.ptr()) && !PyTuple_Check(value.ptr())) {
            raise_invalid("$and or $or", py::reinterpret_borrow<py::object>(value), "a list of filters");
        }
        for (const py::handle part : py::reinterpret_borrow<py::sequence>(value)) {
            out.parts.push_back(read(part, depth + 1));
        }
        return out;
    }

    void terms(const std::string& field, const py::handle& value, std::vector<Filter>& out) {
        if (PyUnicode_Check(value.ptr()) || !PyMapping_Check(value.ptr()) || !py::hasattr(value, "items")) {
            const bool list = PyList_Check(value.ptr()) || PyTuple_Check(value.ptr());
            out.push_back(term(field, list ? Op::in : Op::eq, value));
            return;
        }
        for (const auto& [key, operand] : mapping_of(value, "filter")) {
            const auto word = PyUnicode_Check(key.ptr()) ? word_of(text_of(key)) : std::nullopt;
            if (!word || is_connective(*word)) {
                unknown(key);
            }
            out.push_back(term(field, *word, operand));
        }
    }

    Filter term(const std::string& field, Op op, const py::handle& value) {
        count();
        Filter out;
        out.op = op;
        out.field = field;
        if (op == Op::in || op == Op::nin) {
            if (!PyList_Check(value.ptr()) && !PyTuple_Check(value.ptr())) {
                raise_invalid("$in or $nin", py::reinterpret_borrow<py::object>(value), "a list");
            }
            for (const py::handle item : py::reinterpret_borrow<py::sequence>(value)) {
                out.values.push_back(value_of(item, "filter value"));
            }
            return out;
        }
        out.values.push_back(value_of(value, "filter value"));
        if (op == Op::exists && !std::holds_alternative<bool>(out.values.front())) {
            raise_invalid("$exists", py::reinterpret_borrow<py::object>(value), "true or false");
        }
        if ((op == Op::contains || op == Op::prefix) && !std::holds_alternative<std::string>(out.values.front())) {
            raise_invalid("$contains or $prefix", py::reinterpret_borrow<py::object>(value), "a string");
        }
        return out;
    }

    std::size_t terms_ = 0;
};

}  // namespace

std::vector<Attrs> attrs_of(const py::object& rows) {
    if (!PySequence_Check(rows.ptr()) || PyUnicode_Check(rows.ptr()) || PyDict_Check(rows.ptr())) {
        throw py::type_error("attrs must be a sequence of mappings or None");
    }
    std::vector<Attrs> out;
    for (const py::handle row : py::reinterpret_borrow<py::sequence>(rows)) {
        Attrs attrs;
        if (!row.is_none()) {
            for (const auto& [key, value] : mapping_of(row, "attrs")) {
                if (!PyUnicode_Check(key.ptr())) {
                    raise_invalid("attribute name", py::reinterpret_borrow<py::object>(key), "a string");
                }
                attrs.emplace_back(text_of(key), value_of(value, "attribute"));
            }
        }
        out.push_back(std::move(attrs));
    }
    return out;
}

py::dict to_dict(const Attrs& attrs) {
    py::dict out;
    for (const auto& [name, value] : attrs) {
        py::object item = py::none();
        if (const auto* flag = std::get_if<bool>(&value)) {
            item = py::bool_(*flag);
        } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
            item = py::int_(*whole);
        } else if (const auto* real = std::get_if<double>(&value)) {
            item = py::float_(*real);
        } else if (const auto* text = std::get_if<std::string>(&value)) {
            item = py::str(*text);
        } else if (const auto* list = std::get_if<Texts>(&value)) {
            py::list items;
            for (const std::string& text : *list) {
                items.append(py::str(text));
            }
            item = items;
        }
        out[py::str(name)] = item;
    }
    return out;
}

std::shared_ptr<const Filter> filter_of(const py::object& condition) {
    if (py::isinstance<PyFilter>(condition)) {
        return condition.cast<const PyFilter&>().filter;
    }
    return std::make_shared<const Filter>(Reader().read(condition, 1));
}

void bind_filter(py::module_& module) {
    py::class_<PyFilter>(module, "Filter", "A condition on attributes, read once.")
        .def(py::init([](const py::object& expr) { return PyFilter{filter_of(expr)}; }), py::arg("expr"));
}

}  // namespace spell::bind
