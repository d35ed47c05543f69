// Reading an index that hnswlib saved: a header, the lowest layer (links | vector | label of each element), then the
// links of the higher layers of each. The file has no checksums: no number in it is used before it is checked.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>

#include "hnsw/contents.hpp"
#include "hnsw/index.hpp"

namespace spell::hnsw {
namespace {

struct Header {
    std::uint64_t first;                        // where an element begins in its own bytes: 0
    std::uint64_t most, count;                  // elements
    std::uint64_t stride, label_at, vector_at;  // of an element
    std::int32_t top;                           // the highest layer, of the element `entry`
    std::uint32_t entry;
    std::uint64_t room, room0, m;  // links in a higher layer, in the lowest, and of a new element
    double mult;
    std::uint64_t ef_construction;
};
static_assert(sizeof(Header) == 96);

constexpr std::uint64_t link_bytes = sizeof(std::uint32_t), largest_m = 10000;
constexpr std::uint64_t largest_vector = 65535 * sizeof(float);
constexpr std::int32_t highest = 100;  // layers its levels can reach at m = 2, and more

template <class T>
T read(const unsigned char* from) noexcept {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

}  // namespace

class HnswlibFile {
 public:
    HnswlibFile(const unsigned char* bytes, std::size_t size) : bytes_(bytes), size_(size) {}

    Status check_header(Options& options) {
        if (size_ < sizeof(Header)) {
            return broken("header", size_);
        }
        head_ = read<Header>(bytes_);
        if (options.metric == Metric::l1) {
            return Error{Errc::invalid_argument, 1, 0, "order of the metric", "cosine, l2 or ip, which hnswlib knows"};
        }
        const auto wrong = [](std::size_t at) { return broken("header", at); };
        if (head_.first != 0) return wrong(offsetof(Header, first));
        if (head_.m == 0 || head_.m > largest_m || head_.room != head_.m) return wrong(offsetof(Header, room));
        if (head_.room0 != 2 * head_.m) return wrong(offsetof(Header, room0));
        const double mult = 1.0 / std::log(static_cast<double>(head_.m));
        if (!(head_.mult == mult || std::fabs(head_.mult - mult) < 1e-9)) return wrong(offsetof(Header, mult));
        if (head_.ef_construction < head_.m) return wrong(offsetof(Header, ef_construction));
        if (head_.vector_at != (head_.room0 + 1) * link_bytes) return wrong(offsetof(Header, vector_at));
        if (head_.label_at <= head_.vector_at || head_.label_at - head_.vector_at > largest_vector) {
            return wrong(offsetof(Header, label_at));
        }
        if (head_.stride != head_.label_at + sizeof(std::uint64_t)) return wrong(offsetof(Header, stride));
        const std::uint64_t left = size_ - sizeof(Header);
        if (head_.count > left / (head_.stride + link_bytes)) return wrong(offsetof(Header, count));
        if (head_.most < head_.count) return wrong(offsetof(Header, most));
        const bool empty = head_.count == 0;
        if (empty ? head_.top != -1 : head_.top < 0 || head_.top > highest) return wrong(offsetof(Header, top));
        if (empty ? head_.entry != no_slot : head_.entry >= head_.count) return wrong(offsetof(Header, entry));
        const std::uint64_t bytes = head_.label_at - head_.vector_at;
        if (bytes != options.dim * sizeof(float)) {
            return Error{Errc::dimension_mismatch, static_cast<std::int64_t>(options.dim),
                         static_cast<std::int64_t>(bytes / sizeof(float))};
        }
        if (head_.count > options.max_elements) {
            return Error{Errc::limit_exceeded, static_cast<std::int64_t>(options.max_elements),
                         static_cast<std::int64_t>(head_.count), "max_elements"};
        }
        options.m = head_.m;
        options.ef_construction = std::min<std::uint64_t>(head_.ef_construction, 10000);
        return options.check();
    }

