#include <pybind11/numpy.h>

#include <string>
#include <utility>

#include "bind/errors.hpp"
#include "bind/texts.hpp"
#include "text/cut.hpp"
#include "text/tokens.hpp"

namespace py = pybind11;
using namespace spell;

namespace {

text::Unit unit_of(const std::string& name) {
    if (name == "tokens") return text::Unit::tokens;
    if (name == "chars") return text::Unit::chars;
    if (name == "bytes") return text::Unit::bytes;
    bind::raise_invalid("unit", py::str(name), "tokens, chars or bytes");
}

text::At at_of(const std::string& name) {
    if (name == "sentence") return text::At::sentence;
    if (name == "word") return text::At::word;
    if (name == "grapheme") return text::At::grapheme;
    bind::raise_invalid("at", py::str(name), "sentence, word or grapheme");
}

py::array_t<std::int64_t> cut(const py::object& value, std::int64_t size, std::int64_t overlap, const std::string& unit,
                              const std::string& at) {
    const std::string_view utf8 = bind::utf8_of(value, "text");
    const text::Cut how{size, overlap, unit_of(unit), at_of(at)};
    Result<text::Ranges> result = text::Ranges{};
    {
        const py::gil_scoped_release released;
        result = text::cut(utf8, how);
    }
    const text::Ranges ranges = bind::unwrap_or_raise(std::move(result));
    py::array_t<std::int64_t> out({static_cast<py::ssize_t>(ranges.size()), py::ssize_t{2}});
    std::int64_t* data = out.mutable_data();
    for (const auto& [begin, end] : ranges) {
        *data++ = begin;
        *data++ = end;
    }
    return out;
}

std::int64_t count_tokens(const py::object& value) {
    const std::string_view utf8 = bind::utf8_of(value, "text");
    const py::gil_scoped_release released;
    return text::count_tokens(utf8);
}

}  // namespace

void bind_text(py::module_& module) {
    module.def("cut", &cut, py::arg("text"), py::kw_only(), py::arg("size"), py::arg("overlap") = 0,
               py::arg("unit") = "tokens", py::arg("at") = "sentence",
               "Return the byte ranges of windows, int64 (n, 2).");
    module.def("count_tokens", &count_tokens, py::arg("text"), "Estimate how many tokens a text costs.");
}
