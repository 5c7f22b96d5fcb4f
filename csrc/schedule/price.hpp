#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "schedule/cost_model.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// When one step ran in the priced execution, in seconds from the start of the call.
struct Interval {
    double start = 0;
    double end = 0;
};

struct Price {
    double seconds = 0;
    /// Most messages, bytes sent, and bytes folded by any one rank.
    std::uint64_t messages = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_folded = 0;
    /// Bytes sent by all ranks together.
    std::uint64_t total_bytes = 0;
    /// timeline[rank][step]
    std::vector<std::vector<Interval>> timeline;
};

/// Walks all ranks' schedules (which must be verified) under the model: each rank sends one
/// message and receives one message at a time and folds or copies one slice at a time. Ranks that
/// share a core take turns in copying and folding what lies in memory (the others may be idle
/// meanwhile), where bytes of ranks on other cores take longer; messages, with the folds that
/// belong to them, and signals take as many times as long as there are ranks for each core (of the
/// more crowded end), since somebody has to poll for them. Throws std::invalid_argument for
/// schedules that cannot run, or a model of other ranks.
[[nodiscard]] Price price(std::span<const Schedule> schedules, std::uint64_t element_size,
                          const CostModel& model);

/// How many messages of so many bytes between GPUs have to be under way from one rank to another so
/// that none of the ways that they take one after the other is ever idle: to the host, from host to
/// host, to the GPU, and the fold there.
[[nodiscard]] unsigned pipeline_depth(double bytes, const CostModel& model);

/// Seconds that a round of signals takes between so many ranks, from the last of them on.
[[nodiscard]] double meeting_seconds(std::size_t ranks, const CostModel& model);

}  // namespace pycoll