    // Everything but the numbers of neighbours, and the layers of each element.
    Status check_elements(Metric metric) {
        const std::uint64_t block = (head_.room + 1) * link_bytes;
        std::uint64_t at = upper_begin();
        levels_.resize(head_.count);
        for (std::uint64_t i = 0; i < head_.count; ++i) {
            if (size_ - at < link_bytes) return broken("links", at);
            const auto bytes = read<std::uint32_t>(bytes_ + at);
            const std::uint64_t level = bytes / block;
            if (bytes % block != 0 || level > static_cast<std::uint64_t>(head_.top) ||
                bytes > size_ - at - link_bytes) {
                return broken("links", at);
            }
            levels_[i] = static_cast<std::uint8_t>(level);
            at += link_bytes + bytes;
        }
        if (at != size_) return broken("links", at);
        if (head_.count != 0 && levels_[head_.entry] != head_.top) return broken("header", offsetof(Header, entry));
        for (std::uint64_t i = 0; i < head_.count; ++i) {
            const unsigned char* element = begin(i);
            if ((element[2] & ~1u) != 0 || element[3] != 0) return broken("elements", offset(element + 2));
            live_ += is_dead(i) ? 0 : 1;
            if (const Status checked = check_vector(i, metric); !checked) return checked;
        }
        return Done{};
    }

    Status fill(Index& index) const {
        const bool linked = live_ > index.options_.exact_below;
        std::vector<std::uint32_t> taken;
        taken.reserve(linked ? head_.count : live_);
        for (std::uint32_t i = 0; i < head_.count; ++i) {
            if (linked || !is_dead(i)) {
                taken.push_back(i);
            }
        }
        index.rows_->reserve(taken.size());
        index.dead_.reserve(head_.count - live_);
        if (linked && !index.graph_) {
            index.graph_ = index.make_graph();
            if (index.graph_->tails() != nullptr) {
                index.rows_->drop_floats();
            }
        }
        if (index.graph_) {
            const std::size_t blocks =
                std::accumulate(taken.begin(), taken.end(), std::size_t{0},
                                [&](std::size_t sum, std::uint32_t i) { return sum + level(i); });
            auto growth = index.graph_->grown(taken.size(), linked ? blocks : 0);
            index.graph_->commit(growth);
            index.graph_->set_limit(taken.size());
        }
        if (const Status placed = place(index, taken); !placed) {
            return placed;
        }
        if (linked) {
            if (const Status done = link(*index.graph_); !done) {
                return done;
            }
            index.graph_->linked = true;
            index.is_graph_ = true;
        }
        return publish(index, taken);
    }

 private:
    static constexpr std::size_t at_once = 256;

    std::uint64_t upper_begin() const { return sizeof(Header) + head_.count * head_.stride; }
    const unsigned char* begin(std::uint64_t i) const { return bytes_ + sizeof(Header) + i * head_.stride; }
    std::uint64_t offset(const unsigned char* at) const { return static_cast<std::uint64_t>(at - bytes_); }
    bool is_dead(std::uint64_t i) const { return (begin(i)[2] & 1) != 0; }
    std::size_t level(std::uint64_t i) const { return std::min<std::size_t>(levels_[i], Graph::most_levels); }
    std::int64_t label(std::uint64_t i) const { return read<std::int64_t>(begin(i) + head_.label_at); }

    Status check_vector(std::uint64_t i, Metric metric) const {
        const unsigned char* from = begin(i) + head_.vector_at;
        bool zero = true;
        for (; from != begin(i) + head_.label_at; from += sizeof(float)) {
            const auto value = read<float>(from);
            if (!std::isfinite(value)) return broken("vectors", offset(from));
            zero = zero && value == 0.0f;
        }
        if (zero && metric == Metric::cosine && !is_dead(i)) {
            return broken("vectors", offset(begin(i) + head_.vector_at), 0, "a vector with a direction");
        }
        return Done{};
    }

    // Rows and codes, in the order of the file.
    Status place(Index& index, std::span<const std::uint32_t> taken) const {
        std::vector<std::int64_t> keys;
        std::vector<float> vectors;
        std::vector<std::size_t> chosen(at_once);
        std::iota(chosen.begin(), chosen.end(), std::size_t{0});
        for (std::size_t first = 0; first < taken.size(); first += at_once) {
            const auto part = taken.subspan(first, std::min(at_once, taken.size() - first));
            keys.clear();
            vectors.resize(part.size() * index.dim());
            chosen.resize(part.size());
            for (std::size_t i = 0; i < part.size(); ++i) {
                keys.push_back(label(part[i]));
                std::memcpy(vectors.data() + i * index.dim(), begin(part[i]) + head_.vector_at,
                            index.dim() * sizeof(float));
            }
            const Addition batch{keys, vectors.data(), {}};
            for (const Index::Fresh& row : index.place(batch, chosen, index.rows_->has_floats())) {
                const float* vector = vectors.data() + row.row * index.dim();
                if (index.graph_) {
                    index.graph_->encode(row.slot, vector);
                }
                if (!index.options_.floats()) {
                    index.rows_->scale(row.slot) = index.graph_->coded_scale(row.slot, vector);
                }
            }
        }
        return Done{};
    }

