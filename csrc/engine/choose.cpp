#include "engine/choose.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace pycoll {
namespace {

/// Chunks that are tried, in bytes. Below, the cost per message outweighs the overlap on every
/// transport there is; above, no cache holds a chunk.
constexpr std::array<std::uint64_t, 3> chunk_sizes = {1 << 20, 256 << 10, 64 << 10};

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
    const bool divided = shared.collective == Collective::all_reduce ||
                         shared.collective == Collective::reduce ||
                         shared.collective == Collective::broadcast;
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

/// The algorithm with its best chunk.
Candidate with_best_chunk(const Algorithm& algorithm, const Request& shared,
                          std::size_t element_size, const CostModel& model) {
    Candidate best{.choice = {&algorithm, 0}, .seconds = 0};
    best.seconds = seconds(best.choice, shared, element_size, model);
    if (!algorithm.pipelined) return best;
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

/// For more ranks than can be priced: few messages for short vectors, few bytes for long ones.
std::string_view rule_of_thumb(Collective collective, std::uint64_t bytes) {
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
    const std::uint64_t bytes = std::bit_ceil(std::max<std::uint64_t>(count * element_size, 8));
    return {.collective = request.collective,
            .rank = 0,
            .size = request.size,
            .count = count == 0 ? 0 : bytes / element_size,
            .root = 0};
}

std::vector<Candidate> candidates(const Request& request, std::size_t element_size,
                                  const CostModel& model) {
    const Request shared = shared_request(request, element_size);
    std::vector<const Algorithm*> able;
    for (const Algorithm& algorithm : algorithms()) {
        if (algorithm.collective != request.collective) continue;
        if (!request.counts.empty() && !algorithm.takes_counts) continue;
        able.push_back(&algorithm);
    }
    std::vector<Candidate> all;
    for (const Algorithm* algorithm : able) {
        all.push_back(with_best_chunk(*algorithm, shared, element_size, model));
    }
    if (shared.size <= most_ranks_priced) {
        std::ranges::stable_sort(all, {}, &Candidate::seconds);
    } else {
        const auto name = rule_of_thumb(shared.collective, shared.count * element_size);
        std::ranges::stable_partition(all, [&](const Candidate& candidate) {
            return candidate.choice.algorithm->name == name;
        });
    }
    return all;
}

Choice choose(const Request& request, std::size_t element_size, const CostModel& model,
              std::string_view name, std::uint64_t chunk_bytes) {
    Choice choice;
    if (name == "auto") {
        const std::vector<Candidate> all = candidates(request, element_size, model);
        if (all.empty()) {
            throw std::invalid_argument(std::string(pycoll::name(request.collective)) +
                                        " does not take counts");
        }
        choice = all.front().choice;
    } else {
        const Algorithm& algorithm = find_algorithm(request.collective, name);
        if (!request.counts.empty() && !algorithm.takes_counts) {
            throw std::invalid_argument("algorithm '" + std::string(name) +
                                        "' does not take counts; use 'auto'");
        }
        choice.algorithm = &algorithm;
        if (algorithm.pipelined && chunk_bytes == 0) {
            choice = with_best_chunk(algorithm, shared_request(request, element_size), element_size,
                                     model)
                         .choice;
        }
    }
    if (chunk_bytes > 0 && choice.algorithm->pipelined) {
        choice.chunk = std::max<std::uint64_t>(chunk_bytes / element_size, 1);
    }
    return choice;
}

}  // namespace pycoll
