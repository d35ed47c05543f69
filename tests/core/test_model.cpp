// Random calls against a plain map, for every metric and way of keeping vectors.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "hnsw/index.hpp"

using spell::exact::Metric;
using spell::hnsw::Attrs;
using spell::hnsw::Filter;
using spell::hnsw::Index;
using spell::hnsw::Op;
using spell::hnsw::Options;
using spell::hnsw::Search;
using spell::hnsw::Verify;

namespace {

constexpr std::size_t dim = 12;

struct Row {
    std::vector<float> vector;
    std::int64_t mark;
};
using Model = std::map<std::int64_t, Row>;

double distance(Metric metric, const float* a, const float* b) {
    double dot = 0, aa = 0, bb = 0, squares = 0, sum = 0;
    for (std::size_t i = 0; i < dim; ++i) {
        const double x = a[i], y = b[i];
        dot += x * y;
        aa += x * x;
        bb += y * y;
        squares += (x - y) * (x - y);
        sum += std::fabs(x - y);
    }
    switch (metric) {
        case Metric::cosine: return 1 - dot / std::sqrt(aa * bb);
        case Metric::l2: return std::sqrt(squares);
        case Metric::ip: return -dot;
        case Metric::l1: break;
    }
    return sum;
}

class Play {
 public:
    Play(const Options& options, unsigned seed) : index_(std::make_unique<Index>(options)), source_(seed) {}

    void run(int steps) {
        for (int step = 0; step < steps; ++step) {
            switch (below(8)) {
                case 0:
                case 1:
                case 2: add(); break;
                case 3: remove(); break;
                case 4: mark(); break;
                case 5: CHECK(index_->compact(static_cast<std::int64_t>(1 + below(3)))); break;
                case 6: reopen(); break;
                default: CHECK(below(6) != 0 || (index_->clear() && clear()));
            }
            CHECK(index_->is_sound() && index_->size() == model_.size());
            search();
        }
    }

 private:
    std::size_t below(std::size_t end) { return source_() % end; }
    bool clear() {
        model_.clear();
        return true;
    }
    std::vector<float> drawn(std::size_t count) {
        std::normal_distribution<float> normal;
        std::vector<float> out(count * dim);
        for (float& value : out) value = normal(source_);
        return out;
    }
    std::vector<std::int64_t> some_keys() {
        std::vector<std::int64_t> keys(1 + below(70));
        for (std::int64_t& key : keys) key = static_cast<std::int64_t>(below(300));
        return keys;
    }

    void add() {
        const auto keys = some_keys();
        const auto vectors = drawn(keys.size());
        const auto number = static_cast<std::int64_t>(below(3));
        const std::vector<Attrs> attrs(keys.size(), Attrs{{"n", number}});
        const std::size_t before = model_.size();
        for (std::size_t i = 0; i < keys.size(); ++i) {
            const auto* begin = vectors.data() + i * dim;
            model_[keys[i]] = {{begin, begin + dim}, number};
        }
        const auto added = index_->add({keys, vectors.data(), attrs, true, static_cast<std::int64_t>(1 + below(3))});
        CHECK(added && static_cast<std::size_t>(added.value()) == model_.size() - before);
    }
    void remove() {
        const auto keys = some_keys();
        std::int64_t gone = 0;
        for (const std::int64_t key : keys) gone += static_cast<std::int64_t>(model_.erase(key));
        CHECK(index_->remove(keys).value() == gone);
    }
    void mark() {
        const auto keys = some_keys();
        std::int64_t changed = 0;
        for (const std::int64_t key : keys) {
            const auto found = model_.find(key);
            changed += found != model_.end() ? 1 : 0;
            if (found != model_.end()) found->second.mark = 7;
        }
        const std::vector<Attrs> attrs(keys.size(), Attrs{{"n", std::int64_t{7}}});
        CHECK(index_->set_attrs(keys, attrs, below(2) == 0).value() == changed);
    }
    void reopen() {
        const std::string path = "/tmp/core-model-" + std::to_string(::getpid()) + ".lsvx";
        CHECK(index_->save(path, false, "m"));
        auto opened = Index::open(path, below(2) == 0, true, static_cast<Verify>(below(3)));
        ::unlink(path.c_str());
        CHECK(opened);
        index_ = std::move(opened.value());
    }

    void search() {
        const auto query = drawn(1);
        const Filter seven{.op = Op::eq, .field = "n", .values = {std::int64_t{7}}, .parts = {}};
        const bool filtered = below(2) == 0;
        std::vector<std::pair<double, std::int64_t>> wanted;
        for (const auto& [key, row] : model_) {
            if (!filtered || row.mark == 7) {
                wanted.emplace_back(distance(index_->metric(), query.data(), row.vector.data()), key);
            }
        }
        std::sort(wanted.begin(), wanted.end());
        const std::size_t all = wanted.size(), k = 1 + below(20);
        wanted.resize(std::min(all, k));
        const Filter* filter = filtered ? &seven : nullptr;
        const double close = index_->options().floats() ? 1e-4 : 0.3;
        for (const bool exact : {true, false}) {
            const auto found = index_->search(
                query.data(), Search{.k = static_cast<std::int64_t>(k), .ef = 80, .filter = filter, .exact = exact});
            CHECK(found && found.value().hits.size() == wanted.size());
            CHECK(!exact || found.value().exhausted == (all <= k));
            CHECK(!found.value().exhausted || all <= k);
            for (std::size_t i = 0; i < wanted.size(); ++i) {
                const auto& hit = found.value().hits[i];
                const auto row = model_.find(hit.key);
                CHECK(row != model_.end() && (!filtered || row->second.mark == 7));
                const double own = distance(index_->metric(), query.data(), row->second.vector.data());
                CHECK(std::fabs(hit.distance - own) <= close * std::max(1.0, std::fabs(own)));
                CHECK(!exact || std::fabs(hit.distance - wanted[i].first) <= close * std::max(1.0, std::fabs(own)));
            }
        }
    }

    std::unique_ptr<Index> index_;
    Model model_;
    std::mt19937 source_;
};

}  // namespace

TEST(any_sequence_of_calls_leaves_what_a_map_holds) {
    unsigned seed = 1;
    for (const Metric metric : {Metric::cosine, Metric::l2, Metric::ip, Metric::l1}) {
        for (int way = 0; way < (metric == Metric::l1 ? 1 : 3); ++way) {
            Options options{.dim = dim, .metric = metric};
            options.m = 3;
            options.ef_construction = 12;
            options.exact_below = way == 1 ? 60 : 15;
            options.int8 = way != 0;
            options.keep_f32 = way == 2;
            for (int game = 0; game < 3; ++game) Play(options, seed++).run(40);
        }
    }
}
