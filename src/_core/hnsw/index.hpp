// One namespace of vectors: scanned exactly while it is small, a graph above that.
//
// Locks, in the order they are taken:
//   writer_   one mutating call at a time; it prepares rows, links and larger tables while searches go on
//   turn_     held for an instant by whoever wants rows_lock_, so that searches cannot starve the writer
//   rows_lock_ shared by readers for a whole search, exclusive while prepared rows or tables become visible
// A row is written only while it is not live, and readers read live rows only; the links of the graph are atomic.
// Taking rows_lock_ exclusively is also the moment after which no reader holds what was unlinked before it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "exact/hits.hpp"
#include "exact/metric.hpp"
#include "exact/rows.hpp"
#include "exact/scan.hpp"
#include "hnsw/columns.hpp"
#include "hnsw/filter.hpp"
#include "hnsw/graph.hpp"
#include "hnsw/selection.hpp"

namespace spell::hnsw {

using exact::Best;
using exact::Found;
using exact::Hit;
using exact::KeyMap;
using exact::Query;

struct Options {
    std::size_t dim;
    Metric metric = Metric::cosine;
    std::size_t max_elements = 1'000'000'000;
    std::size_t m = 16, ef_construction = 200, ef_search = 50;
    bool int8 = false;      // keep codes of one byte instead of the vectors
    bool keep_f32 = false;  // with int8: the vectors as well
    std::size_t exact_below = 2048;
    std::uint64_t seed = 42;

    bool floats() const noexcept { return !int8 || keep_f32; }
    bool codes() const noexcept { return metric != Metric::l1; }
    Status check() const noexcept;
};

struct Search {
    std::int64_t k = 10;
    std::int64_t ef = 0;                                 // 0: the one of the index
    std::optional<float> threshold;                      // smallest score
    std::optional<std::span<const std::int64_t>> allow;  // the only keys that may be found
    const Filter* filter = nullptr;
    bool exact = false;
};

struct Addition {
    std::span<const std::int64_t> keys;
    const float* vectors;
    std::span<const Attrs> attrs;  // one for each key, or none at all
    bool replace = true;
    std::int64_t threads = 1;
};

struct Stats {
    std::size_t count, removed, bytes, file_bytes, levels, max_degree, columns;
    std::uint64_t searches, exact_scans, fallbacks, generation;
};

struct Compaction {
    std::size_t removed = 0, relinked = 0, bytes_freed = 0;
};

enum class Verify : std::uint8_t { header, graph, full };

class Index {
 public:
    explicit Index(const Options& options);
    ~Index();

    // Returns how many keys were new. keys: n numbers of at least 0; vectors: n rows. All or nothing.
    Result<std::int64_t> add(const Addition& what) noexcept;
    Result<std::int64_t> remove(std::span<const std::int64_t> keys) noexcept;
    Result<std::int64_t> set_attrs(std::span<const std::int64_t> keys, std::span<const Attrs> attrs,
                                   bool merge) noexcept;
    Status clear() noexcept;
    Result<Compaction> compact(std::int64_t threads = 1) noexcept;
    void close() noexcept;

    Result<Found> search(const float* query, const Search& how) const noexcept;
    Result<std::vector<Found>> search_many(const float* queries, std::size_t count, const Search& how,
                                           std::int64_t threads) const noexcept;
    Status get(std::span<const std::int64_t> keys, float* out) const noexcept;
    Result<std::vector<Attrs>> get_attrs(std::span<const std::int64_t> keys) const noexcept;
    Status contains(std::span<const std::int64_t> keys, bool* out) const noexcept;
    Result<std::vector<std::int64_t>> keys() const noexcept;
    Result<Stats> stats() const noexcept;

    // Returns the bytes written. The file takes the place of the one of that name at once; tag: at most 4096 bytes.
    Result<std::int64_t> save(const std::string& path, bool sync, const std::string& tag) noexcept;
    // mapped: the file is shared with the page cache and never written to. Its rows are copied as they are changed.
    static Result<std::unique_ptr<Index>> open(const std::string& path, bool mapped, bool writable,
                                               Verify verify) noexcept;

    // Reads what hnswlib 0.8 saved. m and ef_construction are those of the file; the links stay as they are when there
    // are more than exact_below vectors. Deleted elements are only walked through.
    static Result<std::unique_ptr<Index>> import_hnswlib(const std::string& path, Options options) noexcept;

