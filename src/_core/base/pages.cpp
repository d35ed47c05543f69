#include "base/pages.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace spell {

Pages pages(std::size_t bytes) {
#if defined(__linux__)
    constexpr std::size_t huge_page = std::size_t{1} << 21;
    if (bytes >= 2 * huge_page) {
        void* const all = mmap(nullptr, bytes + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED) {
            throw std::bad_alloc();
        }
        auto* const begin = static_cast<unsigned char*>(all);
        const std::size_t skipped = (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
        (void)madvise(begin + skipped, bytes, MADV_HUGEPAGE);  // a wish; refusal costs speed only
        return Pages(begin + skipped, {begin, bytes + huge_page});
    }
#endif
    const std::size_t size = (bytes + 63) / 64 * 64;
    void* const memory = std::aligned_alloc(64, size);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    std::memset(memory, 0, size);
    return Pages(static_cast<unsigned char*>(memory), {});
}

void give_back() noexcept {
#if defined(__GLIBC__)
    (void)malloc_trim(0);
#endif
}

void FreePages::operator()(unsigned char* bytes) const noexcept {
#if defined(__linux__)
    if (mapped != nullptr) {
        (void)munmap(mapped, size);
        return;
    }
#endif
    std::free(bytes);
}

}  // namespace spell
