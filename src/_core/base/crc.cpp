#include "base/crc.hpp"

#include <array>
#include <cstring>

#include "base/cpu.hpp"

namespace spell {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) {
            value = (value & 1) != 0 ? (value >> 1) ^ 0x82F63B78u : value >> 1;
        }
        table[i] = value;
    }
    return table;
}

constexpr std::array<std::uint32_t, 256> table = make_table();

std::uint32_t by_table(const unsigned char* bytes, std::size_t count, std::uint32_t crc) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        crc = table[(crc ^ bytes[i]) & 0xFF] ^ (crc >> 8);
    }
    return crc;
}

#if defined(__x86_64__)
// The instruction has a latency of three: three parts of a run are read side by side and joined by what as many zero
// bytes as follow do to a checksum, a linear map of its 32 bits.
using Map = std::array<std::uint32_t, 32>;
using Joint = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr std::uint32_t image(const Map& map, std::uint32_t crc) {
    std::uint32_t out = 0;
    for (std::size_t bit = 0; crc != 0; ++bit, crc >>= 1) {
        out ^= (crc & 1) != 0 ? map[bit] : 0;
    }
    return out;
}

// The map of 2^power zero bytes.
constexpr Joint make_joint(unsigned power) {
    Map map{};
    for (std::size_t bit = 0; bit < map.size(); ++bit) {
        const std::uint32_t crc = std::uint32_t{1} << bit;
        map[bit] = table[crc & 0xFF] ^ (crc >> 8);
    }
    for (; power != 0; --power) {
        Map twice{};
        for (std::size_t bit = 0; bit < map.size(); ++bit) {
            twice[bit] = image(map, map[bit]);
        }
        map = twice;
    }
    Joint joint{};
    for (std::size_t byte = 0; byte < joint.size(); ++byte) {
        for (std::uint32_t value = 0; value < 256; ++value) {
            joint[byte][value] = image(map, value << (8 * byte));
        }
    }
    return joint;
}

constexpr unsigned long_power = 12, short_power = 8;
constexpr Joint long_joint = make_joint(long_power), short_joint = make_joint(short_power);

inline std::uint64_t joined(const Joint& joint, std::uint64_t crc, std::uint64_t next) noexcept {
    return joint[0][crc & 0xFF] ^ joint[1][crc >> 8 & 0xFF] ^ joint[2][crc >> 16 & 0xFF] ^ joint[3][crc >> 24] ^ next;
}

inline std::uint64_t word(const unsigned char* bytes) noexcept {
    std::uint64_t out = 0;
    std::memcpy(&out, bytes, sizeof(out));
    return out;
}

__attribute__((target("sse4.2"))) std::uint64_t by_three(const unsigned char*& bytes, std::size_t& count,
                                                         std::uint64_t crc, const Joint& joint,
                                                         std::size_t part) noexcept {
    for (; count >= 3 * part; bytes += 3 * part, count -= 3 * part) {
        std::uint64_t second = 0, third = 0;
        for (std::size_t i = 0; i < part; i += 8) {
            crc = __builtin_ia32_crc32di(crc, word(bytes + i));
            second = __builtin_ia32_crc32di(second, word(bytes + part + i));
            third = __builtin_ia32_crc32di(third, word(bytes + 2 * part + i));
        }
        crc = joined(joint, joined(joint, crc, second), third);
    }
    return crc;
}

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(const unsigned char* bytes, std::size_t count,
                                                               std::uint32_t crc) noexcept {
    std::uint64_t wide = by_three(bytes, count, crc, long_joint, std::size_t{1} << long_power);
    wide = by_three(bytes, count, wide, short_joint, std::size_t{1} << short_power);
    for (; count >= 8; bytes += 8, count -= 8) {
        wide = __builtin_ia32_crc32di(wide, word(bytes));
    }
    return by_table(bytes, count, static_cast<std::uint32_t>(wide));
}
#endif

}  // namespace

std::uint32_t crc32c(const void* bytes, std::size_t count, std::uint32_t before) noexcept {
    const auto* from = static_cast<const unsigned char*>(bytes);
#if defined(__x86_64__)
    if (cpu().sse42) {
        return ~by_instruction(from, count, ~before);
    }
#endif
    return ~by_table(from, count, ~before);
}

}  // namespace spell
