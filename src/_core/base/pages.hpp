// Zeroed memory on the largest pages there are: what is read all over misses the tables of small pages at every step.
#pragma once

#include <cstddef>
#include <memory>

namespace spell {

struct FreePages {
    void* mapped = nullptr;  // what the system gave, when it did
    std::size_t size = 0;
    void operator()(unsigned char* bytes) const noexcept;
};
using Pages = std::unique_ptr<unsigned char, FreePages>;

// Aligned to 64 bytes. Large blocks come from the system, so that what is not used of them costs nothing. Throws
// bad_alloc.
Pages pages(std::size_t bytes);

// Gives freed memory that the allocator holds back to the system: for the end of work that needed much for a while.
void give_back() noexcept;

}  // namespace spell
