#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "schedule/request.hpp"
#include "schedule/schedule.hpp"

namespace pycoll {

/// What the ranks see of each other's memory, and algorithms need at least.
enum class Reach : std::uint8_t {
    messages,  ///< nothing
    stages,    ///< the stages
    arrays,    ///< the arrays of the call, too, by copies that the kernel makes
    mapped,    ///< these as well: all are registered. No algorithm needs that
};

/// An algorithm is a pure function from a request to one rank's schedule.
struct Algorithm {
    Collective collective;
    std::string_view name;
    /// Cost in alpha-beta-gamma terms, for people: p ranks, N bytes of the whole vector or of all
    /// blocks together.
    std::string_view cost;
    /// Paper and section.
    std::string_view source;
    /// Takes Request::counts (the v-forms)?
    bool takes_counts;
    /// Gains from Request::chunk, as one step passes on what another has received or folded? (All
    /// algorithms take it.)
    bool pipelined;
    Reach reach = Reach::messages;
    /// Takes Request::nodes: it sees to it itself that only ranks of one node reach each other.
    bool spans_nodes = false;
    Schedule (*build)(const Request&);
};

/// Every algorithm, grouped by collective.
[[nodiscard]] std::span<const Algorithm> algorithms();

/// Throws std::invalid_argument naming the algorithms there are.
[[nodiscard]] const Algorithm& find_algorithm(Collective collective, std::string_view name);

}  // namespace pycoll
