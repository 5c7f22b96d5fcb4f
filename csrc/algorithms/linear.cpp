// Linear: the root receives every rank's block straight from it (gather), or sends it (scatter).
//
// Cost: (p-1) alpha + (p-1)/p N beta at the root, one message elsewhere: every block crosses the
// wire once and is copied nowhere.
// Source: Chan, Heimlich, Purkayastha and van de Geijn 2007, Collective communication: theory,
// practice, and experience, Concurrency Computat. Pract. Exper. 19(13), where it is the baseline.
#include <array>

#include "algorithms/families.hpp"
#include "algorithms/virtual_ranks.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

Schedule gather(const Request& request) {
    ScheduleBuilder builder(request);
    const Slice own{Buffer::input, 0, request.input_count()};
    if (!request.is_root()) {
        builder.send(request.root, own);
        return std::move(builder).build();
    }
    const VirtualRanks ranks(request);
    const Blocks blocks = request.blocks();
    for (int v = 1; v < request.size; ++v) {
        builder.recv(ranks.real(v), blocks.in(Buffer::output, ranks.real(v)));
    }
    builder.copy(blocks.in(Buffer::output, request.rank), own);
    return std::move(builder).build();
}

Schedule scatter(const Request& request) {
    ScheduleBuilder builder(request);
    const Slice own{Buffer::output, 0, request.output_count()};
    if (!request.is_root()) {
        builder.recv(request.root, own);
        return std::move(builder).build();
    }
    const VirtualRanks ranks(request);
    const Blocks blocks = request.blocks();
    for (int v = 1; v < request.size; ++v) {
        builder.send(ranks.real(v), blocks.in(Buffer::input, ranks.real(v)));
    }
    builder.copy(own, blocks.in(Buffer::input, request.rank));
    return std::move(builder).build();
}

constexpr std::string_view cost = "(p-1) alpha + (p-1)/p N beta";
constexpr std::string_view source = "Chan, Heimlich, Purkayastha and van de Geijn 2007, baseline";

constexpr std::array<Algorithm, 2> table = {{
    {.collective = Collective::gather,
     .name = "linear",
     .cost = cost,
     .source = source,
     .takes_counts = true,
     .pipelined = false,
     .build = gather},
    {.collective = Collective::scatter,
     .name = "linear",
     .cost = cost,
     .source = source,
     .takes_counts = true,
     .pipelined = false,
     .build = scatter},
}};

}  // namespace

std::span<const Algorithm> linear_algorithms() { return table; }

}  // namespace pycoll
