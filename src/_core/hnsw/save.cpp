// Writing an index: beside the old file, then in its place.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <functional>
#include <random>

#include "base/crc.hpp"
#include "hnsw/file.hpp"
#include "hnsw/index.hpp"

namespace spell::hnsw {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is written as it lies in memory");

Error failure(int number) {
    return {number == ENOSPC || number == EDQUOT ? Errc::disk_full : Errc::io, number, 0, "save"};
}

// A file that is being written, checksummed block by block. The first failure stays; nothing is written after it.
class Output {
 public:
    explicit Output(int fd) : fd_(fd) { buffer_.reserve(file::block); }

    void begin(std::uint16_t id) {
        flush();
        pad();
        table_.push_back({id, 0, 0, at_, 0});
    }
    void put(const void* bytes, std::size_t count) {
        const auto* from = static_cast<const char*>(bytes);
        table_.back().length += count;
        while (count != 0) {
            const std::size_t part = std::min(count, file::block - buffer_.size());
            buffer_.insert(buffer_.end(), from, from + part);
            from += part;
            count -= part;
            if (buffer_.size() == file::block) {
                flush();
            }
        }
    }
    void flush() {
        if (buffer_.empty()) {
            return;
        }
        crcs_.push_back(crc32c(buffer_.data(), buffer_.size()));
        ++table_.back().crcs;
        write_at(buffer_.data(), buffer_.size(), at_);
        at_ += buffer_.size();
        buffer_.clear();
    }
    void skip(std::size_t count) { at_ += count; }
    void pad() { at_ = (at_ + 63) / 64 * 64; }
    void write_at(const void* bytes, std::size_t count, std::uint64_t at) {
        const auto* from = static_cast<const char*>(bytes);
        while (count != 0 && error_ == 0) {
            const ssize_t done = ::pwrite(fd_, from, count, static_cast<off_t>(at));
            if (done < 0 && errno == EINTR) {
                continue;
            }
            if (done <= 0) {
                error_ = done < 0 ? errno : EIO;
                return;
            }
            from += done;
            at += static_cast<std::uint64_t>(done);
            count -= static_cast<std::size_t>(done);
        }
    }
    int error() const noexcept { return error_; }
    std::uint64_t at() const noexcept { return at_; }
    const std::vector<file::Section>& table() const noexcept { return table_; }
    const std::vector<std::uint32_t>& crcs() const noexcept { return crcs_; }

 private:
    int fd_;
    int error_ = 0;
    std::uint64_t at_ = 0;
    std::vector<char> buffer_;
    std::vector<file::Section> table_;
    std::vector<std::uint32_t> crcs_;
};

template <class T>
void put_number(Output& out, T value) {
    out.put(&value, sizeof(value));
}

void put_text(Output& out, std::string_view text) {
    put_number(out, static_cast<std::uint32_t>(text.size()));
    out.put(text.data(), text.size());
}

void put_value(Output& out, const Value& value) {
    put_number(out, static_cast<std::uint8_t>(value.index()));
    if (const auto* flag = std::get_if<bool>(&value)) {
        put_number(out, static_cast<std::uint8_t>(*flag));
    } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
        put_number(out, *whole);
    } else if (const auto* real = std::get_if<double>(&value)) {
        put_number(out, *real);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
        put_text(out, *text);
    } else if (const auto* list = std::get_if<Texts>(&value)) {
        put_number(out, static_cast<std::uint32_t>(list->size()));
        std::for_each(list->begin(), list->end(), [&](const std::string& item) { put_text(out, item); });
    }
}

struct Descriptor {
    int fd;
    ~Descriptor() {
        if (fd >= 0) {
            ::close(fd);
        }
    }
};

int sync_folder(const std::string& path) {
    const std::size_t cut = path.find_last_of('/');
    const std::string folder = cut == std::string::npos ? "." : cut == 0 ? "/" : path.substr(0, cut);
    const Descriptor held{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    return held.fd < 0 || ::fsync(held.fd) != 0 ? errno : 0;
}

// Rows that are not live are written as zeros: nothing removed reaches the file.
void put_rows(Output& out, std::size_t slots, const Rows& rows, std::size_t stride,
              const std::function<const void*(Slot)>& row) {
    const std::vector<char> nothing(stride, 0);
    for (std::size_t i = 0; i < slots; ++i) {
        const auto slot = static_cast<Slot>(i);
        out.put(rows.is_live(slot) ? row(slot) : nothing.data(), stride);
    }
}

}  // namespace

