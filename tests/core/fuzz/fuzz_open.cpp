// VectorIndex.open: any bytes, and any bytes under checksums that are right.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>

#include "base/crc.hpp"
#include "fuzz.hpp"
#include "hnsw/file.hpp"
#include "use.hpp"

using namespace spell::hnsw;
using spell::crc32c;

namespace {

constexpr std::size_t dim = 6;

std::string saved(const Options& options, std::size_t count) {
    const fuzz::File file;
    Index index(options);
    std::vector<float> vectors(count * dim);
    for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = std::sin(static_cast<float>(i * i + 1));
    std::vector<std::int64_t> keys(count);
    std::iota(keys.begin(), keys.end(), 0);
    std::vector<Attrs> attrs(count);
    for (std::size_t i = 0; i < count; ++i) {
        attrs[i] = {{"n", static_cast<std::int64_t>(i % 3)}, {"s", std::string("text")}, {"l", Texts{"a", "b"}}};
    }
    REQUIRE(index.add({keys, vectors.data(), attrs}));
    REQUIRE(index.remove(std::span(keys).subspan(2, 3)));
    REQUIRE(index.save(file.path(), false, "tag"));
    return file.content();
}

// Whoever forges a file makes its checksums right.
void seal(std::string& data) {
    file::Header header;
    if (data.size() < sizeof(header)) return;
    std::memcpy(&header, data.data(), sizeof(header));
    std::size_t crcs = sizeof(header) + std::size_t{header.section_count} * sizeof(file::Section);
    for (std::size_t i = 0; i < header.section_count && crcs <= data.size(); ++i) {
        file::Section section;
        std::memcpy(&section, data.data() + sizeof(header) + i * sizeof(section), sizeof(section));
        for (std::uint64_t at = 0; at < section.length && crcs + 4 <= data.size(); at += file::block, crcs += 4) {
            if (section.offset > data.size() || section.length > data.size() - section.offset) break;
            const std::uint32_t crc =
                crc32c(data.data() + section.offset + at, std::min<std::uint64_t>(file::block, section.length - at));
            std::memcpy(data.data() + crcs, &crc, sizeof(crc));
        }
    }
    header.table_crc =
        crc32c(data.data() + sizeof(header), std::min<std::size_t>(header.table_bytes, data.size() - sizeof(header)));
    header.crc = crc32c(&header, offsetof(file::Header, crc));
    std::memcpy(data.data(), &header, sizeof(header));
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
    std::vector<std::string> out;
    for (const bool int8 : {false, true}) {
        for (const std::size_t exact_below : {4u, 1000u}) {
            Options options{.dim = dim, .metric = int8 ? Metric::l2 : Metric::cosine};
            options.m = 3;
            options.ef_construction = 8;
            options.exact_below = exact_below;
            options.int8 = int8;
            out.push_back(saved(options, 20));
            options.keep_f32 = int8;
            options.metric = int8 ? Metric::ip : Metric::l1;
            out.push_back(saved(options, 12));
        }
    }
    return out;
}

// The last byte chooses how the file is opened, and whether it is forged.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const fuzz::File file;
    if (size == 0) return 0;
    const std::uint8_t way = bytes[size - 1];
    std::string data(reinterpret_cast<const char*>(bytes), size - 1);
    if (way % 4 != 0) seal(data);
    file.put(data.data(), data.size());
    auto opened = Index::open(file.path(), way % 8 < 4, true, static_cast<Verify>(way / 8 % 3));
    fuzz::refused_or_used(opened, size);
    return 0;
}
