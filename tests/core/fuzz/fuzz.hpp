// What a fuzz target gives the driver. The entry has the name libFuzzer calls, so that it links to that as well.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            std::fprintf(stderr, "%s:%d: REQUIRE(%s)\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                 \
        }                                                                                 \
    } while (false)

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

std::vector<std::string> seeds();

// A file of its own, in memory where the system has such a place.
class File {
 public:
    File() : path_(make()) {}
    File(const File&) = delete;
    ~File() { ::unlink(path_.c_str()); }

    const std::string& path() const { return path_; }
    void put(const void* data, std::size_t size) const {
        std::FILE* out = std::fopen(path_.c_str(), "wb");
        REQUIRE(out != nullptr && std::fwrite(data, 1, size, out) == size && std::fclose(out) == 0);
    }
    std::string content() const {
        std::string out;
        std::FILE* in = std::fopen(path_.c_str(), "rb");
        REQUIRE(in != nullptr);
        for (int byte = std::fgetc(in); byte != EOF; byte = std::fgetc(in)) out.push_back(static_cast<char>(byte));
        std::fclose(in);
        return out;
    }

 private:
    static std::string make() {
        for (std::string path : {"/dev/shm/llmspell-fuzz-XXXXXX", "/tmp/llmspell-fuzz-XXXXXX"}) {
            const int fd = ::mkstemp(path.data());
            if (fd >= 0) {
                ::close(fd);
                return path;
            }
        }
        std::abort();
    }
    std::string path_;
};

}  // namespace fuzz
