#include <pybind11/numpy.h>

#include <utility>

#include "bind/errors.hpp"
#include "bind/texts.hpp"
#include "embed/hash_embedder.hpp"

namespace py = pybind11;
using spell::EmbedOptions;
using spell::HashEmbedder;

namespace {

HashEmbedder make(std::int64_t dim, std::int64_t seed, std::pair<std::int64_t, std::int64_t> char_ngrams,
                  std::int64_t word_ngrams, bool lowercase) {
    EmbedOptions options{dim, seed, char_ngrams.first, char_ngrams.second, word_ngrams, lowercase};
    return spell::bind::unwrap_or_raise(HashEmbedder::make(options));
}

py::array_t<float> embed(const HashEmbedder& self, const py::object& texts, std::int64_t threads) {
    const spell::bind::Texts borrowed(texts, "texts");
    py::array_t<float> out(
        {static_cast<py::ssize_t>(borrowed.views.size()), static_cast<py::ssize_t>(self.options().dim)});
    float* const data = out.mutable_data();
    spell::Status status = spell::Done{};
    {
        py::gil_scoped_release released;
        status = self.embed(borrowed.views, data, threads);
    }
    spell::bind::check(std::move(status));
    return out;
}

}  // namespace

void bind_embed(py::module_& module) {
    py::class_<HashEmbedder>(module, "HashEmbedder", "Embed texts by the words and spellings they share; no weights.")
        .def(py::init(&make), py::arg("dim") = 384, py::kw_only(), py::arg("seed") = 0,
             py::arg("char_ngrams") = std::pair<int, int>(3, 5), py::arg("word_ngrams") = 2,
             py::arg("lowercase") = true)
        .def("embed", &embed, py::arg("texts"), py::kw_only(), py::arg("threads") = 1,
             "Return float32 of shape (n, dim), each row of unit length; the GIL is released.")
        .def_property_readonly("dim", [](const HashEmbedder& self) { return self.options().dim; })
        .def_property_readonly("id", &HashEmbedder::id);
}
