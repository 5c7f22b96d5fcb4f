// Dissemination barrier: in round k every rank tells the rank 2^k ahead that it, and everybody it
// has heard of, has arrived. After ceil(log2 p) rounds it has heard of all.
//
// Cost: ceil(log2 p) alpha.
// Source: Hensgen, Finkel and Manber 1988, Two algorithms for barrier synchronization, Int. J.
// Parallel Program. 17(1), the dissemination algorithm.
#include <array>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/virtual_ranks.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

Schedule barrier(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    // That a message comes is all it says. What it contains is one element that nobody reads.
    const Slice token = builder.scratch(request.size > 1 ? 1 : 0);
    std::vector<ScheduleBuilder::Steps> heard;
    for (int hop = 1; hop < request.size; hop *= 2) {
        builder.send(ranks.wrap(request.rank + hop), token, heard);
        heard.push_back(builder.recv(ranks.wrap(request.rank - hop), builder.scratch(1)));
    }
    return std::move(builder).build();
}

constexpr std::array<Algorithm, 1> table = {{
    {.collective = Collective::barrier,
     .name = "dissemination",
     .cost = "ceil(log2 p) alpha",
     .source = "Hensgen, Finkel and Manber 1988, dissemination",
     .takes_counts = false,
     .pipelined = false,
     .build = barrier},
}};

}  // namespace

std::span<const Algorithm> dissemination_algorithms() { return table; }

}  // namespace pycoll
