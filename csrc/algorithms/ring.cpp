// Ring: in p - 1 rounds each rank passes a block on to the next rank. Partial sums that go round
// once end as a reduce-scatter, finished blocks that go round once as an all-gather; one after the
// other is the all-reduce.
//
// Cost: (p-1) alpha + (p-1)/p N beta each, plus (p-1)/p N gamma for the folds: the least bytes
// there can be. Cut into chunks, folding hides behind the wire.
// Source: Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of
// workstations, J. Parallel Distrib. Comput. 69(2), the logical ring.
#include "algorithms/ring.hpp"

#include <algorithm>
#include <array>

#include "algorithms/families.hpp"

namespace pycoll {

using Fold = ScheduleBuilder::Fold;

void ring_reduce_scatter(ScheduleBuilder& builder, const VirtualRanks& ranks,
                         const BlockPlace& input, const BlockPlace& sums) {
    const int next = ranks.real(ranks.rank() + 1);
    const int previous = ranks.real(ranks.rank() - 1);
    const int rounds = ranks.size() - 1;
    for (int round = 0; round < rounds; ++round) {
        const int passed_on = ranks.wrap(ranks.rank() - 1 - round);
        const int arriving = ranks.wrap(passed_on - 1);
        builder.send(next, round == 0 ? input(passed_on) : sums(passed_on));
        builder.recv_reduce(previous, sums(arriving), input(arriving),
                            round == rounds - 1 ? Fold::last : Fold::partial);
    }
}

void ring_all_gather(ScheduleBuilder& builder, const VirtualRanks& ranks, const Slice& own,
                     const BlockPlace& output, int held, int next_held) {
    const int next = ranks.real(ranks.rank() + 1);
    const int previous = ranks.real(ranks.rank() - 1);
    for (int round = 0; round < ranks.size() - 1; ++round) {
        const int passed_on = ranks.wrap(ranks.rank() - round);
        // Blocks come in falling order, so the last ones are those that were there from the start.
        if (round < ranks.size() - next_held) {
            builder.send(next, round == 0 ? own : output(passed_on));
        }
        if (round < ranks.size() - held) {
            builder.recv(previous, output(ranks.wrap(passed_on - 1)));
        }
    }
}

namespace {

Schedule reduce_scatter(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    const Blocks blocks = request.blocks();
    const Slice output{Buffer::output, 0, blocks.count(request.rank)};
    if (request.size == 1) builder.copy(output, blocks.in(Buffer::input, 0));

    // Two sums at a time: one is sent while the next arrives. The last goes to the output.
    const std::uint64_t length = blocks.largest();
    const int slots = std::clamp(request.size - 2, 0, 2);
    const Slice scratch = builder.scratch(static_cast<std::uint64_t>(slots) * length);
    ring_reduce_scatter(
        builder, ranks, [&](int block) { return blocks.in(Buffer::input, block); },
        [&](int block) {
            if (block == request.rank) return output;
            const auto round = static_cast<std::uint64_t>(ranks.wrap(request.rank - 2 - block));
            return scratch.part(round % 2 * length, blocks.count(block));
        });
    return std::move(builder).build();
}

Schedule all_gather(const Request& request) {
    ScheduleBuilder builder(request);
    const Blocks blocks = request.blocks();
    const Slice own{Buffer::input, 0, blocks.count(request.rank)};
    const BlockPlace output = [&](int block) { return blocks.in(Buffer::output, block); };
    ring_all_gather(builder, VirtualRanks(request), own, output);
    builder.copy(output(request.rank), own);
    return std::move(builder).build();
}

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    const VirtualRanks ranks(request);
    const Blocks blocks = Blocks::split(request.count, request.size);
    const BlockPlace input = [&](int block) { return blocks.in(Buffer::input, block); };
    const BlockPlace output = [&](int block) { return blocks.in(Buffer::output, block); };
    if (request.size == 1) builder.copy(output(0), input(0));
    ring_reduce_scatter(builder, ranks, input, output);
    ring_all_gather(builder, ranks, output(request.rank), output);
    return std::move(builder).build();
}

constexpr std::string_view source = "Patarasuk and Yuan 2009, logical ring";

constexpr std::array<Algorithm, 3> table = {{
    {.collective = Collective::all_reduce,
     .name = "ring",
     .cost = "2(p-1) alpha + 2(p-1)/p N beta + (p-1)/p N gamma",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = all_reduce},
    {.collective = Collective::reduce_scatter,
     .name = "ring",
     .cost = "(p-1) alpha + (p-1)/p N beta + (p-1)/p N gamma",
     .source = source,
     .takes_counts = true,
     .pipelined = true,
     .build = reduce_scatter},
    {.collective = Collective::all_gather,
     .name = "ring",
     .cost = "(p-1) alpha + (p-1)/p N beta",
     .source = source,
     .takes_counts = true,
     .pipelined = true,
     .build = all_gather},
}};

}  // namespace

std::span<const Algorithm> ring_algorithms() { return table; }

}  // namespace pycoll
