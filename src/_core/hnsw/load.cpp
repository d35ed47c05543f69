// Opening an index. The file may be anything: no number in it is used before it is checked.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "base/crc.hpp"
#include "base/parallel.hpp"
#include "hnsw/contents.hpp"
#include "hnsw/file.hpp"
#include "hnsw/index.hpp"
#include "text/tables.hpp"

namespace spell::hnsw {
namespace {

bool is_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const char32_t code = text::next_code_point(text, at);
        const std::size_t shortest = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        if (at - begin != shortest || (code >= 0xD800 && code < 0xE000)) {
            return false;
        }
    }
    return true;
}

// Reads values from a section; after a step beyond its end everything is zero and `ok` is false.
class Input {
 public:
    Input(const char* begin, std::size_t size) : at_(begin), left_(size) {}

    template <class T>
    T number() {
        T value{};
        if (take(sizeof(T))) {
            std::memcpy(&value, at_ - sizeof(T), sizeof(T));
        }
        return value;
    }
    std::string text(std::size_t longest) {
        const auto size = number<std::uint32_t>();
        if (size > longest || !take(size) || !is_utf8({at_ - size, size})) {
            ok = false;
            return {};
        }
        return {at_ - size, size};
    }
    Value value() {
        switch (number<std::uint8_t>()) {
            case 1: return number<std::uint8_t>() != 0;
            case 2: return number<std::int64_t>();
            case 3: return number<double>();
            case 4: return text(Columns::longest_text);
            case 5: {
                Texts items;
                const auto count = number<std::uint32_t>();
                ok = ok && count <= Columns::longest_list;
                for (std::uint32_t i = 0; ok && i < count; ++i) {
                    items.push_back(text(Columns::longest_text));
                }
                return items;
            }
            default: ok = false;
        }
        return {};
    }
    std::size_t left() const noexcept { return left_; }
    bool ok = true;

 private:
    bool take(std::size_t count) {
        ok = ok && count <= left_;
        if (ok) {
            at_ += count;
            left_ -= count;
        }
        return ok;
    }
    const char* at_;
    std::size_t left_;
};

}  // namespace

class Loader {
 public:
    Loader(char* bytes, std::size_t size) : bytes_(bytes), size_(size) {}

    Result<Options> header() {
        std::memcpy(&header_, bytes_, sizeof(header_));
        if (std::memcmp(header_.magic, "LSVX", 4) != 0) {
            return broken("header", 0);
        }
        if (header_.format > file::format) {
            return Error{Errc::version_mismatch, header_.format, file::format};
        }
        if (header_.crc != crc32c(bytes_, sizeof(header_) - sizeof(header_.crc)) || header_.format == 0) {
            return broken("header", sizeof(header_) - sizeof(header_.crc));
        }
        Options options{};
        options.dim = header_.dim;
        options.metric = static_cast<Metric>(header_.metric);
        options.max_elements = header_.max_elements;
        options.m = header_.m;
        options.ef_construction = header_.ef_construction;
        options.ef_search = header_.ef_search;
        options.int8 = header_.int8 != 0;
        options.keep_f32 = (header_.flags & file::keeps_f32) != 0;
        options.exact_below = header_.exact_below;
        options.seed = header_.seed;
        if (header_.metric > 3 || header_.slots >= no_slot || header_.tag_length > file::longest_tag ||
            header_.section_count != file::sections || !options.check()) {
            return broken("header", 0);
        }
        return options;
    }

    Status table(Verify verify) {
        const std::size_t rows = file::sections * sizeof(file::Section);
        if (header_.table_bytes < rows || header_.table_bytes > size_ - sizeof(header_) ||
            crc32c(bytes_ + sizeof(header_), header_.table_bytes) != header_.table_crc) {
            return broken("table", sizeof(header_));
        }
        std::memcpy(sections_.data(), bytes_ + sizeof(header_), rows);
        std::size_t crcs = sizeof(header_) + rows;
        const std::size_t end = sizeof(header_) + header_.table_bytes;
        std::uint64_t before = end;  // sections that share bytes would change each other
        for (std::size_t id = 0; id < file::sections; ++id) {
            const file::Section& found = sections_[id];
            const std::size_t blocks = found.length / file::block + (found.length % file::block != 0 ? 1 : 0);
            if (found.id != id || found.offset % 64 != 0 || found.offset < before || found.offset > size_ ||
                found.length > size_ - found.offset || found.crcs != blocks || blocks * 4 > end - crcs) {
                return broken("table", sizeof(header_) + id * sizeof(file::Section));
            }
            before = found.offset + found.length;
            const bool guide = id != file::vectors && id != file::columns && id != file::tails;
            // Attributes are read into memory at once, so they are checked at once.
            if (verify == Verify::full || (verify == Verify::graph && guide) || id == file::columns ||
                id == file::tag || id == file::spilled) {
                if (const Status checked = check_blocks(id, crcs); !checked) {
                    return checked;
                }
            }
            crcs += blocks * 4;
        }
        return Done{};
    }

