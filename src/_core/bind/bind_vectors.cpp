#include <pthread.h>
#include <pybind11/stl.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "bind/arrays.hpp"
#include "bind/attrs.hpp"
#include "bind/whole.hpp"
#include "hnsw/index.hpp"

namespace py = pybind11;
using namespace spell;
using bind::Whole;
using hnsw::Attrs;
using hnsw::Found;
using hnsw::Index;
using hnsw::Options;

namespace {

// A lock that was held at the time of a fork stays locked in the child for ever, hence indexes do not survive one.
std::atomic<unsigned> forks{0};

class VectorIndex {
 public:
    VectorIndex(const Options& options, std::string name)
        : born_(forks.load()), name_(std::move(name)), index_(std::make_unique<Index>(options)) {}
    explicit VectorIndex(std::unique_ptr<Index> index, std::string name = {})
        : born_(forks.load()), name_(std::move(name)), index_(std::move(index)) {}

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
    std::int64_t* const key = keys.mutable_data();
    float* const distance = distances.mutable_data();
    float* const score = scores.mutable_data();
    for (std::size_t i = 0; i < found.hits.size(); ++i) {
        key[i] = found.hits[i].key;
        distance[i] = found.hits[i].distance;
        score[i] = exact::score_of(metric, found.hits[i].distance);
    }
    const auto fields = py::make_tuple(py::make_tuple(keys, distances, scores, found.exhausted, found.visited));
    // As Hits._make does, but without a Python frame: it costs as much as the arrays.
    auto* const type = reinterpret_cast<PyTypeObject*>(hits_class().ptr());
    return py::reinterpret_steal<py::object>(PyTuple_Type.tp_new(type, fields.ptr(), nullptr));
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

Options options_of(std::int64_t dim, const std::string& metric, std::int64_t m, std::int64_t ef_construction,
                   std::int64_t ef_search, const std::string& quantization, bool keep_f32, std::int64_t max_elements,
                   std::int64_t exact_below, std::uint64_t seed) {
    const auto known = exact::metric_of(metric);
    if (!known) {
        bind::raise_invalid("metric", py::str(metric), "cosine, l2, ip or l1");
    }
    const bool int8 = quantization == "i8" || quantization == "int8";
    if (!int8 && quantization != "f32") {
        bind::raise_invalid("quantization", py::str(quantization), "f32 or i8");
    }
    const auto number = [](std::int64_t value, const char* what, const char* allowed) {
        if (value < 0) {
            bind::raise(Error{Errc::invalid_argument, value, 0, what, allowed});
        }
        return static_cast<std::size_t>(value);
    };
    Options options{};
    options.dim = number(dim, "dim", "1 to 65535");
    options.metric = *known;
    options.max_elements = number(max_elements, "max_elements", "1 to 1000000000");
    options.m = number(m, "m", "2 to 128");
    options.ef_construction = number(ef_construction, "ef_construction", "m to 10000");
    options.ef_search = number(ef_search, "ef_search", "1 to 100000");
    options.int8 = int8;
    options.keep_f32 = keep_f32;
    options.exact_below = number(exact_below, "exact_below", "0 to 1000000000");
    options.seed = seed;
    bind::check(options.check());
    return options;
}

std::unique_ptr<VectorIndex> make(Whole dim, const std::string& metric, Whole m, Whole ef_construction, Whole ef_search,
                                  const std::string& quantization, bool keep_f32, Whole max_elements, Whole exact_below,
                                  std::uint64_t seed, std::string name) {
    return std::make_unique<VectorIndex>(
        options_of(dim, metric, m, ef_construction, ef_search, quantization, keep_f32, max_elements, exact_below, seed),
        std::move(name));
}

std::string path_of(const py::object& path) {
    return py::module_::import("os").attr("fsdecode")(path).cast<std::string>();
}

std::int64_t save(const VectorIndex& self, const py::object& path, bool sync, const py::bytes& tag) {
    Index& index = self.use();
    const std::string where = path_of(path), mark = tag;
    auto result = [&] {
        const py::gil_scoped_release free;
        return index.save(where, sync, mark);
    }();
    if (!result) {
        bind::raise_of_file(result.error(), where);
    }
    return result.value();
}

std::unique_ptr<VectorIndex> open(const py::object& path, bool mmap, bool writable, const std::string& verify) {
    const bool full = verify == "full";
    if (!full && verify != "graph" && verify != "header") {
        bind::raise_invalid("verify", py::str(verify), "header, graph or full");
    }
    const hnsw::Verify depth = full                ? hnsw::Verify::full
                               : verify == "graph" ? hnsw::Verify::graph
                                                   : hnsw::Verify::header;
    const std::string where = path_of(path);
    auto result = [&] {
        const py::gil_scoped_release free;
        return Index::open(where, mmap, writable, depth);
    }();
    if (!result) {
        bind::raise_of_file(result.error(), where);
    }
    return std::make_unique<VectorIndex>(std::move(result.value()));
}

std::unique_ptr<VectorIndex> import_hnswlib(const py::object& path, Whole dim, const std::string& metric,
                                            Whole ef_search, const std::string& quantization, bool keep_f32,
                                            Whole max_elements, Whole exact_below, std::uint64_t seed,
                                            std::string name) {
    const Options defaults{};
    const Options options = options_of(dim, metric, static_cast<std::int64_t>(defaults.m),
                                       static_cast<std::int64_t>(defaults.ef_construction), ef_search, quantization,
                                       keep_f32, max_elements, exact_below, seed);
    const std::string where = path_of(path);
    auto result = [&] {
        const py::gil_scoped_release free;
        return Index::import_hnswlib(where, options);
    }();
    if (!result) {
        bind::raise_of_file(result.error(), where);
    }
    return std::make_unique<VectorIndex>(std::move(result.value()), std::move(name));
}

struct Wish {
    std::vector<std::int64_t> allow;
    std::shared_ptr<const hnsw::Filter> filter;
    hnsw::Search search;

