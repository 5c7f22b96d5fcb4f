#pragma once

#include <string_view>
#include <vector>

#include "algorithms/algorithms.hpp"
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

/// What all ranks of a call know of it, and the choice depends on: equal blocks, no rank of its
/// own, the length in bytes rounded up to a power of two.
[[nodiscard]] Request shared_request(const Request& request, std::size_t element_size);

/// What auto chooses from, the best first: every algorithm that can serve the request, with its
/// best chunk. Depends on the shared request only, so that all ranks choose alike.
[[nodiscard]] std::vector<Candidate> candidates(const Request& request, std::size_t element_size,
                                                const CostModel& model);

/// The algorithm (and chunk length) to use. `name` is "auto" or an algorithm; `chunk_bytes` 0
/// leaves the chunk open.
/// Throws std::invalid_argument for an algorithm that does not exist or does not take `counts`.
[[nodiscard]] Choice choose(const Request& request, std::size_t element_size,
                            const CostModel& model, std::string_view name,
                            std::uint64_t chunk_bytes);

}  // namespace pycoll