// The writer lock is held and nothing dead is left in the graph.
void Index::write_sections(int fd, std::size_t table_bytes, std::string& table, std::int64_t& written) const {
    Output out(fd);
    out.skip(sizeof(file::Header) + table_bytes);
    const Rows& rows = *rows_;
    const std::size_t slots = rows.used();
    out.begin(file::keys);
    put_rows(out, slots, rows, sizeof(std::int64_t), [&](Slot slot) { return rows.key_place(slot); });
    out.begin(file::live);
    for (std::size_t i = 0; i < slots; i += 8) {
        std::uint8_t bits = 0;
        for (std::size_t j = i; j < std::min(slots, i + 8); ++j) {
            bits = static_cast<std::uint8_t>(bits | (rows.is_live(static_cast<Slot>(j)) ? 1u << (j - i) : 0u));
        }
        put_number(out, bits);
    }
    out.begin(file::records);
    if (graph_) {
        put_rows(out, slots, rows, graph_->records().stride(), [&](Slot slot) { return graph_->records().at(slot); });
    }
    out.begin(file::upper);
    for (std::size_t i = 0; graph_ && graph_->linked && i < graph_->blocks(); ++i) {
        out.put(graph_->upper().at(i), graph_->upper().stride());
    }
    out.begin(file::vectors);
    if (rows.has_floats()) {
        put_rows(out, slots, rows, dim() * sizeof(float), [&](Slot slot) { return rows.vector(slot); });
    }
    out.begin(file::scales);
    put_rows(out, slots, rows, sizeof(float), [&](Slot slot) { return rows.scale_place(slot); });
    out.begin(file::columns);
    rows.each_live([&](Slot slot) {
        const Attrs attrs = columns_.get(slot);
        if (!attrs.empty()) {
            put_number(out, slot);
            put_number(out, static_cast<std::uint32_t>(attrs.size()));
            for (const auto& [name, value] : attrs) {
                put_text(out, name);
                put_value(out, value);
            }
        }
    });
    out.begin(file::tag);
    out.put(tag_.data(), tag_.size());
    const Tails* const tails = graph_ ? graph_->tails() : nullptr;
    out.begin(file::tails);
    if (tails != nullptr) {
        put_rows(out, slots, rows, tails->rows().stride(), [&](Slot slot) { return tails->rows().at(slot); });
    }
    out.begin(file::spilled);
    rows.each_live([&](Slot slot) {
        if (const Tails::Rests* const rests = tails == nullptr ? nullptr : tails->spilled(slot)) {
            put_number(out, slot);
            put_number(out, static_cast<std::uint32_t>(rests->size()));
            out.put(rests->data(), rests->size() * sizeof(rests->front()));
        }
    });
    out.flush();
    table.assign(reinterpret_cast<const char*>(out.table().data()), out.table().size() * sizeof(file::Section));
    table.append(reinterpret_cast<const char*>(out.crcs().data()), out.crcs().size() * sizeof(std::uint32_t));
    written = out.error() != 0 ? -out.error() : static_cast<std::int64_t>(out.at());
}

