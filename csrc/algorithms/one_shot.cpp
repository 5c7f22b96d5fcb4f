// One shot: every rank puts what it contributes where all ranks of its node see it, and once those
// have from which it needs something, takes that from there.
//
// Cost: N/p to N copied in, one round of signals, N (all_reduce: (p-1) N folded) taken out. Nobody
// waits at the end. Where all need something of all, each has waited for all: the others are at
// most one call behind, and the stages of two calls in a row are not the same. Where there is a
// root, those who need nothing wait for nobody (the root of a broadcast, the others in a reduce)
// and run ahead, and the others wait for the root alone. Of the rest, each only expects a signal,
// as far as executors let it: these know from the signals that have come how many calls a peer is
// behind, let nobody enter a call while somebody is too far behind, and have as many stages as that
// takes.
//
// Source: the one-shot all-reduce of NVIDIA's TensorRT-LLM and vLLM (custom all-reduce), and the
// shared-memory collectives of Graham and Shipman 2008, MPI Support for Multi-core Architectures,
// EuroPVM/MPI, there with flags in place of counted signals.
#include <array>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/shared_fold.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

Slice whole(Buffer buffer, std::uint64_t count) { return {buffer, 0, count}; }

/// The ranks that put something, and all meet. `most` is the longest of what any rank puts.
void put_and_meet(ScheduleBuilder& builder, std::uint64_t count, std::uint64_t most) {
    builder.use_stage_alike(most);
    builder.copy(whole(Buffer::stage, count), whole(Buffer::input, count));
    builder.meet();
}

/// The same of blocks, each of which one rank wants: nobody needs this rank's own on a stage.
void put_blocks_and_meet(ScheduleBuilder& builder, const Request& request, const Blocks& blocks) {
    builder.use_stage_alike(blocks.total());
    const auto put = [&](int first, int last) {
        builder.copy(blocks.range(Buffer::stage, first, last),
                     blocks.range(Buffer::input, first, last));
    };
    put(0, request.rank);
    put(request.rank + 1, request.size);
    builder.meet();
}

/// Whom data comes from, in a call with a root.
enum class From : bool { root, others };

/// Whoever gives something puts it, and tells all; whoever gets something waits for those it comes
/// from. The others may be calls behind. `most` is the longest of what any rank puts.
void put_and_run_ahead(ScheduleBuilder& builder, const Request& request, From from,
                       std::uint64_t count, std::uint64_t most) {
    const bool gives = request.is_root() == (from == From::root);
    const auto needs = [&](int peer) {
        return !gives && (from == From::others || peer == request.root);
    };
    const auto each_peer = [&](auto&& visit) {
        // As in meet().
        for (int k = 1; k < request.size; ++k) visit((request.rank + k) % request.size);
    };
    builder.run_ahead();
    builder.use_stage_alike(most);
    if (gives) builder.copy(whole(Buffer::stage, count), whole(Buffer::input, count));
    each_peer([&](int peer) { builder.signal(peer); });
    each_peer([&](int peer) {
        if (!needs(peer)) builder.expect(peer);
    });
    each_peer([&](int peer) {
        if (needs(peer)) builder.wait(peer);
    });
}

/// Folds the contributions of all ranks: this rank's own, and each peer's at `contribution` in its
/// stage.
void fold_stages(ScheduleBuilder& builder, const Request& request, Slice dst, Slice contribution,
                 Slice own) {
    std::vector<Slice> srcs;
    for (int rank = 0; rank < request.size; ++rank) {
        srcs.push_back(rank == request.rank ? own : contribution.of(rank));
    }
    fold_all(builder, dst, srcs);
}

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    put_and_meet(builder, request.count, request.count);
    fold_stages(builder, request, whole(Buffer::output, request.count),
                whole(Buffer::stage, request.count), whole(Buffer::input, request.count));
    return std::move(builder).build();
}

Schedule reduce(const Request& request) {
    ScheduleBuilder builder(request);
    put_and_run_ahead(builder, request, From::others, request.count, request.count);
    if (request.is_root()) {
        fold_stages(builder, request, whole(Buffer::output, request.count),
                    whole(Buffer::stage, request.count), whole(Buffer::input, request.count));
    }
    return std::move(builder).build();
}