    // Slots are the numbers of the file here.
    Status link(Graph& graph) const {
        const unsigned char* upper = bytes_ + upper_begin();
        for (std::uint64_t i = 0; i < head_.count; ++i) {
            const auto slot = static_cast<Slot>(i);
            graph.take_blocks(slot, level(i));
            if (const Status done = link_list(graph, slot, 0, begin(i), head_.room0); !done) {
                return done;
            }
            upper += link_bytes;
            for (std::size_t l = 1; l <= levels_[i]; ++l, upper += (head_.room + 1) * link_bytes) {
                if (const Status done = link_list(graph, slot, l, upper, head_.room); !done) {
                    return done;
                }
            }
        }
        graph.set_entry({head_.entry, static_cast<std::uint32_t>(level(head_.entry))});
        return Done{};
    }

    Status link_list(Graph& graph, Slot slot, std::size_t level, const unsigned char* list, std::uint64_t room) const {
        const char* const section = level == 0 ? "elements" : "links";
        const std::size_t count = read<std::uint16_t>(list);
        if (count > room || (level != 0 && read<std::uint16_t>(list + 2) != 0)) {
            return broken(section, offset(list));
        }
        std::array<Slot, Graph::most_links> kept;
        std::size_t n = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const unsigned char* at = list + (i + 1) * link_bytes;
            const auto to = read<std::uint32_t>(at);
            if (to >= head_.count || levels_[to] < level) {
                return broken(section, offset(at));
            }
            if (to != slot && std::find(kept.begin(), kept.begin() + n, to) == kept.begin() + n) {
                kept[n++] = to;
            }
        }
        if (level <= Graph::most_levels) {
            graph.set_links(slot, level, std::span(kept).first(n));
        }
        return Done{};
    }

    Status publish(Index& index, std::span<const std::uint32_t> taken) const {
        Rows& rows = *index.rows_;
        index.map_ = index.map_.grown(rows, live_);
        for (std::size_t i = 0; i < taken.size(); ++i) {
            const auto slot = static_cast<Slot>(i);
            if (is_dead(taken[i])) {
                index.discard(slot);
                continue;
            }
            const std::int64_t key = label(taken[i]);
            if (key < 0 || !index.map_.try_insert(rows, key, slot)) {
                return broken("labels", offset(begin(taken[i]) + head_.label_at), key,
                              "labels from 0 to 2^63 - 1, each of them once");
            }
            rows.set_live(slot, true);
        }
        index.live_ = live_;
        index.generation_ = 1;
        return Done{};
    }

    const unsigned char* bytes_;
    std::size_t size_;
    Header head_{};
    std::vector<std::uint8_t> levels_;
    std::uint64_t live_ = 0;
};

Result<std::unique_ptr<Index>> Index::import_hnswlib(const std::string& path, Options options) noexcept {
    return guarded<std::unique_ptr<Index>>([&]() -> Result<std::unique_ptr<Index>> {
        static_assert(std::endian::native == std::endian::little);
        std::shared_ptr<void> bytes;
        std::size_t size = 0;
        if (const Status read = contents(path, true, bytes, size); !read) {
            return read.error();
        }
        HnswlibFile saved(static_cast<const unsigned char*>(bytes.get()), size);
        if (const Status checked = saved.check_header(options); !checked) {
            return checked.error();
        }
        if (const Status checked = saved.check_elements(options.metric); !checked) {
            return checked.error();
        }
        auto index = std::make_unique<Index>(options);
        if (const Status filled = saved.fill(*index); !filled) {
            return filled.error();
        }
        return index;
    });
}

}  // namespace spell::hnsw
