#include "text/clusters.hpp"

#include "text/tables.hpp"

namespace spell::text {
namespace {

// What the rules need to know about the part of the cluster already read.
struct Seen {
    Cluster last;
    unsigned regional;    // regional indicators in a row
    bool pictograph;      // pictographic Extend*
    bool pictograph_zwj;  // pictographic Extend* ZWJ
    bool consonant;       // consonant [Extend Linker]*
    bool linked;          // ... with a linker among them
};

bool hangul_joins(Cluster a, Cluster b) noexcept {
    switch (a) {
        case Cluster::l: return b == Cluster::l || b == Cluster::v || b == Cluster::lv || b == Cluster::lvt;
        case Cluster::lv:
        case Cluster::v: return b == Cluster::v || b == Cluster::t;
        case Cluster::lvt:
        case Cluster::t: return b == Cluster::t;
        default: return false;
    }
}

bool is_control(Cluster kind) noexcept {
    return kind == Cluster::control || kind == Cluster::cr || kind == Cluster::lf;
}

bool joins(const Seen& seen, Cluster next, Conjunct conjunct) noexcept {
    if (seen.last == Cluster::cr && next == Cluster::lf) {
        return true;
    }
    if (is_control(seen.last) || is_control(next)) {
        return false;
    }
    return hangul_joins(seen.last, next) || next == Cluster::extend || next == Cluster::zwj ||
           next == Cluster::spacing || seen.last == Cluster::prepend ||
           (seen.linked && conjunct == Conjunct::consonant) || (seen.pictograph_zwj && next == Cluster::pictographic) ||
           (next == Cluster::regional && seen.last == Cluster::regional && seen.regional % 2 == 1);
}

void read(Seen& seen, char32_t code, Cluster kind) noexcept {
    const Conjunct conjunct = conjunct_of(code);
    seen.regional = kind == Cluster::regional ? seen.regional + 1 : 0;
    seen.pictograph_zwj = kind == Cluster::zwj && seen.pictograph;
    seen.pictograph = kind == Cluster::pictographic || (kind == Cluster::extend && seen.pictograph);
    if (conjunct == Conjunct::consonant) {
        seen.consonant = true;
        seen.linked = false;
    } else if (conjunct == Conjunct::none) {
        seen.consonant = seen.linked = false;
    } else {
        seen.linked = seen.consonant && (seen.linked || conjunct == Conjunct::linker);
    }
    seen.last = kind;
}

}  // namespace

std::size_t cluster_end(std::string_view text, std::size_t at, char32_t& first) noexcept {
    first = next_code_point(text, at);
    if (first < 0x80 && first != '\r' && (at == text.size() || static_cast<unsigned char>(text[at]) < 0x80)) {
        return at;
    }
    Seen seen{};
    read(seen, first, cluster_of(first));
    while (at < text.size()) {
        std::size_t after = at;
        const char32_t code = next_code_point(text, after);
        const Cluster kind = cluster_of(code);
        if (!joins(seen, kind, conjunct_of(code))) {
            break;
        }
        read(seen, code, kind);
        at = after;
    }
    return at;
}

}  // namespace spell::text
