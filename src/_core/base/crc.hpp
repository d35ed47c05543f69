// CRC-32C (Castagnoli), by the instruction of the processor where it has one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spell {

std::uint32_t crc32c(const void* bytes, std::size_t count, std::uint32_t before = 0) noexcept;

}  // namespace spell