    Status fill(Index& index) {
        const std::uint64_t slots = header_.slots;
        const bool linked = (header_.flags & file::linked) != 0;
        const bool split = linked && index.options_.codes();
        const std::uint64_t floats = index.options_.floats() && !split ? slots * header_.dim * sizeof(float) : 0;
        if (!fits(file::keys, slots * sizeof(std::int64_t)) || !fits(file::live, (slots + 7) / 8) ||
            !fits(file::scales, slots * sizeof(float)) || !fits(file::vectors, floats) ||
            !fits(file::tag, header_.tag_length)) {
            return broken("table", sizeof(header_));
        }
        auto* keys = reinterpret_cast<std::int64_t*>(begin(file::keys));
        auto* scales = reinterpret_cast<float*>(begin(file::scales));
        auto* vectors = floats == 0 ? nullptr : reinterpret_cast<float*>(begin(file::vectors));
        if (split) {
            index.rows_->drop_floats();
        }
        index.rows_->borrow({slots, vectors, keys, scales});
        if (const Status done = fill_keys(index, keys); !done) {
            return done;
        }
        if (linked || !index.options_.floats()) {
            if (const Status done = fill_graph(index, linked); !done) {
                return done;
            }
        }
        index.generation_ = header_.generation;
        index.tag_.assign(begin(file::tag), header_.tag_length);
        index.file_bytes_ = size_;
        return fill_columns(index);
    }

 private:
    char* begin(std::size_t id) const { return bytes_ + sections_[id].offset; }
    bool fits(std::size_t id, std::uint64_t length) const { return sections_[id].length == length; }

    // The pages come faster when several threads ask for them, and one thread is not as fast as the memory.
    Status check_blocks(std::size_t id, std::size_t crcs) const {
        constexpr std::uint64_t share = 1u << 22, most_threads = 8;
        const file::Section& section = sections_[id];
        std::atomic<std::uint64_t> bad{section.crcs};
        const auto check = [&](std::size_t first, std::size_t end) {
            for (std::uint64_t n = first; n < end; ++n) {
                const std::uint64_t at = n * file::block;
                std::uint32_t wanted = 0;
                std::memcpy(&wanted, bytes_ + crcs + n * 4, 4);
                if (crc32c(begin(id) + at, std::min<std::uint64_t>(file::block, section.length - at)) != wanted) {
                    for (auto seen = bad.load(); n < seen && !bad.compare_exchange_weak(seen, n);) {
                    }
                    return;
                }
            }
        };
        const std::uint64_t threads = std::clamp<std::uint64_t>(section.length / share, 1, most_threads);
        if (const Status done = in_parallel(section.crcs, static_cast<std::int64_t>(threads), check); !done) {
            return done;
        }
        return bad == section.crcs ? Status(Done{})
                                   : Status(broken(file::names[id], section.offset + bad * file::block));
    }

    Status fill_keys(Index& index, const std::int64_t* keys) const {
        Rows& rows = *index.rows_;
        const auto* live = reinterpret_cast<const std::uint8_t*>(begin(file::live));
        const auto slots = static_cast<std::size_t>(header_.slots);
        index.map_ = index.map_.grown(rows, slots);
        rows.reserve_free(slots - std::min<std::size_t>(slots, header_.count));
        for (std::size_t i = slots; i-- > 0;) {
            const auto slot = static_cast<Slot>(i);
            if ((live[i / 8] >> (i % 8) & 1) == 0) {
                rows.give_back(slot);
                continue;
            }
            if (keys[i] < 0 || !index.map_.try_insert(rows, keys[i], slot)) {
                return broken("keys", sections_[file::keys].offset + i * sizeof(std::int64_t));
            }
            rows.set_live(slot, true);
        }
        if (index.map_.count() != header_.count) {
            return broken("live", sections_[file::live].offset);
        }
        index.live_ = index.map_.count();
        return Done{};
    }