    Wish(Whole k, std::optional<Whole> ef, const py::object& condition, const py::object& allowed,
         std::optional<double> threshold, bool exact) {
        search.k = k;
        search.exact = exact;
        if (ef) {
            search.ef = *ef;
            if (search.ef == 0) {
                bind::raise(Error{Errc::invalid_argument, 0, 0, "ef", "1 to 100000"});
            }
        }
        if (threshold) {
            if (*threshold != *threshold) {
                bind::raise_invalid("threshold", py::float_(*threshold), "a number");
            }
            search.threshold = static_cast<float>(*threshold);
        }
        if (!allowed.is_none()) {
            allow = bind::keys_of(allowed, "allow");
            search.allow = allow;
        }
        if (!condition.is_none()) {
            filter = bind::filter_of(condition);
            search.filter = filter.get();
        }
    }
    Wish(const Wish&) = delete;
};

void one_for_each(std::size_t got, std::size_t keys, const char* what) {
    if (got != keys) {
        bind::raise(Error{Errc::invalid_argument, static_cast<std::int64_t>(got), 0, what, "one for each key"});
    }
}

std::int64_t add_rows(const VectorIndex& self, const py::object& keys, const py::object& vectors,
                      const py::object& attrs, Whole threads, bool replace) {
    Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    const bind::Matrix rows(vectors, "vectors", index.dim());
    one_for_each(rows.rows, numbers.size(), "number of vectors");
    const std::vector<Attrs> given = attrs.is_none() ? std::vector<Attrs>() : bind::attrs_of(attrs);
    if (!attrs.is_none()) {
        one_for_each(given.size(), numbers.size(), "number of attrs");
    }
    return released([&] { return index.add({numbers, rows.data, given, replace, threads}); });
}

std::int64_t set_attrs(const VectorIndex& self, const py::object& keys, const py::object& attrs, bool merge) {
    Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    const std::vector<Attrs> given = bind::attrs_of(attrs);
    one_for_each(given.size(), numbers.size(), "number of attrs");
    return released([&] { return index.set_attrs(numbers, given, merge); });
}

py::list get_attrs(const VectorIndex& self, const py::object& keys) {
    const Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    py::list out;
    for (const Attrs& one : released([&] { return index.get_attrs(numbers); })) {
        out.append(bind::to_dict(one));
    }
    return out;
}

py::dict compact(const VectorIndex& self, Whole threads) {
    Index& index = self.use();
    const hnsw::Compaction done = released([&] { return index.compact(threads); });
    py::dict out;
    out["removed"] = done.removed;
    out["relinked"] = done.relinked;
    out["bytes_freed"] = done.bytes_freed;
    return out;
}

std::int64_t remove_keys(const VectorIndex& self, const py::object& keys) {
    Index& index = self.use();
    const auto numbers = bind::keys_of(keys, "keys");
    return released([&] { return index.remove(numbers); });
}

py::object search(const VectorIndex& self, const py::object& query, Whole k, std::optional<Whole> ef,
                  const py::object& filter, const py::object& allow, std::optional<double> threshold, bool exact) {
    const Index& index = self.use();
    const bind::Matrix rows(query, "query", index.dim());
    if (rows.rows != 1) {
        bind::raise(Error{Errc::invalid_argument, static_cast<std::int64_t>(rows.rows), 0, "number of queries", "1"});
    }
    const Wish wish(k, ef, filter, allow, threshold, exact);
    return to_hits(released([&] { return index.search(rows.data, wish.search); }), index.metric());
}

py::list search_many(const VectorIndex& self, const py::object& queries, Whole k, std::optional<Whole> ef,
                     const py::object& filter, const py::object& allow, std::optional<double> threshold, bool exact,
                     Whole threads) {
    const Index& index = self.use();
    const bind::Matrix rows(queries, "queries", index.dim());
    const Wish wish(k, ef, filter, allow, threshold, exact);
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

const char* codes_of(const Index& index) {
    return index.options().int8 ? "i8" : "f32";
}

py::dict stats(const VectorIndex& self) {
    const Index& index = self.use();
    const hnsw::Stats now = released([&] { return index.stats(); });
    py::dict out;
    out["count"] = now.count;
    out["removed"] = now.removed;
    out["mode"] = index.is_graph() ? "graph" : "exact";
    out["dim"] = index.dim();
    out["metric"] = exact::name_of(index.metric());
    out["quantization"] = codes_of(index);
    out["m"] = index.options().m;
    out["ef_construction"] = index.options().ef_construction;
    out["memory_bytes"] = now.bytes;
    out["file_bytes"] = now.file_bytes;
    out["levels"] = now.levels;
    out["max_degree"] = now.max_degree;
    out["columns"] = now.columns;
    out["searches"] = now.searches;
    out["exact_scans"] = now.exact_scans;
    out["filter_fallbacks"] = now.fallbacks;
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
    bind::bind_filter(module);
    py::class_<VectorIndex>(module, "VectorIndex", "One namespace of vectors.")
        .def(py::init(&make), py::arg("dim"), py::arg("metric") = "cosine", py::kw_only(), py::arg("m") = 16,
             py::arg("ef_construction") = 200, py::arg("ef_search") = 50, py::arg("quantization") = "f32",
             py::arg("keep_f32") = false, py::arg("max_elements") = 1'000'000'000, py::arg("exact_below") = 2048,
             py::arg("seed") = 42, py::arg("name") = "")
        .def("add", &add_rows, py::arg("keys"), py::arg("vectors"), py::kw_only(), py::arg("attrs") = py::none(),
             py::arg("threads") = 1, py::arg("replace") = true)
        .def("set_attrs", &set_attrs, py::arg("keys"), py::arg("attrs"), py::kw_only(), py::arg("merge") = true)
        .def("get_attrs", &get_attrs, py::arg("keys"))
        .def("compact", &compact, py::kw_only(), py::arg("threads") = 1)
        .def("save", &save, py::arg("path"), py::kw_only(), py::arg("sync") = true, py::arg("tag") = py::bytes())
        .def_static("open", &open, py::arg("path"), py::kw_only(), py::arg("mmap") = true, py::arg("writable") = true,
                    py::arg("verify") = "graph")
        .def_static("import_hnswlib", &import_hnswlib, py::arg("path"), py::arg("dim"), py::arg("metric") = "cosine",
                    py::kw_only(), py::arg("ef_search") = 50, py::arg("quantization") = "f32",
                    py::arg("keep_f32") = false, py::arg("max_elements") = 1'000'000'000, py::arg("exact_below") = 2048,
                    py::arg("seed") = 42, py::arg("name") = "")
        .def_property_readonly("tag", [](const VectorIndex& self) { return py::bytes(self.info().tag()); })
        .def("remove", &remove_keys, py::arg("keys"))
        .def("clear",
             [](const VectorIndex& self) {
                 Index& index = self.use();
                 released([&] { return index.clear(); });
             })
        .def("search", &search, py::arg("query"), py::arg("k") = 10, py::kw_only(), py::arg("ef") = py::none(),
             py::arg("filter") = py::none(), py::arg("allow") = py::none(), py::arg("threshold") = py::none(),
             py::arg("exact") = false)
        .def("search_many", &search_many, py::arg("queries"), py::arg("k") = 10, py::kw_only(),
             py::arg("ef") = py::none(), py::arg("filter") = py::none(), py::arg("allow") = py::none(),
             py::arg("threshold") = py::none(), py::arg("exact") = false, py::arg("threads") = 1)
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
        .def_property_readonly("mode",
                               [](const VectorIndex& self) { return self.info().is_graph() ? "graph" : "exact"; })
        .def_property_readonly("quantization", [](const VectorIndex& self) { return codes_of(self.info()); })
        .def_property_readonly("name", &VectorIndex::name);
}
