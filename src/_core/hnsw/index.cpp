#include "hnsw/index.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/pages.hpp"
#include "base/parallel.hpp"
#include "exact/magnitude.hpp"

namespace spell::hnsw {
namespace {

constexpr Error closed{Errc::closed, 0, 0, "index"};
constexpr std::size_t large_call = 16384;

Shape shape_of(const Options& options) {
    return {options.dim,
            options.metric,
            options.m,
            options.ef_construction,
            options.seed,
            options.codes(),
            options.codes() && options.floats()};
}

std::optional<Error> bad_key(std::span<const std::int64_t> keys) noexcept {
    for (const std::int64_t key : keys) {
        if (key < 0) {
            return Error{Errc::invalid_argument, key, 0, "key", "an integer of at least 0"};
        }
    }
    return std::nullopt;
}

}  // namespace

Index::Index(const Options& options) : options_(options), rows_(std::make_unique<Rows>(options.dim, options.floats())) {
    if (!options.floats()) {
        graph_ = std::make_unique<Graph>(shape_of(options), *rows_);
    }
}

Index::~Index() = default;

std::unique_ptr<Graph> Index::make_graph() const {
    return std::make_unique<Graph>(shape_of(options_), *rows_);
}

Status Options::check() const noexcept {
    const auto between = [](std::size_t value, std::size_t low, std::size_t high) {
        return value >= low && value <= high;
    };
    const auto refuse = [](std::size_t value, const char* name, const char* allowed) {
        return Error{Errc::invalid_argument, static_cast<std::int64_t>(value), 0, name, allowed};
    };
    if (!between(dim, 1, 65535)) return refuse(dim, "dim", "1 to 65535");
    if (!between(max_elements, 1, 1'000'000'000)) return refuse(max_elements, "max_elements", "1 to 1000000000");
    if (!between(m, 2, 128)) return refuse(m, "m", "2 to 128");
    if (!between(ef_construction, m, 10000)) return refuse(ef_construction, "ef_construction", "m to 10000");
    if (!between(ef_search, 1, 100000)) return refuse(ef_search, "ef_search", "1 to 100000");
    if (!between(exact_below, 0, 1'000'000'000)) return refuse(exact_below, "exact_below", "0 to 1000000000");
    if (int8 && metric == Metric::l1) return refuse(8, "bits of quantization", "32 under l1, which has no codes");
    return Done{};
}

std::shared_lock<std::shared_mutex> Index::read() const {
    const std::lock_guard turn(turn_);
    return std::shared_lock(rows_lock_);
}

std::unique_lock<std::shared_mutex> Index::write() {
    const std::lock_guard turn(turn_);
    return std::unique_lock(rows_lock_);
}

Status Index::writable() const noexcept {
    if (closed_) {
        return closed;
    }
    if (!writable_) {
        return Error{Errc::invalid_argument, 0, 0, "writable", "an index opened with writable=True"};
    }
    return Done{};
}

// The rows of the call that count: the last of each key, in key order.
Result<std::vector<std::size_t>> Index::chosen_rows(const Addition& what) const {
    const auto keys = what.keys;
    if (const auto error = bad_key(keys)) {
        return *error;
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (const auto error = exact::bad_row(what.vectors + i * dim(), dim(), i, metric())) {
            return *error;
        }
    }
    if (const Status checked = Columns::check(what.attrs); !checked) {
        return checked.error();
    }
    std::vector<std::size_t> order(keys.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
    std::vector<std::size_t> chosen;
    chosen.reserve(order.size());
    for (const std::size_t row : order) {
        if (!chosen.empty() && keys[chosen.back()] == keys[row]) {
            if (!what.replace) {
                return Error{Errc::duplicate_key, keys[row]};
            }
            chosen.back() = row;
        } else {
            chosen.push_back(row);
        }
    }
    return chosen;
}

Result<std::int64_t> Index::add(const Addition& what) noexcept {
    return guarded<std::int64_t>([&]() -> Result<std::int64_t> {
        if (what.threads < 0 || what.threads > 256) {
            return Error{Errc::invalid_argument, what.threads, 0, "threads", "0 to 256"};
        }
        const auto chosen = chosen_rows(what);
        if (!chosen) {
            return chosen.error();
        }
        const std::lock_guard writing(writer_);
        if (const Status open = writable(); !open) {
            return open.error();
        }
        if (const Status fits = columns_.fits(what.attrs); !fits) {
            return fits.error();
        }
        std::size_t fresh = 0;
        for (const std::size_t row : chosen.value()) {
            const bool known = map_.find(*rows_, what.keys[row]) != no_slot;
            if (known && !what.replace) {
                return Error{Errc::duplicate_key, what.keys[row]};
            }
            fresh += known ? 0 : 1;
        }
        if (map_.count() + fresh > options_.max_elements) {
            return Error{Errc::limit_exceeded, static_cast<std::int64_t>(options_.max_elements),
                         static_cast<std::int64_t>(map_.count() + fresh), "max_elements"};
        }
        auto added = store(what, chosen.value(), chosen.value().size() - fresh);
        if (chosen.value().size() >= large_call) {
            give_back();
        }
        return added;
    });
}

// Everything that can fail happens before the first row is published. The writer lock is held.
Result<std::int64_t> Index::store(const Addition& what, const std::vector<std::size_t>& chosen, std::size_t replaced) {
    rows_->reserve(chosen.size());
    rows_->reserve_free(chosen.size());
    dead_.reserve(dead_.size() + chosen.size());
    if (!map_.has_room(chosen.size())) {
        KeyMap larger = map_.grown(*rows_, std::max(chosen.size(), map_.count()));
        const auto lock = write();
        std::swap(map_, larger);
    }
    const std::size_t before = map_.count();
    const bool linked = (graph_ && graph_->linked) || before + chosen.size() - replaced > options_.exact_below;
    const std::vector<Fresh> fresh = place(what, chosen, rows_->has_floats() && !(linked && options_.codes()));
    std::unique_ptr<Graph> made;
    try {
        if (graph_) {
            grow_graph(*graph_, 0);
            for (const Fresh& row : fresh) {
                graph_->encode(row.slot, what.vectors + row.row * dim());
                if (!options_.floats()) {
                    rows_->scale(row.slot) = graph_->coded_scale(row.slot, what.vectors + row.row * dim());
                }
            }
        }
        put_attrs(what, chosen, fresh);
        if (linked) {
            if (const Status done = link(what, fresh, made); !done) {
                undo(fresh);
                return done.error();
            }
        }
    } catch (...) {
        undo(fresh);
        throw;
    }
    for (std::size_t begin = 0; begin < fresh.size(); begin += round) {
        publish(std::span(fresh).subspan(begin, std::min(round, fresh.size() - begin)), made, linked);
    }
    for (const Fresh& row : fresh) {
        if (row.old != no_slot) {
            discard(row.old);
        }
    }
    Compaction ignored;
    (void)repair(false, 1, ignored);  // without memory it is left for later
    return static_cast<std::int64_t>(map_.count() - before);
}

// floats: whether the rows keep the vectors; the graph does otherwise.
std::vector<Index::Fresh> Index::place(const Addition& what, const std::vector<std::size_t>& chosen, bool floats) {
    std::vector<Fresh> fresh;
    fresh.reserve(chosen.size());
    for (const std::size_t row : chosen) {
        const Slot slot = rows_->take();
        const float* vector = what.vectors + row * dim();
        fresh.push_back({what.keys[row], slot, map_.find(*rows_, what.keys[row]), row});
        if (floats) {
            std::memcpy(rows_->vector(slot), vector, dim() * sizeof(float));
        }
        rows_->key(slot) = what.keys[row];
        rows_->scale(slot) = metric() == Metric::cosine ? exact::inverse_length(vector, dim()) : 1.0f;
    }
    return fresh;
}

void Index::put_attrs(const Addition& what, const std::vector<std::size_t>& chosen, std::span<const Fresh> fresh) {
    constexpr std::size_t at_once = 64;
    for (std::size_t begin = 0; !what.attrs.empty() && begin < fresh.size(); begin += at_once) {
        const auto lock = write();
        for (std::size_t i = begin; i < std::min(begin + at_once, fresh.size()); ++i) {
            columns_.set(fresh[i].slot, what.attrs[chosen[i]], false);
        }
    }
}

void Index::grow_graph(Graph& graph, std::size_t blocks) {
    auto growth = graph.grown(std::max(rows_->used(), graph.limit()), blocks);
    {
        const auto lock = write();
        graph.commit(growth);
    }
    graph.set_limit(std::max(rows_->used(), graph.limit()));
}

// Into the graph there is, or into a new one with everything that lives.
Status Index::link(const Addition& what, std::span<const Fresh> fresh, std::unique_ptr<Graph>& made) {
    std::vector<Slot> slots;
    slots.reserve(fresh.size() + map_.count());
    for (const Fresh& row : fresh) {
        slots.push_back(row.slot);
    }
    Graph* graph = graph_.get();
    const bool first = graph == nullptr || !graph->linked;
    if (first) {
        rows_->each_live([&](Slot slot) { slots.push_back(slot); });
        std::sort(slots.begin(), slots.end(),
                  [&](Slot a, Slot b) { return std::pair(rows_->key(a), a) < std::pair(rows_->key(b), b); });
    }
    if (graph == nullptr) {
        made = make_graph();
        graph = made.get();
    }
    grow_graph(*graph, graph->blocks_needed(slots));
    if (made) {
        rows_->each_live([&](Slot slot) { graph->encode(slot, rows_->vector(slot)); });
        for (const Fresh& row : fresh) {
            graph->encode(row.slot, what.vectors + row.row * dim());
        }
    }
    return graph->link(slots, what.threads);
}

void Index::publish(std::span<const Fresh> fresh, std::unique_ptr<Graph>& made, bool linked) noexcept {
    Rows::Floats gone;
    const auto lock = write();
    if (made) {
        graph_ = std::move(made);
        if (graph_->tails() != nullptr) {
            gone = rows_->drop_floats();
        }
    }
    if (linked) {
        graph_->linked = true;
        is_graph_.store(true, std::memory_order_relaxed);
    }
    for (const Fresh& row : fresh) {
        if (row.old != no_slot) {
            rows_->set_live(row.old, false);
            columns_.erase(row.old);
            map_.assign(*rows_, row.key, row.slot);
        } else {
            map_.insert(row.key, row.slot);
        }
        rows_->set_live(row.slot, true);
    }
    live_.store(map_.count(), std::memory_order_relaxed);
    ++generation_;
}

// After memory ran out: the rows were never seen, but others may link to them already.
void Index::undo(std::span<const Fresh> fresh) noexcept {
    const bool linked = graph_ && graph_->linked;
    if (graph_ && !linked) {
        graph_->unlink();
    }
    for (const Fresh& row : fresh) {
        columns_.erase(row.slot);
        discard(row.slot);
    }
}

// A row that is no longer live. Room in the lists was made before.
void Index::discard(Slot slot) noexcept {
    if (graph_ && graph_->linked) {
        graph_->set_dead(slot);
        dead_.push_back(slot);
    } else {
        rows_->give_back(slot);
    }
}

Result<std::int64_t> Index::remove(std::span<const std::int64_t> keys) noexcept {
    return guarded<std::int64_t>([&]() -> Result<std::int64_t> {
        const std::lock_guard writing(writer_);
        if (const Status open = writable(); !open) {
            return open.error();
        }
        rows_->reserve_free(keys.size());
        dead_.reserve(dead_.size() + keys.size());
        std::int64_t removed = 0;
        for (std::size_t begin = 0; begin < keys.size(); begin += round) {
            const auto lock = write();
            for (const std::int64_t key : keys.subspan(begin, std::min(round, keys.size() - begin))) {
                const Slot slot = map_.find(*rows_, key);
                if (slot != no_slot) {
                    map_.erase(*rows_, key);
                    rows_->set_live(slot, false);
                    columns_.erase(slot);
                    discard(slot);
                    ++removed;
                }
            }
            live_.store(map_.count(), std::memory_order_relaxed);
            ++generation_;
        }
        Compaction ignored;
        (void)repair(false, 1, ignored);
        return removed;
    });
}

Result<std::int64_t> Index::set_attrs(std::span<const std::int64_t> keys, std::span<const Attrs> attrs,
                                      bool merge) noexcept {
    return guarded<std::int64_t>([&]() -> Result<std::int64_t> {
        if (const Status checked = Columns::check(attrs); !checked) {
            return checked.error();
        }
        const std::lock_guard writing(writer_);
        if (const Status open = writable(); !open) {
            return open.error();
        }
        if (const Status fits = columns_.fits(attrs); !fits) {
            return fits.error();
        }
        std::int64_t changed = 0;
        for (std::size_t i = 0; i < keys.size(); ++i) {
            const auto lock = write();
            const Slot slot = map_.find(*rows_, keys[i]);
            if (slot != no_slot) {
                columns_.set(slot, attrs[i], merge);
                ++changed;
            }
            ++generation_;
        }
        return changed;
    });
}

Status Index::clear() noexcept {
    return guarded<Done>([&]() -> Status {
        const std::lock_guard writing(writer_);
        if (const Status open = writable(); !open) {
            return open;
        }
        Index empty(options_);
        const auto lock = write();
        std::swap(rows_, empty.rows_);
        std::swap(map_, empty.map_);
        std::swap(graph_, empty.graph_);
        std::swap(columns_, empty.columns_);
        dead_.clear();
        dying_.clear();
        live_.store(0, std::memory_order_relaxed);
        is_graph_.store(false, std::memory_order_relaxed);
        ++generation_;
        return Done{};
    });
}

void Index::close() noexcept {
    std::shared_ptr<void> file;
    std::unique_ptr<Rows> empty_rows;
    std::unique_ptr<Graph> empty_graph;
    KeyMap empty_map;
    Columns empty_columns;
    const std::lock_guard writing(writer_);
    const auto lock = write();
    closed_ = true;
    std::swap(rows_, empty_rows);
    std::swap(graph_, empty_graph);
    std::swap(map_, empty_map);
    std::swap(columns_, empty_columns);
    std::swap(file_, file);
    live_.store(0, std::memory_order_relaxed);
    is_graph_.store(false, std::memory_order_relaxed);
}

}  // namespace spell::hnsw
