// Runs a target on mutations of its seeds: usage, TARGET [--seconds S | --runs N] [--seed N] [FILE...]
// In a build with coverage (-fsanitize-coverage=trace-pc of GCC and Clang) an input that reaches a new branch becomes a
// seed. The input of a crash, a hang of 20 s or an absurd allocation is left in crash-TARGET.
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>

#include "fuzz.hpp"

namespace {

std::string current, crash_path;
std::array<bool, 1u << 20> reached;
bool found_new = false;
std::mt19937_64 source;

void keep_input(int number) {
    const int fd = ::open(crash_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0) {
        const auto ignored = ::write(fd, current.data(), current.size());
        (void)ignored;
    }
    std::signal(number, SIG_DFL);
    ::raise(number);
}

std::size_t below(std::size_t end) {
    return end == 0 ? 0 : source() % end;
}

std::uint64_t odd_number() {
    constexpr std::array<std::uint64_t, 12> known{0,        1,          0x7F,       0x80,       0xFFFF,     0x7FFFFFFF,
                                                  1u << 31, 0xFFFFFFFF, 1ull << 32, ~0ull >> 1, 1ull << 63, ~0ull};
    return below(4) == 0 ? source() : known[below(known.size())] + below(3) - 1;
}

void mutate(std::string& data, const std::vector<std::string>& corpus, std::size_t longest) {
    for (std::size_t left = 1 + below(1u << below(5)); left != 0; --left) {
        const std::size_t at = below(data.size() + 1), room = data.size() - at;
        switch (below(7)) {
            case 0:
                if (room != 0) data[at] = static_cast<char>(data[at] ^ (1 << below(8)));
                break;
            case 1:
                if (room != 0) data[at] = static_cast<char>(source());
                break;
            case 2: {
                const std::uint64_t number = odd_number();
                std::memcpy(data.data() + at, &number, std::min(room, std::size_t{1} << below(4)));
                break;
            }
            case 3: data.erase(at, below(std::min<std::size_t>(room, 64) + 1)); break;
            case 4: data.insert(at, data.substr(below(data.size() + 1), below(64))); break;
            case 5: {
                const std::string& other = corpus[below(corpus.size())];
                const std::string part = other.substr(below(other.size() + 1), below(256));
                data.replace(at, std::min(room, part.size()), part);
                break;
            }
            default:
                if (below(16) == 0) data.resize(at);
        }
    }
    data.resize(std::min(data.size(), longest));
}

void run(const std::string& input) {
    current = input;
    ::alarm(20);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
}

}  // namespace

// The runtimes look for these in the program.
#define VISIBLE __attribute__((visibility("default")))

extern "C" {
VISIBLE void __sanitizer_cov_trace_pc() {
    const auto from = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
    bool& seen = reached[(from ^ from >> 20) % reached.size()];
    found_new = found_new || !seen;
    seen = true;
}
VISIBLE const char* __asan_default_options() {
    return "abort_on_error=1:handle_segv=2:handle_sigbus=2:handle_sigfpe=2:max_allocation_size_mb=256:detect_leaks=0";
}
VISIBLE const char* __ubsan_default_options() {
    return "abort_on_error=1:print_stacktrace=1";
}
}

int main(int count, char** words) {
    double seconds = 0.0;
    std::uint64_t runs = 0, done = 0, seed = 1;
    const std::string name = std::string(words[0]).substr(std::string(words[0]).find_last_of('/') + 1);
    crash_path = "crash-" + name;
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM}) std::signal(number, keep_input);
    std::vector<std::string> corpus = fuzz::seeds();
    bool replay = false;
    for (int i = 1; i < count; ++i) {
        const std::string_view word = words[i];
        if (i + 1 < count && word.starts_with("--")) {
            const double value = std::strtod(words[++i], nullptr);
            seconds = word == "--seconds" ? value : seconds;
            runs = word == "--runs" ? static_cast<std::uint64_t>(value) : runs;
            seed = word == "--seed" ? static_cast<std::uint64_t>(value) : seed;
        } else {
            std::ifstream in(words[i], std::ios::binary);
            run({std::istreambuf_iterator<char>(in), {}});
            replay = true;
        }
    }
    if (replay) return 0;
    source.seed(seed);
    std::size_t longest = 4096;
    for (const std::string& input : corpus) {
        run(input);
        longest = std::max(longest, 2 * input.size());
    }
    found_new = false;
    const auto begin = std::chrono::steady_clock::now();
    const auto spent = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
    for (; runs != 0 ? done < runs : spent() < seconds; ++done) {
        std::string input = corpus[below(corpus.size())];
        mutate(input, corpus, longest);
        run(input);
        if (found_new && corpus.size() < 20000) corpus.push_back(input);
        found_new = false;
    }
    std::printf("%s: %llu executions in %.1f s, %zu inputs kept\n", name.c_str(), static_cast<unsigned long long>(done),
                spent(), corpus.size());
    return 0;
}