    std::size_t size() const noexcept { return live_.load(std::memory_order_relaxed); }
    bool is_graph() const noexcept { return is_graph_.load(std::memory_order_relaxed); }
    const Options& options() const noexcept { return options_; }
    std::size_t dim() const noexcept { return options_.dim; }
    Metric metric() const noexcept { return options_.metric; }
    std::string tag() const;

    // For tests: whether every link leads to an element that is in the graph and has that layer.
    bool is_sound() const;

 private:
    friend class Loader;
    friend class HnswlibFile;
    struct Fresh {
        std::int64_t key;
        Slot slot;
        Slot old;  // the row it replaces, or no_slot
        std::size_t row;
    };
    static constexpr std::size_t round = 512;

    std::unique_ptr<Graph> make_graph() const;
    std::shared_lock<std::shared_mutex> read() const;
    std::unique_lock<std::shared_mutex> write();
    Status writable() const noexcept;
    Result<std::vector<std::size_t>> chosen_rows(const Addition& what) const;
    Result<std::int64_t> store(const Addition& what, const std::vector<std::size_t>& chosen, std::size_t replaced);
    std::vector<Fresh> place(const Addition& what, const std::vector<std::size_t>& chosen, bool floats);
    void put_attrs(const Addition& what, const std::vector<std::size_t>& chosen, std::span<const Fresh> fresh);
    void grow_graph(Graph& graph, std::size_t blocks);
    Status link(const Addition& what, std::span<const Fresh> fresh, std::unique_ptr<Graph>& made);
    void publish(std::span<const Fresh> fresh, std::unique_ptr<Graph>& made, bool linked) noexcept;
    void undo(std::span<const Fresh> fresh) noexcept;
    void discard(Slot slot) noexcept;
    Result<bool> repair(bool all, std::int64_t threads, Compaction& done);
    Result<bool> mend_some(bool all, std::int64_t threads, Compaction& done);
    Status repair_all(std::int64_t threads, Compaction& done);
    void drop_graph();

    Result<Found> find(const float* query, const Search& how) const;
    Selections::Shared selected(const Search& how, const Bound* bound, bool walkable) const;
    bool is_common(const Bound& bound) const;
    bool is_rare(std::size_t selected, const Search& how) const noexcept;
    std::size_t effort(const Search& how) const noexcept;
    std::optional<Found> walk(const float* query, const Query& ready, const Search& how, const Bound* bound,
                              const Selection* chosen) const;
    Found scan_codes(const float* query, const Query& ready, const Search& how, const Selection& chosen) const;
    Found measured(std::span<const Near> pool, const Query& ready, const Search& how, bool& all) const;
    Found scan(const Query& ready, const Search& how, const Selection* chosen) const;
    float distance_to(const Query& ready, Slot slot, std::vector<float>& space) const;
    exact::Decode decoder(Slot first) const;
    void copy_vector(Slot slot, float* out) const;
    void write_sections(int fd, std::size_t table_bytes, std::string& table, std::int64_t& written) const;
    Status write_file(int fd, std::int64_t& written) const;

    const Options options_;
    mutable std::mutex writer_;  // rows that are not live, free rows, growth, repair
    mutable std::mutex turn_;
    mutable std::shared_mutex rows_lock_;  // the live bits, the map, the tables and columns
    std::shared_ptr<void> file_;           // what rows and graph may borrow from; freed after them
    std::unique_ptr<Rows> rows_;           // none once closed
    std::unique_ptr<Graph> graph_;         // with codes only it is there before it is linked
    KeyMap map_;
    Columns columns_;
    std::vector<Slot> dead_;   // removed, still linked
    std::vector<Slot> dying_;  // of them, those the repair under way will free
    std::size_t mended_ = 0;   // how far it is
    bool closed_ = false;      // written under writer_ and rows_lock_
    bool writable_ = true;
    std::string tag_;
    std::size_t file_bytes_ = 0;
    std::atomic<std::size_t> live_{0};
    std::atomic<bool> is_graph_{false};
    mutable std::atomic<std::uint64_t> searches_{0}, exact_scans_{0}, fallbacks_{0};
    std::uint64_t generation_ = 0;
    mutable Scratches scratches_;
    mutable Selections selections_;
};

}  // namespace spell::hnsw
