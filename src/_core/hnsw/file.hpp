// The file of an index, little endian:
//   header (128 bytes) | section table | CRC-32C of every 64 KiB of every section | sections, each on a cache line
// Everything a reader uses to find its way is checked before use; numbers of neighbours are checked on every visit.
#pragma once

#include <array>
#include <cstdint>

namespace spell::hnsw::file {

constexpr std::size_t block = 65536;
constexpr std::uint16_t format = 1;
constexpr std::size_t longest_tag = 4096;

enum Id : std::uint16_t { keys, live, records, upper, vectors, scales, columns, tag, tails, spilled, sections };
constexpr std::array<const char*, sections> names{"keys",   "live",    "records", "upper", "vectors",
                                                  "scales", "columns", "tag",     "tails", "spilled"};

enum Flag : std::uint16_t { linked = 1, keeps_f32 = 2, wild = 4 };

struct Header {
    char magic[4];
    std::uint16_t format, flags;
    std::uint32_t dim;
    std::uint8_t metric, int8;
    std::uint16_t m;
    std::uint32_t ef_construction, ef_search;
    std::uint64_t seed, count, slots, entry;
    std::uint8_t max_level, reserved;
    std::uint16_t tag_length, section_count, reserved2;
    std::uint64_t generation, max_elements, exact_below, blocks;
    std::uint32_t table_bytes, table_crc;
    char padding[20];
    std::uint32_t crc;  // of everything before
};
static_assert(sizeof(Header) == 128);

struct Section {
    std::uint16_t id, reserved;
    std::uint32_t crcs;  // how many blocks
    std::uint64_t offset, length;
};
static_assert(sizeof(Section) == 24);

}  // namespace spell::hnsw::file
