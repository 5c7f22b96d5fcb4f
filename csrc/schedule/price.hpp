#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "schedule/schedule.hpp"

namespace pycoll {

/// Hockney's alpha-beta model of a link, extended by gamma for folding (Thakur, Rabenseifner and
/// Gropp 2005, section 3).
struct Link {
    double alpha = 0;  ///< seconds per message
    double beta = 0;   ///< seconds per byte
};

struct CostModel {
    Link intra_node;
    Link inter_node;
    double gamma = 0;   ///< seconds per byte folded
    double copy = 0;    ///< seconds per byte copied locally
    double signal = 0;  ///< seconds from a signal to the end of the wait for it
    /// Seconds more where ranks outnumber the cores, for each rank of a core: whoever waits for a
    /// signal sleeps, or goes on only when others have had their turn.
    double wake = 0;
    /// Ranks per node; 0: all ranks share one node. Rank r lives on node r / ranks_per_node.
    int ranks_per_node = 0;
    /// Cores per node; ranks that outnumber them take turns. 0: one core each.
    int cores_per_node = 0;
};

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
/// meanwhile); messages, with the folds that belong to them, and signals take as many times as long
/// as there are ranks for each core, since somebody has to poll for them.
[[nodiscard]] Price price(std::span<const Schedule> schedules, std::uint64_t element_size,
                          const CostModel& model);

/// Seconds that a round of signals takes between so many ranks, from the last of them on.
[[nodiscard]] double meeting_seconds(std::size_t ranks, const CostModel& model);

}  // namespace pycoll
