// Freeing what removed vectors still hold: a little in every mutating call, or all of it.
#include <algorithm>

#include "hnsw/index.hpp"

namespace spell::hnsw {
namespace {

constexpr double repair_share = 0.2;
constexpr std::size_t repair_least = 1024;
// How many links a call may mend: at most 2 ms. Not a measured time, which would make the graph depend on it.
constexpr std::size_t repair_links = 1u << 13, repair_numbers = 1u << 21;

}  // namespace

// Starts a repair when enough is dead, or at all events, and goes on with it. True when nothing is left to do.
Result<bool> Index::repair(bool all, std::int64_t threads, Compaction& done) {
    if (!graph_ || !graph_->linked) {
        return true;
    }
    const double share =
        static_cast<double>(dead_.size()) / static_cast<double>(std::max<std::size_t>(1, rows_->used()));
    if (dying_.empty() && (all ? !dead_.empty() : dead_.size() > repair_least && share > repair_share)) {
        std::swap(dying_, dead_);
        std::for_each(dying_.begin(), dying_.end(), [&](Slot slot) { graph_->head(slot).dead = Graph::dying; });
        mended_ = 0;
        dead_.reserve(dying_.capacity());
    }
    return dying_.empty() ? Result<bool>(true) : mend_some(all, threads, done);
}

Result<bool> Index::mend_some(bool all, std::int64_t threads, Compaction& done) {
    const std::size_t batch = all ? 1024 : 16, end = rows_->used();
    const std::size_t most = std::min(repair_links, repair_numbers / dim());
    for (std::size_t work = 0; mended_ < end; mended_ = std::min(end, mended_ + batch)) {
        if (!all && work > most) {
            return false;
        }
        const auto mending =
            graph_->mend(static_cast<Slot>(mended_), static_cast<Slot>(std::min(end, mended_ + batch)), threads);
        if (!mending) {
            return mending.error();
        }
        done.relinked += mending.value().relinked;
        work += mending.value().work;
    }
    const Entry entry = graph_->entry();
    if (entry.slot != no_slot && graph_->head(entry.slot).dead != 0) {
        graph_->move_entry(rows_->used());
    }
    rows_->reserve_free(dying_.size());
    {
        const auto lock = write();
    }  // readers that still hold one of them leave
    for (const Slot slot : dying_) {
        if (rows_->has_floats()) {
            std::fill_n(rows_->vector(slot), dim(), 0.0f);
        }
        graph_->forget(slot);
        rows_->give_back(slot);
    }
    done.removed += dying_.size();
    done.bytes_freed += dying_.size() * (graph_->records().stride() + (options_.floats() ? dim() * sizeof(float) : 0));
    dying_.clear();
    return dead_.empty();
}

void Index::drop_graph() {
    std::unique_ptr<Graph> gone;
    Rows::Floats floats;
    if (graph_->tails() != nullptr) {
        floats = rows_->floats(dim(), [&](Slot slot, float* out) { graph_->decode(slot, out); });
    }
    const auto lock = write();
    graph_->linked = false;
    is_graph_.store(false, std::memory_order_relaxed);
    if (!floats.empty()) {
        rows_->set_floats(dim(), std::move(floats));
    }
    if (options_.floats()) {
        std::swap(gone, graph_);
    } else {
        graph_->unlink();
    }
}

Status Index::repair_all(std::int64_t threads, Compaction& done) {
    for (;;) {
        const auto repaired = repair(true, threads, done);
        if (!repaired || repaired.value()) {
            return repaired ? Status(Done{}) : Status(repaired.error());
        }
    }
}

Result<Compaction> Index::compact(std::int64_t threads) noexcept {
    return guarded<Compaction>([&]() -> Result<Compaction> {
        if (threads < 0 || threads > 256) {
            return Error{Errc::invalid_argument, threads, 0, "threads", "0 to 256"};
        }
        const std::lock_guard writing(writer_);
        if (const Status open = writable(); !open) {
            return open.error();
        }
        Compaction done;
        if (const Status repaired = repair_all(threads, done); !repaired) {
            return repaired.error();
        }
        if (graph_ && graph_->linked && map_.count() <= options_.exact_below / 2) {
            drop_graph();
        }
        const auto lock = write();
        columns_.tidy(rows_->used());
        ++generation_;
        return done;
    });
}

}  // namespace spell::hnsw
