#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "hnsw/quantise.hpp"
#include "hnsw/tails.hpp"

using spell::hnsw::quantise;
using spell::hnsw::Slot;
using spell::hnsw::Tails;

namespace {

constexpr std::size_t dim = 96, note_bytes = Tails::least_note(dim);

std::vector<float> restored(const std::vector<float>& vector) {
    Tails tails(dim, note_bytes);
    auto growth = tails.rows().grown(3);
    tails.rows().commit(growth);
    std::vector<std::int8_t> code(dim);
    std::vector<unsigned char> note(note_bytes);
    const auto coded = quantise(vector.data(), dim, code.data());
    tails.split(1, code.data(), vector.data(), coded.most, note.data());
    std::vector<float> out(dim);
    tails.restore(1, code.data(), note.data(), out.data());
    return out;
}

bool comes_back(const std::vector<float>& vector) {
    const auto out = restored(vector);
    for (std::size_t i = 0; i < dim; ++i) {
        if (std::bit_cast<std::uint32_t>(out[i]) != std::bit_cast<std::uint32_t>(vector[i])) {
            return false;
        }
    }
    return true;
}

}  // namespace

TEST(every_number_comes_back_bit_by_bit_whatever_it_is) {
    std::mt19937 source(5);
    for (int round = 0; round < 20000; ++round) {
        std::vector<float> vector(dim);
        const int spread = round % 3 == 0 ? 254 : 1 + round % 12;  // binades
        const int highest = spread + static_cast<int>(source() % static_cast<unsigned>(255 - spread));
        for (float& value : vector) {
            const auto exponent =
                static_cast<std::uint32_t>(static_cast<unsigned>(highest) - source() % static_cast<unsigned>(spread));
            value = std::bit_cast<float>(static_cast<std::uint32_t>((source() & 0x807FFFFFu) | exponent << 23));
            if (source() % 16 == 0) value = source() % 2 == 0 ? 0.0f : -0.0f;
        }
        CHECK(comes_back(vector));
    }
}

TEST(numbers_on_the_line_between_two_codes_come_back) {
    for (const float most : {1.0f, 0.75f, 127.0f, 3e-39f, 1.1754944e-38f, 3.4028235e38f, 0.1234567f}) {
        for (int step = 0; step < 254; ++step) {
            std::vector<float> vector(dim);
            vector[0] = most;
            float at = static_cast<float>(static_cast<double>(most) / 254.0 * step);
            for (std::size_t i = 1; i < dim; ++i) {
                vector[i] = i % 2 == 0 ? at : -at;
                at = std::nextafter(at, i < dim / 2 ? most : 0.0f);
            }
            CHECK(comes_back(vector));
        }
    }
}

TEST(a_row_with_more_rests_than_its_note_holds_comes_back_and_is_forgotten_when_erased) {
    std::vector<float> vector(dim, 1e-7f);
    vector[0] = 1.0f;
    CHECK(comes_back(vector));
    Tails tails(dim, note_bytes);
    auto growth = tails.rows().grown(1);
    tails.rows().commit(growth);
    std::vector<std::int8_t> code(dim);
    std::vector<unsigned char> note(note_bytes);
    tails.split(0, code.data(), vector.data(), quantise(vector.data(), dim, code.data()).most, note.data());
    CHECK(tails.spilled(0) != nullptr && tails.spilled(0)->size() == dim - 1);
    tails.erase(0);
    CHECK(tails.spilled(0) == nullptr);
    CHECK(!tails.set_spilled(0, {static_cast<std::uint32_t>(dim) << 8}));
}
