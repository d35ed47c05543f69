// VectorIndex.import_hnswlib: any bytes.
#include <cmath>
#include <cstring>

#include "use.hpp"

using namespace spell::hnsw;

namespace {

constexpr std::uint64_t dim = 4, m = 2, count = 9;

template <class T>
void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// As the library writes it: a ring of elements, every third also in a ring one layer higher.
std::string saved() {
    std::string out;
    const std::uint64_t vector_at = (2 * m + 1) * 4, label_at = vector_at + dim * 4;
    for (const std::uint64_t number : {std::uint64_t{0}, count + 1, count, label_at + 8, label_at, vector_at}) {
        put(out, number);
    }
    put(out, std::int32_t{1});
    put(out, std::uint32_t{0});
    for (const std::uint64_t number : {m, 2 * m, m}) put(out, number);
    put(out, 1.0 / std::log(static_cast<double>(m)));
    put(out, std::uint64_t{20});
    for (std::uint32_t i = 0; i < count; ++i) {
        put(out, std::uint32_t{i == 4 ? 0x10002u : 2u});
        for (const std::uint32_t step : {1u, 8u, 0u, 0u}) put(out, step == 0 ? 0 : (i + step) % 9);
        for (std::uint32_t j = 0; j < dim; ++j) put(out, std::sin(static_cast<float>(i * i + j)));
        put(out, std::uint64_t{i});
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        put(out, i % 3 == 0 ? static_cast<std::uint32_t>((m + 1) * 4) : 0u);
        if (i % 3 == 0) {
            put(out, std::uint32_t{2});
            for (const std::uint32_t step : {3u, 6u}) put(out, (i + step) % 9);
        }
    }
    return out;
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
    return {saved() + '\0', saved() + '\1', saved() + '\3', saved() + '\x20', saved() + '\x31'};
}

// The last byte chooses the options.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const fuzz::File file;
    if (size == 0) return 0;
    const std::uint8_t way = bytes[size - 1];
    file.put(bytes, size - 1);
    Options options{.dim = dim, .metric = way % 3 == 0 ? Metric::l2 : way % 3 == 1 ? Metric::cosine : Metric::ip};
    options.exact_below = way % 5 == 0 ? 100 : 2;
    options.int8 = way / 16 % 2 == 1;
    options.keep_f32 = way / 32 % 2 == 1;
    auto read = Index::import_hnswlib(file.path(), options);
    fuzz::refused_or_used(read, size);
    REQUIRE(!read || read.value()->is_sound());
    return 0;
}
