#include <pthread.h>
#include <pybind11/stl.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "bind/arrays.hpp"
#include "exact/index.hpp"

namespace py = pybind11;
using namespace spell;
using exact::Found;
using exact::Index;

namespace {

// A lock that was held at the time of a fork stays locked in the child for ever, hence indexes do not survive one.
std::atomic<unsigned> forks{0};

class VectorIndex {
 public:
    VectorIndex(std::int64_t dim, const std::string& metric, std::int64_t max_elements, std::string name)
        : born_(forks.load()), name_(std::move(name)) {
        if (dim < 1 || dim > 65535) {
            bind::raise(Error{Errc::invalid_argument, dim, 0, "dim", "1 to 65535"});
        }
        if (max_elements < 1 || max_elements > 1'000'000'000) {
            bind::raise(Error{Errc::invalid_argument, max_elements, 0, "max_elements", "1 to 1000000000"});
        }
        const auto known = exact::metric_of(metric);
        if (!known) {
            bind::raise_invalid("metric", py::str(metric), "cosine, l2, ip or l1");
        }
        index_ = std::make_unique<Index>(static_cast<std::size_t>(dim), *known, static_cast<std::size_t>(max_elements));
    }

    Index& use() const {
        if (forks.load(std::memory_order_relaxed) != born_) {
            bind::raise(Error{Errc::closed, 0, 0, "index of the parent process"});
        }
        return *index_;
    }
    const Index& info() const { return *index_; }
    const std::string& name() const { return name_; }

 private:
    unsigned born_;
    std::string name_;
    std::unique_ptr<Index> index_;
};

// Never destroyed: the interpreter may be gone before static objects are.
py::object& hits_class() {
    static auto* cls = new py::object();
    return *cls;
}

py::object to_hits(const Found& found, exact::Metric metric) {
    const auto n = static_cast<py::ssize_t>(found.hits.size());
    py::array_t<std::int64_t> keys(n);
    py::array_t<float> distances(n), scores(n);
    for (py::ssize_t i = 0; i < n; ++i) {
        const exact::Hit& hit = found.hits[static_cast<std::size_t>(i)];
        keys.mutable_data()[i] = hit.key;
        distances.mutable_data()[i] = hit.distance;
        scores.mutable_data()[i] = exact::score_of(metric, hit.distance);
    }
    return hits_class()(keys, distances, scores, found.exhausted, found.visited);
}

// Runs `work` without the GIL and raises its error with it.
template <class Work>
auto released(Work&& work) {
    auto result = [&] {
        const py::gil_scoped_release free;
        return work();
    }();
    return bind::unwrap_or_raise(std::move(result));
}

struct Wish {
    std::vector<std::int64_t> allow;
    exact::Search search;

