#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "core/collective.hpp"
#include "schedule/price.hpp"
#include "schedule/request.hpp"

namespace pycoll {

struct Choice {
    const Algorithm* algorithm = nullptr;
    /// Elements per pipelined chunk; 0: never cut.
    std::uint64_t chunk = 0;
};

struct Candidate {
    Choice choice;
    /// Predicted time; no number (NaN) where there are too many ranks to walk through.
    double seconds = 0;
};

/// The algorithms wanted in place of auto, by collective; empty for none. The same on all ranks.
using Wishes = std::array<std::string, collective_names.size()>;

/// The costs of calls in which ranks see so much of each other's memory: where the arrays of peers
/// are mapped, the kernel copies none of them.
[[nodiscard]] CostModel within(CostModel model, Reach reach);

/// What all ranks of a call know of it, and the choice depends on: equal blocks, no rank of its
/// own, the length in bytes rounded up to a power of two.
[[nodiscard]] Request shared_request(const Request& request, std::size_t element_size);

/// Does what the call puts into a stage at once fit into a slot of it? All ranks agree on it.
[[nodiscard]] bool fits_slot(const Request& request, std::size_t element_size);

/// What auto chooses from, the best first: every algorithm that can serve the request within
/// `reach`, with its best chunk. Depends on what all ranks know of the request only, so that all
/// choose alike.
[[nodiscard]] std::vector<Candidate> candidates(const Request& request, std::size_t element_size,
                                                const CostModel& model, Reach reach);

/// The algorithm (and chunk length) to use. `name` is "auto" or an algorithm; `chunk_bytes` 0
/// leaves the chunk open. In place of an algorithm that needs the arrays of all ranks, where they
/// cannot be reached, is the one that moves them through the stages.
/// `wish` is the algorithm that calls use which leave it to "auto", where it can serve them; empty
/// for none.
/// Throws std::invalid_argument for an algorithm that does not exist, does not take `counts`, needs
/// ranks that share memory where they do not, or a slot longer than there is.
[[nodiscard]] Choice choose(const Request& request, std::size_t element_size,
                            const CostModel& model, std::string_view name,
                            std::uint64_t chunk_bytes, Reach reach, std::string_view wish = {});

}  // namespace pycoll
