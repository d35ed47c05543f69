#include "hnsw/contents.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/pages.hpp"

namespace spell::hnsw {

Status contents(const std::string& path, bool mapped, std::shared_ptr<void>& bytes, std::size_t& size) {
    // A pipe would wait here for its other end.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return Error{Errc::io, errno, 0, "open"};
    }
    const std::shared_ptr<void> closing(nullptr, [fd](void*) { ::close(fd); });
    struct stat found{};
    if (::fstat(fd, &found) != 0) {
        return Error{Errc::io, errno, 0, "open"};
    }
    size = static_cast<std::size_t>(found.st_size);
    if (!S_ISREG(found.st_mode) || size == 0) {
        return broken("header", 0);
    }
    if (mapped) {
        void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
        if (at == MAP_FAILED) {
            return Error{Errc::io, errno, 0, "open"};
        }
        bytes = std::shared_ptr<void>(at, [size](void* begin) { ::munmap(begin, size); });
        return Done{};
    }
    bytes = pages(size);
    for (std::size_t at = 0; at < size;) {
        const ssize_t done = ::pread(fd, static_cast<char*>(bytes.get()) + at, size - at, static_cast<off_t>(at));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? Error{Errc::io, errno, 0, "open"} : broken("header", at);
        }
        at += static_cast<std::size_t>(done);
    }
    return Done{};
}

}  // namespace spell::hnsw
