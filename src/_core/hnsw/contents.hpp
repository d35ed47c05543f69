// The bytes of a file that is about to be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.hpp"

namespace spell::hnsw {

// value, expected: what is there, and what would have been right, where that says more than the place.
inline Error broken(const char* section, std::uint64_t offset, std::int64_t value = 0, const char* expected = "") {
    return {Errc::corrupt, static_cast<std::int64_t>(offset), value, section, expected};
}

// A private map, so that what is changed is copied page by page, or a copy.
Status contents(const std::string& path, bool mapped, std::shared_ptr<void>& bytes, std::size_t& size);

}  // namespace spell::hnsw
