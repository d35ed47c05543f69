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
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(const unsigned char* bytes, std::size_t count,
                                                               std::uint32_t crc) noexcept {
    std::uint64_t wide = crc;
    for (; count >= 8; bytes += 8, count -= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
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
