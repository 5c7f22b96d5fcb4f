#include "engine/plan_cache.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "device/host/caches.hpp"
#include "engine/roll_call.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

/// A full cache starts afresh. Programs repeat a few calls (one per bucket of gradients); those
/// that do not gain nothing from a cleverer rule, and building a plan takes some 10 us.
constexpr std::size_t most_known = 256;

template <typename T>
void mix(std::size_t& seed, const T& value) {
    // The golden ratio spreads neighbouring values (Knuth, TAOCP 3, 6.4).
    seed ^= std::hash<T>()(value) + 0x9e3779b97f4a7c15ULL + (seed << 6) + (seed >> 2);
}

template <typename Map>
const auto& remember(Map& known, typename Map::key_type key, typename Map::mapped_type value) {
    if (known.size() >= most_known) known.clear();
    return known.emplace(std::move(key), std::move(value)).first->second;
}

}  // namespace

std::size_t PlanCache::Hash::operator()(const KeyView& key) const {
    std::size_t seed = 0;
    mix(seed, static_cast<int>(key.request.collective));
    mix(seed, key.request.count);
    mix(seed, key.request.root);
    mix(seed, key.request.in_place);
    for (const std::uint64_t count : key.request.counts) mix(seed, count);
    for (const std::uint64_t count : key.request.recv_counts) mix(seed, count);
    mix(seed, key.element_size);
    mix(seed, key.algorithm);
    mix(seed, key.chunk_bytes);
    return seed;
}

std::size_t PlanCache::Hash::operator()(const MessageKey& key) const {
    std::size_t seed = 0;
    mix(seed, static_cast<int>(key.kind));
    mix(seed, key.peer);
    mix(seed, key.bytes);
    return seed;
}

bool PlanCache::Equal::operator()(const KeyView& a, const KeyView& b) const {
    return a.request == b.request && a.element_size == b.element_size &&
           a.algorithm == b.algorithm && a.chunk_bytes == b.chunk_bytes &&
           a.with_counts == b.with_counts && a.fits_slot == b.fits_slot && a.reach == b.reach;
}

std::shared_ptr<const Plan> PlanCache::collective(const Request& request, const Call& call,
                                                  Reach reach) {
    const std::size_t element = size_of(call.dtype);
    const bool with_counts = !request.counts.empty();
    // The request says it all.
    constexpr bool fits = false;
    const KeyView key{request, element, call.algorithm, call.chunk_bytes, with_counts, fits, reach};
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;

    const Choice chosen = choice(request, call, reach);
    Request full = request;
    full.chunk = chosen.chunk;
    return remember(
        plans_, Key{request, element, call.algorithm, call.chunk_bytes, with_counts, fits, reach},
        std::make_shared<const Plan>(chosen.algorithm->build(full), element,
                                     window(chosen.chunk * element), cached(request)));
}

/// Messages under way at once from one rank to another.
std::uint32_t PlanCache::window(std::size_t chunk_bytes) const {
    const bool through_host = model_.staging.alpha > 0 || model_.staging.beta > 0;
    return through_host ? pipeline_depth(static_cast<double>(chunk_bytes), model_)
                        : Plan::default_window;
}

/// Of the ranks of all nodes, each of which has caches of its own.
double PlanCache::cached(const Request& request) const {
    const double of_node =
        model_.cached > 0 ? model_.cached : static_cast<double>(host::most_cached());
    const auto last = std::ranges::max_element(request.nodes);
    return of_node * (last == request.nodes.end() ? 1 : *last + 1);
}

const std::shared_ptr<const Plan>& PlanCache::meeting(int rank, int size,
                                                      std::span<const int> ranks) {
    if (!meeting_) {
        ScheduleBuilder builder({.collective = Collective::barrier, .rank = rank, .size = size});
        for (const int peer : ranks) {
            if (peer != rank) builder.signal(peer);
        }
        for (const int peer : ranks) {
            if (peer != rank) builder.wait(peer);
        }
        meeting_ = std::make_shared<const Plan>(std::move(builder).build(), 1);
    }
    return meeting_;
}

const std::shared_ptr<const Plan>& PlanCache::showing(int rank, int size, std::uint64_t words) {
    auto& plan = showings_[words];
    if (!plan) {
        plan = std::make_shared<const Plan>(roll_call(rank, size, words), sizeof(std::uint64_t));
    }
    return plan;
}

std::shared_ptr<const Plan> PlanCache::message(StepKind kind, int rank, int size, int peer,
                                               std::size_t bytes) {
    const MessageKey key{kind, peer, bytes};
    if (const auto found = messages_.find(key); found != messages_.end()) return found->second;

    Step step{.kind = kind, .peer = peer, .dst = {}, .srcs = {}, .after = {}};
    if (kind == StepKind::send) {
        step.srcs.push_back({Buffer::input, 0, bytes});
    } else {
        step.dst = {Buffer::output, 0, bytes};
    }
    const Schedule schedule{.rank = rank, .size = size, .steps = {std::move(step)}};
    return remember(messages_, key, std::make_shared<const Plan>(schedule, 1));
}

Choice PlanCache::choice(const Request& request, const Call& call, Reach reach) {
    const std::size_t element = size_of(call.dtype);
    Key key{shared_request(request, element),
            element,
            call.algorithm,
            call.chunk_bytes,
            !request.counts.empty(),
            fits_slot(request, element),
            reach};
    if (const auto found = choices_.find(key); found != choices_.end()) return found->second;
    return remember(choices_, std::move(key),
                    choose(request, element, model_, call.algorithm, call.chunk_bytes, reach,
                           wishes_[static_cast<std::size_t>(request.collective)]));
}

void PlanCache::clear() {
    plans_.clear();
    messages_.clear();
    choices_.clear();
}

}  // namespace pycoll
