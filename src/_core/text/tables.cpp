#include "text/tables.hpp"

#include <algorithm>
#include <iterator>

namespace spell::text {
namespace {

#include "text/tables_data.inc"

template <class Index, class Blocks>
std::uint8_t look_up(const Index& index, const Blocks& blocks, char32_t code) noexcept {
    return code < 0x110000 ? blocks[index[code / block_size] * block_size + code % block_size] : std::uint8_t{0};
}

template <class Keys, class Starts, class Pool>
std::span<const std::uint32_t> find(const Keys& keys, const Starts& starts, const Pool& pool, char32_t code) noexcept {
    const auto* at = std::lower_bound(std::begin(keys), std::end(keys), static_cast<std::uint32_t>(code));
    if (at == std::end(keys) || *at != code) {
        return {};
    }
    const auto i = static_cast<std::size_t>(at - std::begin(keys));
    return {pool + starts[i], pool + starts[i + 1]};
}

bool continuation(std::string_view text, std::size_t at) noexcept {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

}  // namespace

std::uint8_t flags(char32_t code) noexcept {
    return look_up(flag_index, flag_blocks, code);
}

std::uint8_t combining_class(char32_t code) noexcept {
    return look_up(order_index, order_blocks, code);
}

Cluster cluster_of(char32_t code) noexcept {
    return static_cast<Cluster>(look_up(cluster_index, cluster_blocks, code) & 15);
}

Conjunct conjunct_of(char32_t code) noexcept {
    return static_cast<Conjunct>(look_up(cluster_index, cluster_blocks, code) >> 4);
}

std::span<const std::uint32_t> decomposition(char32_t code) noexcept {
    return find(nfkd_keys, nfkd_starts, nfkd_pool, code);
}

std::span<const std::uint32_t> folding(char32_t code) noexcept {
    return find(fold_keys, fold_starts, fold_pool, code);
}

char32_t composite(char32_t first, char32_t second) noexcept {
    const auto* begin = std::lower_bound(std::begin(compose_first), std::end(compose_first), first);
    for (auto i = static_cast<std::size_t>(begin - compose_first);
         i < std::size(compose_first) && compose_first[i] == first; ++i) {
        if (compose_second[i] == second) {
            return compose_result[i];
        }
    }
    return 0;
}

char32_t next_code_point(std::string_view text, std::size_t& at) noexcept {
    const auto lead = static_cast<unsigned char>(text[at]);
    const auto bits = [&](std::size_t i) {
        return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]) & 0x3F);
    };
    if (lead < 0x80) {
        ++at;
        return lead;
    }
    char32_t code = 0xFFFD;
    std::size_t size = 1;
    if (lead >= 0xC2 && lead < 0xE0 && continuation(text, at + 1)) {
        code = (lead & 0x1Fu) << 6 | bits(1);
        size = 2;
    } else if (lead >= 0xE0 && lead < 0xF0 && continuation(text, at + 1) && continuation(text, at + 2)) {
        code = (lead & 0x0Fu) << 12 | bits(1) << 6 | bits(2);
        size = 3;
    } else if (lead >= 0xF0 && lead < 0xF5 && continuation(text, at + 1) && continuation(text, at + 2) &&
               continuation(text, at + 3)) {
        code = (lead & 0x07u) << 18 | bits(1) << 12 | bits(2) << 6 | bits(3);
        size = 4;
    }
    at += size;
    return code < 0x110000 ? code : 0xFFFD;
}

}  // namespace spell::text
