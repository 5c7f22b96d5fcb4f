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
constexpr std::array<std::uint64_t, 3> chunk_sizes = {64 << 10, 256 << 10, 1 << 20};

/// Walking through more ranks or chunks than this takes longer than the calls it is to speed up.
constexpr int most_ranks_priced = 64;
constexpr std::uint64_t most_chunks_priced = 256;

double seconds(const Choice& choice, const Request& shared, std::size_t element_size,
               const CostModel& model) {
    if (shared.size > most_ranks_priced) return std::numeric_limits<double>::quiet_NaN();
    std::vector<Schedule> schedules;
    for (int rank = 0; rank < shared.size; ++rank) {
        Request request = shared;
        request.rank = rank;
        request.chunk = choice.chunk;
        schedules.push_back(choice.algorithm->build(request));
    }
    return price(schedules, element_size, model).seconds;
}

/// The algorithm with its best chunk.
Candidate with_best_chunk(const Algorithm& algorithm, const Request& shared,
                          std::size_t element_size, const CostModel& model) {
    Candidate best{.choice = {&algorithm, 0}, .seconds = 0};
    best.seconds = seconds(best.choice, shared, element_size, model);
    if (!algorithm.pipelined) return best;
    const std::uint64_t bytes = shared.count * element_size;
    for (const std::uint64_t chunk_bytes : chunk_sizes) {
        if (bytes <= chunk_bytes || bytes / chunk_bytes > most_chunks_priced) continue;
        const Choice choice{&algorithm, chunk_bytes / element_size};
        const double predicted = seconds(choice, shared, element_size, model);
        // Not a number where nothing was priced: then cut as finely as is allowed.
        if (std::isnan(predicted) ? best.choice.chunk == 0 : predicted < best.seconds) {
            best = {choice, predicted};
        }
    }
    return best;
}

/// For more ranks than can be priced: few messages for short vectors, few bytes for long ones.
std::string_view rule_of_thumb(Collective collective, std::uint64_t bytes) {
    constexpr std::uint64_t is_long = 64 << 10;
    const bool short_vector = bytes < is_long;
    switch (collective) {
        case Collective::all_reduce: return short_vector ? "recursive_doubling" : "rabenseifner";
        case Collective::reduce: return short_vector ? "binomial" : "binary_tree";
        case Collective::broadcast: return short_vector ? "binomial" : "scatter_all_gather";
        case Collective::reduce_scatter: return "ring";
        case Collective::all_gather: return short_vector ? "bruck" : "ring";
        case Collective::gather:
        case Collective::scatter: return "linear";
        case Collective::all_to_all: return bytes < 1024 ? "bruck" : "pairwise";
        case Collective::barrier: return "dissemination";
    }
    return "";
}

}  // namespace

Request shared_request(const Request& request, std::size_t element_size) {
    std::uint64_t count = request.count;
    if (!request.counts.empty()) {
        // Every rank has other counts in all_to_all: no length can be agreed on.
        count = request.collective == Collective::all_to_all
                    ? 1
                    : request.blocks().total() / static_cast<std::uint64_t>(request.size);
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
        choice = candidates(request, element_size, model).front().choice;
    } else {
        const Algorithm& algorithm = find_algorithm(request.collective, name);
        if (!request.counts.empty() && !algorithm.takes_counts) {
            throw std::invalid_argument("algorithm '" + std::string(name) +
                                        "' does not take counts; use 'auto'");
        }
        choice.algorithm = &algorithm;
        if (algorithm.pipelined && chunk_bytes == 0) {
            choice = with_best_chunk(algorithm, shared_request(request, element_size),
                                     element_size, model)
                         .choice;
        }
    }
    if (chunk_bytes > 0 && choice.algorithm->pipelined) {
        choice.chunk = std::max<std::uint64_t>(chunk_bytes / element_size, 1);
    }
    return choice;
}

}  // namespace pycoll
