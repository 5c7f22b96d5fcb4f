#include "engine/choose.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "algorithms/nodes.hpp"
#include "transport/shared/node.hpp"

namespace pycoll {
namespace {

/// Chunks that are tried, in bytes. Below, the cost per message outweighs the overlap on every
/// transport there is; above, no cache holds a chunk.
constexpr std::array<std::uint64_t, 3> chunk_sizes = {1 << 20, 256 << 10, 64 << 10};

/// The one in which a stage holds one part of a turn, not everybody's.
constexpr std::string_view staged_ring = "staged_ring";

/// Walking through more ranks than this takes longer than the calls it is to speed up.
constexpr int most_ranks_priced = 64;

double walk(const Choice& choice, Request request, std::size_t element_size,
            const CostModel& model) {
    request.chunk = choice.chunk;
    std::vector<Schedule> schedules;
    for (request.rank = 0; request.rank < request.size; ++request.rank) {
        schedules.push_back(choice.algorithm->build(request));
    }
    return price(schedules, element_size, model).seconds;
}

double seconds(const Choice& choice, const Request& shared, std::size_t element_size,
               const CostModel& model) {
    if (shared.size > most_ranks_priced) return std::numeric_limits<double>::quiet_NaN();
    // Once messages consist of several chunks, time grows in proportion to the length (ring: within
    // 0.1% from 2 chunks on; double tree: 6% between 4 and 16): two short calls tell it.
    const bool staged = choice.algorithm->reach == Reach::stages;
    const bool divided = shared.collective == Collective::all_reduce ||
                         shared.collective == Collective::reduce ||
                         (shared.collective == Collective::broadcast && !staged);
    const std::uint64_t blocks = divided ? static_cast<std::uint64_t>(shared.size) : 1;
    const std::uint64_t enough = 4 * blocks * choice.chunk;
    if (choice.chunk == 0 || shared.count <= enough) {
        return walk(choice, shared, element_size, model);
    }
    Request request = shared;
    request.count = enough;
    const double longer = walk(choice, request, element_size, model);
    request.count = enough / 2;
    const double shorter = walk(choice, request, element_size, model);
    const double per_element = (longer - shorter) / static_cast<double>(enough - request.count);
    return longer + per_element * static_cast<double>(shared.count - enough);
}

/// Do messages go through memory of the host, piece by piece? Then every algorithm gains from
/// chunks, and none may do without: what is on its way takes pinned memory.
bool is_staged(const Algorithm& algorithm, const CostModel& model) {
    return algorithm.reach == Reach::messages &&
           (model.staging.alpha > 0 || model.staging.beta > 0);
}

/// The choice of a chunk where nothing is priced: the smallest, unless they are too many to be
/// worth their messages.
Choice unpriced(const Algorithm& algorithm, std::uint64_t bytes, std::size_t element_size) {
    constexpr std::uint64_t most_chunks = 256;
    std::uint64_t best = chunk_sizes.front();
    for (const std::uint64_t chunk_bytes : chunk_sizes) {
        if (bytes / chunk_bytes <= most_chunks) best = chunk_bytes;
    }
    return {&algorithm, best / element_size};
}

/// The longest chunk with which a staged algorithm's two halves fit into a stage.
std::uint64_t most_staged(const Algorithm& algorithm, const Request& request) {
    // A phase that puts a part for every rank of the node, and one that puts its own.
    if (!request.nodes.empty()) {
        const auto local = static_cast<std::uint64_t>(Nodes(request).most());
        return SharedNode::stage_bytes / (2 * (local + 1));
    }
    const auto ranks = static_cast<std::uint64_t>(request.size);
    if (algorithm.name == staged_ring) return SharedNode::stage_bytes / 2;
    switch (request.collective) {
        case Collective::all_reduce:
        case Collective::reduce:
            return SharedNode::stage_bytes / (2 * (ranks + 1));
        case Collective::reduce_scatter:
        case Collective::scatter:
        case Collective::all_to_all:
            return SharedNode::stage_bytes / (2 * ranks);
        case Collective::all_gather:
        case Collective::gather:
        case Collective::broadcast:
        case Collective::barrier:
            break;
    }
    return SharedNode::stage_bytes / 2;
}

/// The chunk in bytes where the kernel copies: each call of it takes some time, and what of all
/// peers is folded should lie in the second-level cache together. All-reduce of 8 MiB on 2 ranks in
/// chunks of 32, 128 and 1024 KiB, us: 1200, 1020 and 1350 (2 MiB of cache).
std::uint64_t direct_by_kernel(const Request& request) {
    constexpr std::uint64_t together = 512 << 10;
    return std::clamp<std::uint64_t>(together / static_cast<std::uint64_t>(request.size), 32 << 10,
                                     128 << 10);
}

/// The chunk of algorithms over shared memory, in elements: what all ranks work on at the same time
/// should stay in the cache. On a GPU there is none to speak of, and every chunk is launched.
std::uint64_t shared_chunk(const Algorithm& algorithm, const Request& request,
                           std::size_t element_size, std::uint64_t wanted_bytes,
                           const CostModel& model) {
    // Any length from 16 to 128 KiB took the same time within 10% (all-reduce of 256 KiB to 32 MiB
    // on 2, 4 and 8 ranks), longer ones up to 20% more.
    constexpr std::uint64_t direct_on_host = 32 << 10;
    // Copies 8 MiB at some 100 GB/s in 16 times the time of a launch.
    constexpr std::uint64_t direct_on_gpu = 8 << 20;
    constexpr std::uint64_t staged_bytes = 128 << 10;
    const auto direct = [&] {
        if (model.launch > 0) return direct_on_gpu;
        return model.has_cma() ? direct_by_kernel(request) : direct_on_host;
    };
    std::uint64_t bytes = wanted_bytes;
    if (bytes == 0) bytes = algorithm.reach == Reach::arrays ? direct() : staged_bytes;
    if (algorithm.reach == Reach::stages) bytes = std::min(bytes, most_staged(algorithm, request));
    return std::max<std::uint64_t>(bytes / element_size, 1);
}

/// A staged algorithm with its best chunk: long ones spare rounds of signals, short ones let a rank
/// put one turn while its peers take the one before.
Candidate with_best_turns(const Algorithm& algorithm, const Request& shared,
                          std::size_t element_size, const CostModel& model) {
    constexpr std::array<std::uint64_t, 5> sizes = {64 << 10, 128 << 10, 256 << 10, 512 << 10,
                                                    1 << 20};
    // Long turns leave the cache, which the model does not know: not for a gain of less than that.
    constexpr double least_gain = 0.01;
    Candidate best{.choice = {&algorithm, shared_chunk(algorithm, shared, element_size, 0, model)},
                   .seconds = std::numeric_limits<double>::infinity()};
    std::uint64_t previous = 0;
    for (const std::uint64_t bytes : sizes) {
        const Choice choice{&algorithm,
                            shared_chunk(algorithm, shared, element_size, bytes, model)};
        // The stage has no room for more, or one turn moves everything.
        if (choice.chunk == previous || previous >= shared.count) break;
        previous = choice.chunk;
        const double predicted = seconds(choice, shared, element_size, model);
        if (std::isnan(predicted)) return {best.choice, predicted};
        if (predicted < best.seconds * (1 - least_gain)) best = {choice, predicted};
    }
    return best;
}

/// The best chunk, in bytes, of whole vectors in the stages of a host, for which the caches count
/// more than what the model knows; 0 for others.
std::uint64_t staged_on_host(const Algorithm& algorithm, const Request& shared) {
    // All-reduce of 2 MiB in parts of 64, 128, 256 and 512 KiB, µs: 2 ranks 71, 69, 69, 71; 4 ranks
    // that share 2 cores 250, 219, 202, 197; 8 ranks 1275, 991, 886, 825.
    constexpr std::uint64_t part_of_ring = 256 << 10;
    // What a rank puts and takes in a turn. Parts of 32 KiB, of 64, and the longest for which there
    // is room: 4 ranks 242, 205, 194 (2 MiB) and 3084, 2896, 3167 (16 MiB); 8 ranks 734, 780, 887
    // and 8002, 8279, 8721.
    constexpr std::uint64_t turn = 256 << 10;
    constexpr std::uint64_t least_part = 16 << 10;
    if (algorithm.name == staged_ring) return part_of_ring;
    if (algorithm.name != "staged") return 0;
    const bool is_folded =
        shared.collective == Collective::all_reduce || shared.collective == Collective::reduce;
    if (!is_folded) return 0;
    return std::max(turn / static_cast<std::uint64_t>(shared.size), least_part);
}

/// The algorithm with its best chunk.
Candidate with_best_chunk(const Algorithm& algorithm, const Request& shared,
                          std::size_t element_size, const CostModel& model) {
    Candidate best{.choice = {&algorithm, 0}, .seconds = 0};
    if (const std::uint64_t bytes = staged_on_host(algorithm, shared);
        bytes > 0 && model.launch <= 0) {
        best.choice.chunk = shared_chunk(algorithm, shared, element_size, bytes, model);
        best.seconds = seconds(best.choice, shared, element_size, model);
        return best;
    }
    if (algorithm.pipelined && algorithm.reach == Reach::stages) {
        return with_best_turns(algorithm, shared, element_size, model);
    }
    if (algorithm.pipelined && algorithm.reach == Reach::arrays) {
        best.choice.chunk = shared_chunk(algorithm, shared, element_size, 0, model);
        best.seconds = seconds(best.choice, shared, element_size, model);
        return best;
    }
    const bool staged = is_staged(algorithm, model);
    // Longer messages there are none.
    if (staged) best.choice.chunk = chunk_sizes.front() / element_size;
    best.seconds = seconds(best.choice, shared, element_size, model);
    if (!algorithm.pipelined && !staged) return best;
    const std::uint64_t bytes = shared.count * element_size;
    double previous = std::numeric_limits<double>::infinity();
    for (const std::uint64_t chunk_bytes : chunk_sizes) {
        if (bytes <= chunk_bytes) continue;
        const Choice choice{&algorithm, chunk_bytes / element_size};
        const double predicted = seconds(choice, shared, element_size, model);
        if (std::isnan(predicted)) return {unpriced(algorithm, bytes, element_size), predicted};
        if (predicted < best.seconds) best = {choice, predicted};
        // From here on, smaller ones only get worse.
        if (predicted > previous) break;
        previous = predicted;
    }
    return best;
}

std::uint64_t rounded_up(std::uint64_t total, std::uint64_t parts) {
    return (total + parts - 1) / parts;
}

/// For more ranks than can be priced: shared memory where there is some; else few messages for
/// short vectors, few bytes for long ones.
std::string_view rule_of_thumb(const Request& shared, std::uint64_t bytes, Reach reach) {
    constexpr std::uint64_t is_long_for_slots = 16 << 10;
    const Collective collective = shared.collective;
    if (!shared.nodes.empty()) {
        if (Nodes(shared).most() > 1) return "hierarchical";
    } else if (reach != Reach::messages) {
        if (bytes < is_long_for_slots || collective == Collective::barrier) return "one_shot";
        return reach == Reach::mapped ? "direct" : "staged";
    }
    constexpr std::uint64_t is_long_vector = 64 << 10;
    constexpr std::uint64_t is_short_block = 1024;
    const bool short_vector = bytes < is_long_vector;
    switch (collective) {
        case Collective::all_reduce:
            return short_vector ? "recursive_doubling" : "rabenseifner";
        case Collective::reduce:
            return short_vector ? "binomial" : "binary_tree";
        case Collective::broadcast:
            return short_vector ? "binomial" : "scatter_all_gather";
        case Collective::reduce_scatter:
            return "ring";
        case Collective::all_gather:
            return short_vector ? "bruck" : "ring";
        case Collective::gather:
        case Collective::scatter:
            return bytes < is_short_block ? "binomial" : "linear";
        case Collective::all_to_all:
            return bytes < is_short_block ? "bruck" : "pairwise";
        case Collective::barrier:
            return "dissemination";
    }
    return "";
}

/// How many of what a call counts the smallest array has that a rank passes.
std::uint64_t parts_in_array(const Request& request) {
    return request.collective == Collective::all_to_all ? static_cast<std::uint64_t>(request.size)
                                                        : 1;
}

}  // namespace

Request shared_request(const Request& request, std::size_t element_size) {
    std::uint64_t count = request.count;
    if (!request.counts.empty()) {
        // Every rank has other counts in all_to_all: no length can be agreed on.
        count =
            request.collective == Collective::all_to_all
                ? 1
                : rounded_up(request.blocks().total(), static_cast<std::uint64_t>(request.size));
    }
    std::uint64_t bytes = std::bit_ceil(std::max<std::uint64_t>(count * element_size, 8));
    // Arrays that NumPy registers, and those that are too short for that, do not get one length.
    const std::uint64_t parts = parts_in_array(request);
    constexpr std::uint64_t least = SharedHeap::least_numpy_bytes;
    if (count * element_size * parts < least && bytes * parts >= least) bytes = (least - 1) / parts;
    return {.collective = request.collective,
            .rank = 0,
            .size = request.size,
            .count = count == 0 ? 0 : bytes / element_size,
            .root = 0,
            .nodes = request.nodes};
}

bool fits_slot(const Request& request, std::size_t element_size) {
    std::uint64_t count = request.count;
    switch (request.collective) {
        case Collective::all_reduce:
        case Collective::reduce:
        case Collective::broadcast:
            break;
        case Collective::all_gather:
        case Collective::gather:
            count = request.blocks().largest();
            break;
        default:
            count = request.blocks().total();
    }
    return count <= SharedNode::slot_bytes / element_size;
}

namespace {

/// Can the algorithm serve the request?
bool is_able(const Algorithm& algorithm, const Request& request, std::size_t element_size,
             Reach reach) {
    if (algorithm.collective != request.collective || algorithm.reach > reach) return false;
    if (algorithm.spans_nodes == request.nodes.empty() && algorithm.reach != Reach::messages) {
        return false;
    }
    if (!request.counts.empty() && !algorithm.takes_counts) return false;
    // Those that are not cut into chunks put everything into the stage at once.
    return algorithm.reach != Reach::stages || algorithm.pipelined ||
           fits_slot(request, element_size);
}

/// Would a staged algorithm in turns, which there is for every collective but the barrier,
/// certainly be faster? The model does not see that slots leave the cache: an all-reduce of 64 to
/// 256 KiB over slots took 1.1 to 2 times as long as a staged one on 2, 4 and 8 ranks.
bool is_long_for_slots(const Algorithm& algorithm, const Request& shared, std::size_t element_size,
                       const CostModel& model) {
    constexpr std::uint64_t longest = 32 << 10;
    // On a GPU they leave no cache, and turns cost launches, which the model knows.
    if (model.launch > 0) return false;
    return algorithm.reach == Reach::stages && !algorithm.pipelined &&
           shared.count * element_size > longest;
}

/// Bytes of the longest array of every rank, for all ranks together.
std::uint64_t bytes_of_all(const Request& shared, std::size_t element_size) {
    const auto ranks = static_cast<std::uint64_t>(shared.size);
    const bool in_blocks = shared.collective == Collective::reduce_scatter ||
                           shared.collective == Collective::all_gather ||
                           shared.collective == Collective::all_to_all;
    return shared.count * element_size * ranks * (in_blocks ? ranks : 1);
}

/// Where the kernel copies between arrays, is an algorithm certainly not the best, which the model
/// does not know?
bool is_misjudged_beside_kernel(const Algorithm& algorithm, const Request& shared,
                                std::size_t element_size, const CostModel& model) {
    if (!model.has_cma()) return false;
    // What leaves the caches goes past them from a stage, while the kernel fetches what it
    // overwrites. All_gather through stages and by the kernel, ms (2 cores of an Intel Emerald
    // Rapids): 2 ranks 2.2 and 1.6 of 16 MiB, 10.6 and 13.6 of 64; 4 ranks 3.6 and 4.5, 17.8 and
    // 27.8; 8 ranks 0.94 and 1.07 of 2 MiB, 6.3 and 19.1 of 16. Others differ less.
    constexpr std::uint64_t long_for_caches = 64 << 20;
    const bool is_direct = algorithm.reach == Reach::arrays;
    if (is_direct && bytes_of_all(shared, element_size) >= long_for_caches) return true;
    if (!reduces(shared.collective)) return false;
    // Not measured where readers take lines over (AMD): all that is staged is 2 to 7 times as fast
    // so, and what is folded stays there.
    if (model.takes_lines_over) return is_direct;
    // What a peer has put into this rank's stage comes from that peer's cache. Staged in a ring and
    // direct, us (as above): reduce 26 and 22 of 256 KiB, 267 and 207 of 2 MiB, 2840 and 1930 of
    // 16 MiB; reduce_scatter 22 and 15, 255 and 195, 2080 and 1890.
    return algorithm.name == staged_ring && shared.size == 2 &&
           shared.collective != Collective::all_reduce &&
           bytes_of_all(shared, element_size) < long_for_caches;
}

/// Does the model take it for faster than it is beside a ring in stages? It counts what is copied
/// and folded, and between two ranks that is the same. All-reduce of 2 ranks, staged and in a ring,
/// µs: 39 and 10 of 256 KiB, 93 and 86 of 2 MiB, 3260 and 3010 of 32 MiB (Zen 4).
bool is_misjudged(const Algorithm& algorithm, const Request& shared, std::size_t element_size,
                  const CostModel& model) {
    constexpr std::uint64_t least = 32 << 10;
    return model.launch <= 0 && algorithm.name == "staged" &&
           shared.collective == Collective::all_reduce && shared.size == 2 &&
           shared.count * element_size > least;
}

/// Where ranks see each other's stages only, what needs their arrays goes through the stages.
const Algorithm& find_within(Reach reach, Collective collective, std::string_view name) {
    const Algorithm& algorithm = find_algorithm(collective, name);
    if (algorithm.reach != Reach::arrays || reach != Reach::stages) return algorithm;
    return find_algorithm(algorithm.collective, "staged");
}

void require_able(const Algorithm& algorithm, const Request& request, std::size_t element_size,
                  Reach reach) {
    if (is_able(algorithm, request, element_size, reach)) return;
    const std::string who = "algorithm '" + std::string(algorithm.name) + "' ";
    if (!request.counts.empty() && !algorithm.takes_counts) {
        throw std::invalid_argument(who + "does not take counts; use 'auto'");
    }
    if (algorithm.spans_nodes && request.nodes.empty()) {
        throw std::invalid_argument(who + "needs several nodes, and there is one; use 'auto'");
    }
    if (algorithm.reach > reach || !request.nodes.empty()) {
        throw std::invalid_argument(who +
                                    "needs ranks that share memory, and these do not; use 'auto'");
    }
    throw std::invalid_argument(who + "takes at most " + std::to_string(SharedNode::slot_bytes) +
                                " bytes of each rank; use 'auto'");
}

/// How many times faster a call on registered arrays has to be than one in one shot, which needs
/// no such. Nobody knows yet whether the arrays are registered, and seeing that costs a round of
/// signals, which plain arrays pay for nothing. All-reduce on ranks that share 2 cores of an Intel
/// Xeon, µs, direct and in one shot: on 4 ranks 14 and 12 of 8 KiB, 14 and 19 of 16 KiB, 16 and 33
/// of 32 KiB; on 8 ranks 47 and 38, 52 and 57, 52 and 103.
double least_gain(const Request& shared, std::size_t element_size, const CostModel& model) {
    // Where there is a root, ranks run ahead in one shot, which no prediction shows. And on a GPU,
    // only pycoll's own arrays are registered.
    const bool are_registered =
        shared.count * element_size * parts_in_array(shared) >= SharedHeap::least_numpy_bytes;
    return are_registered && !rooted(shared.collective) && model.launch == 0 ? 1 : 1.5;
}

/// Puts the best of sorted candidates first, where nobody knows yet whether the arrays are
/// registered.
void put_best_first(std::vector<Candidate>& sorted, double least_gain) {
    if (sorted.empty() || sorted.front().choice.algorithm->reach != Reach::arrays) return;
    // What plain arrays take after ranks have met.
    const auto plain = std::ranges::find_if(sorted, [](const Candidate& candidate) {
        return candidate.choice.algorithm->reach != Reach::arrays;
    });
    if (plain == sorted.end()) return;
    const Algorithm& algorithm = *plain->choice.algorithm;
    const bool in_one_shot = algorithm.reach == Reach::stages && !algorithm.pipelined;
    if (in_one_shot && plain->seconds < least_gain * sorted.front().seconds) {
        std::rotate(sorted.begin(), plain, plain + 1);
    }
}

}  // namespace

CostModel within(CostModel model, Reach reach) {
    if (reach != Reach::arrays) model.cma = {};
    return model;
}

std::vector<Candidate> candidates(const Request& request, std::size_t element_size,
                                  const CostModel& any_model, Reach reach) {
    const CostModel model = within(any_model, reach);
    const Request shared = shared_request(request, element_size);
    std::vector<Candidate> all;
    for (const Algorithm& algorithm : algorithms()) {
        if (!is_able(algorithm, request, element_size, reach)) continue;
        if (is_long_for_slots(algorithm, shared, element_size, model) ||
            is_misjudged(algorithm, shared, element_size, model) ||
            is_misjudged_beside_kernel(algorithm, shared, element_size, model)) {
            continue;
        }
        all.push_back(with_best_chunk(algorithm, shared, element_size, model));
        // Ranks that share memory meet before they send messages, to see that they make the same
        // call.
        if (reach != Reach::messages && algorithm.reach == Reach::messages) {
            all.back().seconds += meeting_seconds(static_cast<std::size_t>(shared.size), model);
        }
    }
    if (shared.size <= most_ranks_priced) {
        std::ranges::stable_sort(all, {}, &Candidate::seconds);
        if (reach == Reach::mapped) put_best_first(all, least_gain(shared, element_size, model));
    } else {
        const auto name = rule_of_thumb(shared, shared.count * element_size, reach);
        std::ranges::stable_partition(all, [&](const Candidate& candidate) {
            return candidate.choice.algorithm->name == name;
        });
    }
    return all;
}

Choice choose(const Request& request, std::size_t element_size, const CostModel& any_model,
              std::string_view name, std::uint64_t chunk_bytes, Reach reach,
              std::string_view wish) {
    const CostModel model = within(any_model, reach);
    if (name == "auto" && !wish.empty()) {
        const Algorithm& wanted = find_within(reach, request.collective, wish);
        if (is_able(wanted, request, element_size, reach)) name = wanted.name;
    }
    // A rank alone shares memory with all there are.
    if (request.size == 1 && reach == Reach::messages && name != "auto") {
        const Algorithm& algorithm = find_algorithm(request.collective, name);
        const bool takes_it = request.counts.empty() || algorithm.takes_counts;
        if (algorithm.reach != Reach::messages && takes_it) name = "auto";
    }
    Choice choice;
    if (name == "auto") {
        const std::vector<Candidate> all = candidates(request, element_size, model, reach);
        if (all.empty()) {
            throw std::invalid_argument(std::string(pycoll::name(request.collective)) +
                                        " does not take counts");
        }
        choice = all.front().choice;
    } else {
        const Algorithm& algorithm = find_within(reach, request.collective, name);
        require_able(algorithm, request, element_size, reach);
        choice.algorithm = &algorithm;
        if (chunk_bytes == 0 && (algorithm.pipelined || is_staged(algorithm, model))) {
            choice = with_best_chunk(algorithm, shared_request(request, element_size), element_size,
                                     model)
                         .choice;
        }
    }
    if (chunk_bytes > 0 && (choice.algorithm->pipelined || is_staged(*choice.algorithm, model))) {
        choice.chunk =
            choice.algorithm->reach == Reach::messages
                ? std::max<std::uint64_t>(chunk_bytes / element_size, 1)
                : shared_chunk(*choice.algorithm, request, element_size, chunk_bytes, model);
    }
    return choice;
}

}  // namespace pycoll