    Wish(std::int64_t k, const py::object& allowed, std::optional<double> threshold) {
        search.k = k;
        if (threshold) {
            search.threshold = static_cast<float>(*threshold);
        }
        if (!allowed.is_none()) {
            allow = bind::keys_of(allowed, "allow");
            search.allow = allow;
        }
    }
    Wish(const Wish&) = delete;
};

std::int64_t add_rows(const VectorIndex& self, const py::object& keys, const py::object& vectors, bool replace) {
    Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    const bind::Matrix rows(vectors, "vectors", index.dim());
    if (rows.rows != numbers.size()) {
        bind::raise(Error{Errc::invalid_argument, static_cast<std::int64_t>(rows.rows), 0, "number of vectors",
                          "one for each key"});
    }
    return released([&] { return index.add(numbers, rows.data, replace); });
}

std::int64_t remove_keys(const VectorIndex& self, const py::object& keys) {
    Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    return released([&] { return index.remove(numbers); });
}

py::object search(const VectorIndex& self, const py::object& query, std::int64_t k, const py::object& allow,
                  std::optional<double> threshold) {
    const Index& index = self.use();
    const bind::Matrix rows(query, "query", index.dim());
    if (rows.rows != 1) {
        bind::raise(Error{Errc::invalid_argument, static_cast<std::int64_t>(rows.rows), 0, "number of queries", "1"});
    }
    const Wish wish(k, allow, threshold);
    return to_hits(released([&] { return index.search(rows.data, wish.search); }), index.metric());
}

py::list search_many(const VectorIndex& self, const py::object& queries, std::int64_t k, const py::object& allow,
                     std::optional<double> threshold, std::int64_t threads) {
    const Index& index = self.use();
    const bind::Matrix rows(queries, "queries", index.dim());
    const Wish wish(k, allow, threshold);
    const auto found = released([&] { return index.search_many(rows.data, rows.rows, wish.search, threads); });
    py::list out;
    for (const Found& one : found) {
        out.append(to_hits(one, index.metric()));
    }
    return out;
}

py::array_t<float> get(const VectorIndex& self, const py::object& keys) {
    const Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    py::array_t<float> out({static_cast<py::ssize_t>(numbers.size()), static_cast<py::ssize_t>(index.dim())});
    float* const data = out.mutable_data();
    released([&] { return index.get(numbers, data); });
    return out;
}

py::array_t<bool> contains(const VectorIndex& self, const py::object& keys) {
    const Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    py::array_t<bool> out(static_cast<py::ssize_t>(numbers.size()));
    bool* const data = out.mutable_data();
    released([&] { return index.contains(numbers, data); });
    return out;
}

py::array_t<std::int64_t> keys(const VectorIndex& self) {
    const Index& index = self.use();
    const auto found = released([&] { return index.keys(); });
    return py::array_t<std::int64_t>(static_cast<py::ssize_t>(found.size()), found.data());
}

py::dict stats(const VectorIndex& self) {
    const Index& index = self.use();
    const exact::Stats now = released([&] { return index.stats(); });
    py::dict out;
    out["count"] = now.count;
    out["removed"] = now.removed;
    out["mode"] = "exact";
    out["dim"] = index.dim();
    out["metric"] = exact::name_of(index.metric());
    out["memory_bytes"] = now.bytes;
    out["searches"] = now.searches;
    out["exact_scans"] = now.searches;
    out["generation"] = now.generation;
    return out;
}

}  // namespace

void bind_vectors(py::module_& module) {
    pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
    const auto fields = py::make_tuple("keys", "distances", "scores", "exhausted", "visited");
    hits_class() =
        py::module_::import("collections").attr("namedtuple")("Hits", fields, py::arg("module") = "llmspell._core");
    module.attr("Hits") = hits_class();
    py::class_<VectorIndex>(module, "VectorIndex", "One namespace of vectors, searched exactly.")
        .def(py::init<std::int64_t, const std::string&, std::int64_t, std::string>(), py::arg("dim"),
             py::arg("metric") = "cosine", py::kw_only(), py::arg("max_elements") = 1'000'000'000, py::arg("name") = "")
        .def("add", &add_rows, py::arg("keys"), py::arg("vectors"), py::kw_only(), py::arg("replace") = true)
        .def("remove", &remove_keys, py::arg("keys"))
        .def("clear",
             [](const VectorIndex& self) {
                 Index& index = self.use();
                 released([&] { return index.clear(); });
             })
        .def("search", &search, py::arg("query"), py::arg("k") = 10, py::kw_only(), py::arg("allow") = py::none(),
             py::arg("threshold") = py::none())
        .def("search_many", &search_many, py::arg("queries"), py::arg("k") = 10, py::kw_only(),
             py::arg("allow") = py::none(), py::arg("threshold") = py::none(), py::arg("threads") = 1)
        .def("get", &get, py::arg("keys"))
        .def("contains", &contains, py::arg("keys"))
        .def("keys", &keys)
        .def("stats", &stats)
        .def("close",
             [](const VectorIndex& self) {
                 Index& index = self.use();
                 const py::gil_scoped_release free;
                 index.close();
             })
        .def("__len__", [](const VectorIndex& self) { return self.use().size(); })
        .def_property_readonly("dim", [](const VectorIndex& self) { return self.info().dim(); })
        .def_property_readonly("metric", [](const VectorIndex& self) { return exact::name_of(self.info().metric()); })
        .def_property_readonly("mode", [](const VectorIndex&) { return "exact"; })
        .def_property_readonly("name", &VectorIndex::name);
}
