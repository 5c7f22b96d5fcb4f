// Pairwise: in round i every rank sends to the rank i ahead and receives from the rank i behind,
// each block straight from its owner to its user.
//
// Cost: (p-1) alpha + (p-1)/p N beta, plus as much gamma for reduce-scatter: the fewest bytes.
// Source: Thakur, Rabenseifner and Gropp 2005, Optimization of collective communication operations
// in MPICH, Int. J. High Perform. Comput. Appl. 19(1), sections 4.3 and 4.4.
#include <array>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/virtual_ranks.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

using Fold = ScheduleBuilder::Fold;
using Steps = ScheduleBuilder::Steps;

/// Rounds under way at once, per direction. As many as the engine keeps under way per channel:
/// enough to hide the handshake of the next messages, few enough not to flood the receivers.
constexpr std::size_t window = 4;

/// Messages to (or from) different peers of which a few at a time are under way.
class Throttle {
public:
    /// What the next message must wait for.
    [[nodiscard]] std::span<const Steps> gate() const {
        const std::size_t waits = messages_.size() < window ? 0 : 1;
        return std::span(messages_).subspan(messages_.size() - waits * window, waits);
    }
    void add(const Steps& message) {
        if (message.begin < message.end) messages_.push_back(message);
    }

private:
    std::vector<Steps> messages_;
};

Schedule all_to_all(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    const Blocks sent = request.blocks();
    const Blocks received = request.recv_blocks();
    Throttle sends;
    Throttle recvs;
    for (int i = 1; i < request.size; ++i) {
        const int to = ranks.wrap(request.rank + i);
        const int from = ranks.wrap(request.rank - i);
        sends.add(builder.send(to, sent.in(Buffer::input, to), sends.gate()));
        recvs.add(builder.recv(from, received.in(Buffer::output, from), recvs.gate()));
    }
    builder.copy(received.in(Buffer::output, request.rank), sent.in(Buffer::input, request.rank));
    return std::move(builder).build();
}

Schedule reduce_scatter(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    const Blocks blocks = request.blocks();
    const Slice output{Buffer::output, 0, blocks.count(request.rank)};
    Slice so_far = blocks.in(Buffer::input, request.rank);
    if (request.size == 1) builder.copy(output, so_far);
    Throttle sends;
    for (int i = 1; i < request.size; ++i) {
        const int to = ranks.wrap(request.rank + i);
        sends.add(builder.send(to, blocks.in(Buffer::input, to), sends.gate()));
        builder.recv_reduce(ranks.wrap(request.rank - i), output, so_far,
                            i == request.size - 1 ? Fold::last : Fold::partial);
        so_far = output;
    }
    return std::move(builder).build();
}

constexpr std::array<Algorithm, 2> table = {{
    {.collective = Collective::all_to_all,
     .name = "pairwise",
     .cost = "(p-1) alpha + (p-1)/p N beta",
     .source = "Thakur, Rabenseifner and Gropp 2005, section 4.3",
     .takes_counts = true,
     .pipelined = false,
     .build = all_to_all},
    {.collective = Collective::reduce_scatter,
     .name = "pairwise",
     .cost = "(p-1) alpha + (p-1)/p N (beta + gamma)",
     .source = "Thakur, Rabenseifner and Gropp 2005, section 4.4",
     .takes_counts = true,
     .pipelined = true,
     .build = reduce_scatter},
}};

}  // namespace

std::span<const Algorithm> pairwise_algorithms() { return table; }

}  // namespace pycoll