Status Index::write_file(int fd, std::int64_t& written) const {
    // The table comes first and holds a checksum for every block; how many there will be is known only afterwards,
    // so room is left for the most there can be.
    std::string table;
    std::int64_t size = 0;
    std::size_t table_bytes = 0;
    {
        const Rows& rows = *rows_;
        std::uint64_t bytes = tag_.size() + rows.used() * (sizeof(std::int64_t) + sizeof(float) + 1);
        bytes += rows.has_floats() ? rows.used() * dim() * sizeof(float) : 0;
        bytes += graph_ ? rows.used() * graph_->records().stride() + graph_->blocks() * graph_->upper().stride() : 0;
        const Tails* const tails = graph_ ? graph_->tails() : nullptr;
        bytes += tails != nullptr ? rows.used() * tails->rows().stride() : 0;
        rows.each_live([&](Slot slot) {
            const Tails::Rests* const rests = tails == nullptr ? nullptr : tails->spilled(slot);
            bytes += columns_.bytes_of(slot) + (rests == nullptr ? 0 : 8 + rests->size() * sizeof(rests->front()));
        });
        table_bytes = file::sections * sizeof(file::Section) + (bytes / file::block + 2 * file::sections) * 4;
        table_bytes = (table_bytes + 63) / 64 * 64;
    }
    write_sections(fd, table_bytes, table, size);
    if (size < 0) {
        return failure(static_cast<int>(-size));
    }
    if (table.size() > table_bytes) {
        return Error{Errc::io, EIO, 0, "save"};
    }
    file::Header header{};
    std::memcpy(header.magic, "LSVX", 4);
    header.format = file::format;
    const bool linked = graph_ && graph_->linked;
    header.flags = static_cast<std::uint16_t>((linked ? file::linked : 0) | (options_.keep_f32 ? file::keeps_f32 : 0) |
                                              (graph_ && graph_->wild() ? file::wild : 0));
    header.dim = static_cast<std::uint32_t>(dim());
    header.metric = static_cast<std::uint8_t>(metric());
    header.int8 = options_.int8 ? 1 : 0;
    header.m = static_cast<std::uint16_t>(options_.m);
    header.ef_construction = static_cast<std::uint32_t>(options_.ef_construction);
    header.ef_search = static_cast<std::uint32_t>(options_.ef_search);
    header.seed = options_.seed;
    header.count = map_.count();
    header.slots = rows_->used();
    header.entry = linked ? graph_->entry().slot : no_slot;
    header.max_level = linked ? static_cast<std::uint8_t>(graph_->entry().level) : 0;
    header.tag_length = static_cast<std::uint16_t>(tag_.size());
    header.section_count = file::sections;
    header.generation = generation_;
    header.max_elements = options_.max_elements;
    header.exact_below = options_.exact_below;
    header.blocks = linked ? graph_->blocks() : 1;
    header.table_bytes = static_cast<std::uint32_t>(table.size());
    header.table_crc = crc32c(table.data(), table.size());
    header.crc = crc32c(&header, sizeof(header) - sizeof(header.crc));
    Output front(fd);
    front.write_at(&header, sizeof(header), 0);
    front.write_at(table.data(), table.size(), sizeof(header));
    written = size;
    if (front.error() == 0 && ::ftruncate(fd, static_cast<off_t>(size)) != 0) {
        return failure(errno);
    }
    return front.error() == 0 ? Status(Done{}) : Status(failure(front.error()));
}

Result<std::int64_t> Index::save(const std::string& path, bool sync, const std::string& tag) noexcept {
    return guarded<std::int64_t>([&]() -> Result<std::int64_t> {
        if (tag.size() > file::longest_tag) {
            return Error{Errc::invalid_argument, static_cast<std::int64_t>(tag.size()), 0, "length of tag",
                         "at most 4096 bytes"};
        }
        const std::lock_guard writing(writer_);
        if (closed_) {
            return Error{Errc::closed, 0, 0, "index"};
        }
        Compaction ignored;
        if (const Status repaired = repair_all(1, ignored); !repaired) {
            return repaired.error();
        }
        {
            const auto lock = write();
            tag_ = tag;
        }
        std::random_device random;
        const std::string draft = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(random());
        const Descriptor held{::open(draft.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
        if (held.fd < 0) {
            return failure(errno);
        }
        std::int64_t written = 0;
        Status status = write_file(held.fd, written);
        if (status && sync && ::fsync(held.fd) != 0) {
            status = failure(errno);
        }
        if (status && ::rename(draft.c_str(), path.c_str()) != 0) {
            status = failure(errno);
        }
        if (!status) {
            ::unlink(draft.c_str());
            return status.error();
        }
        const int unsynced = sync ? sync_folder(path) : 0;
        if (unsynced != 0) {
            return failure(unsynced);
        }
        file_bytes_ = static_cast<std::size_t>(written);
        return written;
    });
}

}  // namespace spell::hnsw