Schedule broadcast(const Request& request) {
    ScheduleBuilder builder(request);
    put_and_run_ahead(builder, request, From::root, request.count, request.count);
    const Slice output = whole(Buffer::output, request.count);
    if (request.is_root()) {
        builder.copy(output, whole(Buffer::input, request.count));
    } else {
        builder.copy(output, whole(Buffer::stage, request.count).of(request.root));
    }
    return std::move(builder).build();
}

Schedule reduce_scatter(const Request& request) {
    ScheduleBuilder builder(request);
    const Blocks blocks = request.blocks();
    put_blocks_and_meet(builder, request, blocks);
    fold_stages(builder, request, whole(Buffer::output, blocks.count(request.rank)),
                blocks.in(Buffer::stage, request.rank), blocks.in(Buffer::input, request.rank));
    return std::move(builder).build();
}

/// Takes everybody's block out, its own straight from the input.
void take_blocks(ScheduleBuilder& builder, const Request& request, const Blocks& blocks) {
    for (int rank = 0; rank < request.size; ++rank) {
        const Slice source = rank == request.rank
                                 ? whole(Buffer::input, blocks.count(rank))
                                 : whole(Buffer::stage, blocks.count(rank)).of(rank);
        builder.copy(blocks.in(Buffer::output, rank), source);
    }
}

Schedule all_gather(const Request& request) {
    ScheduleBuilder builder(request);
    const Blocks blocks = request.blocks();
    put_and_meet(builder, blocks.count(request.rank), blocks.largest());
    take_blocks(builder, request, blocks);
    return std::move(builder).build();
}

Schedule gather(const Request& request) {
    ScheduleBuilder builder(request);
    const Blocks blocks = request.blocks();
    put_and_run_ahead(builder, request, From::others, blocks.count(request.rank), blocks.largest());
    if (request.is_root()) take_blocks(builder, request, blocks);
    return std::move(builder).build();
}

Schedule scatter(const Request& request) {
    ScheduleBuilder builder(request);
    const Blocks blocks = request.blocks();
    put_and_run_ahead(builder, request, From::root, blocks.total(), blocks.total());
    const Slice own = request.is_root() ? blocks.in(Buffer::input, request.rank)
                                        : blocks.in(Buffer::stage, request.rank).of(request.root);
    builder.copy(whole(Buffer::output, blocks.count(request.rank)), own);
    return std::move(builder).build();
}

Schedule all_to_all(const Request& request) {
    ScheduleBuilder builder(request);
    const Blocks blocks = request.blocks();
    put_blocks_and_meet(builder, request, blocks);
    for (int rank = 0; rank < request.size; ++rank) {
        const Slice source = rank == request.rank ? blocks.in(Buffer::input, rank)
                                                  : blocks.in(Buffer::stage, request.rank).of(rank);
        builder.copy(blocks.in(Buffer::output, rank), source);
    }
    return std::move(builder).build();
}

Schedule barrier(const Request& request) {
    ScheduleBuilder builder(request);
    builder.run_ahead();
    builder.meet();
    return std::move(builder).build();
}

constexpr std::string_view source = "Graham and Shipman 2008, EuroPVM/MPI";

constexpr Algorithm entry(Collective collective, std::string_view cost, bool takes_counts,
                          Schedule (*build)(const Request&)) {
    return {.collective = collective,
            .name = "one_shot",
            .cost = cost,
            .source = source,
            .takes_counts = takes_counts,
            .pipelined = false,
            .reach = Reach::stages,
            .build = build};
}

constexpr std::array<Algorithm, 9> table = {{
    entry(Collective::all_reduce, "sigma + N copied + (p-1) N gamma", false, all_reduce),
    entry(Collective::reduce, "sigma + N copied + (p-1) N gamma", false, reduce),
    entry(Collective::broadcast, "sigma + 2 N copied", false, broadcast),
    entry(Collective::reduce_scatter, "sigma + (p-1)/p N copied + (p-1)/p N gamma", true,
          reduce_scatter),
    entry(Collective::all_gather, "sigma + N copied", true, all_gather),
    entry(Collective::gather, "sigma + N copied", true, gather),
    entry(Collective::scatter, "sigma + N copied", true, scatter),
    entry(Collective::all_to_all, "sigma + 2 N/p copied", false, all_to_all),
    entry(Collective::barrier, "sigma", false, barrier),
}};

}  // namespace

std::span<const Algorithm> one_shot_algorithms() { return table; }

}  // namespace pycoll
