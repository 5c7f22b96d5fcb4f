// Direct: each rank does its share of the work in the arrays of all ranks of its node. In an
// all-reduce it folds its 1/p of the vector straight from everybody's input and writes the result
// straight into everybody's output, piece by piece while it is in the cache.
//
// Cost: all_reduce 2 N bytes moved per rank, where a ring over messages moves about 7 N; one round
// of signals before, so that all inputs are there, and one after, so that all outputs are.
// Source: two-shot all-reduce over peers' memory, as in NVIDIA's custom all-reduce kernels
// (TensorRT-LLM, vLLM) and NVLink SHARP; XPMEM-based collectives in Open MPI: Hashmi, Chakraborty,
// Bayatpour, Subramoni and Panda 2018, Designing Efficient Shared Address Space Reduction
// Collectives for Multi-/Many-cores, IPDPS.
#include <algorithm>
#include <array>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/shared_fold.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

/// Calls piece(slice) for the pieces of a slice, of at most Request::chunk elements.
template <typename Piece>
void in_pieces(const Request& request, const Slice& slice, Piece&& piece) {
    const std::uint64_t longest = request.chunk == 0 ? slice.count : request.chunk;
    for (std::uint64_t skip = 0; skip < slice.count; skip += longest) {
        piece(slice.part(skip, std::min(longest, slice.count - skip)));
    }
}

std::vector<Slice> of_all(const Request& request, const Slice& slice) {
    std::vector<Slice> all;
    for (int rank = 0; rank < request.size; ++rank) all.push_back(slice.of(rank));
    return all;
}

/// The same elements in another buffer.
Slice in(Buffer buffer, const Slice& slice) { return {buffer, slice.offset, slice.count}; }

/// Copies a piece into the outputs of all peers, starting with the next rank, so that not all write
/// to the same one at once.
void spread(ScheduleBuilder& builder, const Request& request, const Slice& dst, const Slice& src) {
    for (int k = 1; k < request.size; ++k) {
        builder.copy(dst.of((request.rank + k) % request.size), src);
    }
}

/// This rank's share of a vector that all ranks work on.
Slice share(const Request& request) {
    return Blocks::split(request.count, request.size).in(Buffer::input, request.rank);
}

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    in_pieces(request, share(request), [&](const Slice& piece) {
        const Slice result = in(Buffer::output, piece);
        fold_all(builder, result, of_all(request, piece));
        spread(builder, request, result, result);
    });
    builder.meet();
    return std::move(builder).build();
}

Schedule reduce(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    in_pieces(request, share(request), [&](const Slice& piece) {
        fold_all(builder, in(Buffer::output, piece).of(request.root), of_all(request, piece));
    });
    builder.meet();
    return std::move(builder).build();
}

Schedule reduce_scatter(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Slice own = request.blocks().in(Buffer::input, request.rank);
    in_pieces(request, own, [&](const Slice& piece) {
        fold_all(builder, {Buffer::output, piece.offset - own.offset, piece.count},
                 of_all(request, piece));
    });
    builder.meet();
    return std::move(builder).build();
}

Schedule all_gather(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Blocks blocks = request.blocks();
    in_pieces(request, {Buffer::input, 0, blocks.count(request.rank)}, [&](const Slice& piece) {
        const Slice place{Buffer::output, blocks.offset(request.rank) + piece.offset, piece.count};
        builder.copy(place, piece);
        spread(builder, request, place, piece);
    });
    builder.meet();
    return std::move(builder).build();
}

/// Each rank copies its share from the root to everybody, so that all work and each piece is read
/// from memory once. The root alone knows whether its output is another array.
Schedule broadcast(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    in_pieces(request, share(request), [&](const Slice& piece) {
        for (int k = 0; k < request.size; ++k) {
            const int peer = (request.rank + k) % request.size;
            if (peer == request.root) continue;
            builder.copy(in(Buffer::output, piece).of(peer), piece.of(request.root));
        }
    });
    if (request.is_root()) {
        builder.copy({Buffer::output, 0, request.count}, {Buffer::input, 0, request.count});
    }
    builder.meet();
    return std::move(builder).build();
}

Schedule gather(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Blocks blocks = request.blocks();
    builder.copy(blocks.in(Buffer::output, request.rank).of(request.root),
                 {Buffer::input, 0, blocks.count(request.rank)});
    builder.meet();
    return std::move(builder).build();
}

Schedule scatter(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Blocks blocks = request.blocks();
    builder.copy({Buffer::output, 0, blocks.count(request.rank)},
                 blocks.in(Buffer::input, request.rank).of(request.root));
    builder.meet();
    return std::move(builder).build();
}

Schedule all_to_all(const Request& request) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    const Blocks blocks = request.blocks();
    for (int k = 0; k < request.size; ++k) {
        const int peer = (request.rank + k) % request.size;
        builder.copy(blocks.in(Buffer::output, peer),
                     blocks.in(Buffer::input, request.rank).of(peer));
    }
    builder.meet();
    return std::move(builder).build();
}

constexpr std::string_view source =
    "Hashmi, Chakraborty, Bayatpour, Subramoni and Panda 2018, IPDPS";

constexpr Algorithm entry(Collective collective, std::string_view cost, bool takes_counts,
                          Schedule (*build)(const Request&)) {
    return {.collective = collective,
            .name = "direct",
            .cost = cost,
            .source = source,
            .takes_counts = takes_counts,
            .pipelined = true,
            .reach = Reach::arrays,
            .build = build};
}

constexpr std::array<Algorithm, 8> table = {{
    entry(Collective::all_reduce, "2 sigma + (p-1)/p N (gamma + copied)", false, all_reduce),
    entry(Collective::reduce, "2 sigma + (p-1)/p N gamma", false, reduce),
    entry(Collective::broadcast, "2 sigma + (p-1)/p N copied", false, broadcast),
    entry(Collective::reduce_scatter, "2 sigma + (p-1)/p N gamma", true, reduce_scatter),
    entry(Collective::all_gather, "2 sigma + N copied", true, all_gather),
    entry(Collective::gather, "2 sigma + N/p copied", true, gather),
    entry(Collective::scatter, "2 sigma + N/p copied", true, scatter),
    entry(Collective::all_to_all, "2 sigma + N/p copied", false, all_to_all),
}};

}  // namespace

std::span<const Algorithm> direct_algorithms() { return table; }

}  // namespace pycoll