    Status fill_graph(Index& index, bool linked) const {
        if (!index.graph_) {
            index.graph_ = index.make_graph();
        }
        Graph& graph = *index.graph_;
        const std::uint64_t blocks = linked ? header_.blocks : 0;
        if (!fits(file::records, header_.slots * graph.records().stride()) || blocks > header_.slots * 16 + 1 ||
            !fits(file::upper, blocks * graph.upper().stride()) || (linked && blocks == 0)) {
            return broken("table", sizeof(header_));
        }
        graph.records().borrow(reinterpret_cast<unsigned char*>(begin(file::records)), header_.slots);
        graph.upper().borrow(reinterpret_cast<unsigned char*>(begin(file::upper)), blocks);
        if (Tails* const tails = graph.tails(); tails != nullptr) {
            if (!fits(file::tails, header_.slots * tails->rows().stride())) {
                return broken("table", sizeof(header_));
            }
            tails->rows().borrow(reinterpret_cast<unsigned char*>(begin(file::tails)), header_.slots);
            if (const Status done = fill_spilled(index, *tails); !done) {
                return done;
            }
        }
        graph.set_limit(header_.slots);
        graph.set_blocks(std::max<std::size_t>(1, blocks));
        if ((header_.flags & file::wild) != 0) {
            graph.set_wild();
        }
        if (linked && header_.count != 0 &&
            (header_.entry >= header_.slots || header_.max_level > Graph::most_levels)) {
            return broken("header", 0);
        }
        if (linked) {
            graph.set_entry({header_.count == 0 ? no_slot : static_cast<Slot>(header_.entry), header_.max_level});
        }
        graph.linked = linked;
        index.is_graph_ = linked;
        return Done{};
    }

    Status fill_spilled(const Index& index, Tails& tails) const {
        Input in(begin(file::spilled), sections_[file::spilled].length);
        while (in.ok && in.left() != 0) {
            const auto slot = in.number<std::uint32_t>();
            const auto count = in.number<std::uint32_t>();
            in.ok = in.ok && slot < header_.slots && index.rows_->is_live(slot) && count <= header_.dim;
            Tails::Rests rests(in.ok ? count : 0);
            std::generate(rests.begin(), rests.end(), [&] { return in.number<std::uint32_t>(); });
            in.ok = in.ok && tails.set_spilled(slot, std::move(rests));
        }
        return in.ok ? Status(Done{}) : Status(broken("spilled", sections_[file::spilled].offset));
    }

    Status fill_columns(Index& index) const {
        Input in(begin(file::columns), sections_[file::columns].length);
        while (in.ok && in.left() != 0) {
            const auto slot = in.number<std::uint32_t>();
            const auto count = in.number<std::uint32_t>();
            in.ok = in.ok && slot < header_.slots && index.rows_->is_live(slot) && count <= Columns::most_columns;
            Attrs attrs;
            for (std::uint32_t i = 0; in.ok && i < count; ++i) {
                std::string name = in.text(Columns::longest_name);
                attrs.emplace_back(std::move(name), in.value());
            }
            in.ok = in.ok && index.columns_.fits(std::span(&attrs, 1));
            if (in.ok) {
                index.columns_.set(slot, attrs, false);
            }
        }
        return in.ok ? Status(Done{}) : Status(broken("columns", sections_[file::columns].offset));
    }

    char* bytes_;
    std::size_t size_;
    file::Header header_{};
    std::array<file::Section, file::sections> sections_{};
};

Result<std::unique_ptr<Index>> Index::open(const std::string& path, bool mapped, bool writable,
                                           Verify verify) noexcept {
    return guarded<std::unique_ptr<Index>>([&]() -> Result<std::unique_ptr<Index>> {
        std::shared_ptr<void> bytes;
        std::size_t size = 0;
        if (const Status read = contents(path, mapped, bytes, size); !read) {
            return read.error();
        }
        if (size < sizeof(file::Header)) {
            return broken("header", size);
        }
        Loader loader(static_cast<char*>(bytes.get()), size);
        const Result<Options> options = loader.header();
        if (!options) {
            return options.error();
        }
        if (const Status checked = loader.table(verify); !checked) {
            return checked.error();
        }
        auto index = std::make_unique<Index>(options.value());
        index->file_ = bytes;
        index->writable_ = writable;
        if (const Status filled = loader.fill(*index); !filled) {
            return filled.error();
        }
        return index;
    });
}

}  // namespace spell::hnsw
