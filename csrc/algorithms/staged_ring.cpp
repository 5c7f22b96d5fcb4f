// Staged ring: a reduction of arrays that only their owner sees, with one partial sum of each
// element in shared memory instead of a copy of everybody's. The parts of a turn go round: a rank
// puts one, adds to the next one what it has of it, and so on; the last to add to a part has its
// result. The stages in use together are as long as two turns, however many ranks there are, so
// that turns can be long and yet stay in the caches. Results are taken while the next turn is under
// way: a stage has two halves.
//
// Cost: all_reduce (p+1)/p N copied and (p-1)/p N folded per rank; a turn of p chunks costs p - 1
// sigma. Source: the ring of Patarasu and Yuan 2009, Bandwidth optimal all-reduce algorithms for
// clusters of workstations, JPDC 69(2), with the shared partial sums of Jain, Kaleem, Balmana,
// Langer, Durnov, Sannikov and Garzaran 2018, Framework for Scalable Intra-Node Collective
// Operations using Shared Memory, SC18.
#include <algorithm>
#include <array>
#include <utility>

#include "algorithms/families.hpp"
#include "algorithms/shared_fold.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

/// How the elements are divided: each turn has a part for every rank, which has the result of it.
class Turns {
public:
    /// Of a whole vector: a turn is a run of it, split evenly.
    static Turns of_vector(const Request& request) {
        const auto size = static_cast<std::uint64_t>(request.size);
        const std::uint64_t whole = (request.count + size - 1) / size;
        const std::uint64_t longest = request.chunk == 0 ? whole : std::min(request.chunk, whole);
        return {Blocks::split(request.count, 1), true, longest, longest * size, request.size};
    }
    /// Of a block for each rank: a turn is a run of each.
    static Turns of_blocks(const Request& request) {
        const Blocks blocks = request.blocks();
        const std::uint64_t whole = blocks.largest();
        const std::uint64_t longest = request.chunk == 0 ? whole : std::min(request.chunk, whole);
        return {blocks, false, longest, longest, request.size};
    }

    [[nodiscard]] std::uint64_t count() const {
        return step_ == 0 ? 0 : (blocks_.largest() + step_ - 1) / step_;
    }
    /// Elements of the longest part.
    [[nodiscard]] std::uint64_t longest() const { return longest_; }
    /// A rank's part, in the buffer that holds everything.
    [[nodiscard]] Slice part(Buffer buffer, std::uint64_t turn, int rank) const {
        if (splits_) {
            const std::uint64_t begin = turn * step_;
            const Blocks parts = Blocks::split(std::min(step_, blocks_.total() - begin), size_);
            return {buffer, begin + parts.offset(rank), parts.count(rank)};
        }
        const Slice run = own_part(buffer, turn, rank);
        return {buffer, blocks_.offset(rank) + run.offset, run.count};
    }
    /// The same in a buffer that holds the rank's block only.
    [[nodiscard]] Slice own_part(Buffer buffer, std::uint64_t turn, int rank) const {
        const std::uint64_t begin = std::min(turn * step_, blocks_.count(rank));
        return {buffer, begin, std::min(step_, blocks_.count(rank) - begin)};
    }

private:
    Turns(Blocks blocks, bool splits, std::uint64_t longest, std::uint64_t step, int size)
        : blocks_(std::move(blocks)),
          splits_(splits),
          longest_(longest),
          step_(step),
          size_(size) {}

    /// A block for each rank, or one for all, of which each turn's run is split.
    Blocks blocks_;
    bool splits_;
    std::uint64_t longest_;
    /// Elements of each block in a turn.
    std::uint64_t step_;
    int size_;
};

/// The way of the parts round the ring.
class Ring {
public:
    Ring(const Request& request, const Turns& turns)
        : builder(request), request_(request), turns_(turns) {
        builder.meet_first();
        builder.use_stage(std::min<std::uint64_t>(turns.count(), 2) * turns.longest());
    }

    /// Where a rank's part is summed up: in its own stage.
    [[nodiscard]] Slice sum(std::uint64_t turn, int rank) const {
        const std::uint64_t count = turns_.part(Buffer::input, turn, rank).count;
        const Slice place{Buffer::stage, turn % 2 * turns_.longest(), count};
        return place.of(rank);
    }
    /// Adds what this rank has to the part that has been to `adders` ranks before, the first of
    /// which was the one after its owner.
    void add(std::uint64_t turn, int adders) {
        const int owner = (2 * request_.size + request_.rank - 1 - adders) % request_.size;
        const Slice partial = sum(turn, owner);
        const Slice own = turns_.part(Buffer::input, turn, owner);
        if (adders == 0) {
            builder.copy(partial, own);
        } else {
            builder.reduce(partial, std::array{partial, own});
        }
    }
    /// The last one to add has the result of its part.
    void finish(std::uint64_t turn, const Slice& dst) {
        const Slice own = turns_.part(Buffer::input, turn, request_.rank);
        fold_all(builder, dst, std::array{sum(turn, request_.rank), own});
    }
    /// Has the next rank go on with the parts of this one, and this one with those of the last.
    void hand_on() {
        builder.signal(next());
        builder.wait(previous());
    }
    [[nodiscard]] int next() const { return (request_.rank + 1) % request_.size; }
    [[nodiscard]] int previous() const {
        return (request_.rank + request_.size - 1) % request_.size;
    }

    ScheduleBuilder builder;

private:
    const Request& request_;
    const Turns& turns_;
};

/// all_reduce and reduce: `takes_result` says whether this rank wants the whole result.
Schedule fold_vector(const Request& request, bool takes_result) {
    const Turns turns = Turns::of_vector(request);
    Ring ring(request, turns);
    ScheduleBuilder& builder = ring.builder;
    const auto finish = [&](std::uint64_t turn) {
        const Slice result = ring.sum(turn, request.rank);
        const Slice own = turns.part(Buffer::output, turn, request.rank);
        ring.finish(turn, takes_result ? own : result);
        if (takes_result && request.collective == Collective::all_reduce) builder.copy(result, own);
    };
    const auto take = [&](std::uint64_t turn) {
        if (!takes_result) return;
        for (int k = 1; k < request.size; ++k) {
            const int rank = (request.rank + k) % request.size;
            builder.copy(turns.part(Buffer::output, turn, rank), ring.sum(turn, rank));
        }
    };
    if (request.size == 1) {
        const Slice all{Buffer::input, 0, request.count};
        builder.copy({Buffer::output, 0, request.count}, all);
        return std::move(builder).build();
    }
    const std::uint64_t count = turns.count();
    for (std::uint64_t turn = 0; count > 0 && turn <= count; ++turn) {
        if (turn > 0) finish(turn - 1);
        if (turn < count) ring.add(turn, 0);
        if (turn == 0) {
            ring.hand_on();
        } else {
            builder.meet();
            take(turn - 1);
        }
        if (turn == count) break;
        // The next turn begins in the half from which the last one has just been taken. That the
        // next rank has, too, does not follow from what comes round; between two it does.
        const bool tells = turn > 0 && turn + 1 < count && request.size > 2;
        if (tells) builder.signal(ring.previous());
        for (int adders = 1; adders < request.size - 1; ++adders) {
            ring.add(turn, adders);
            ring.hand_on();
        }
        if (tells) builder.wait(ring.next());
    }
    return std::move(builder).build();
}

Schedule all_reduce(const Request& request) { return fold_vector(request, true); }

Schedule reduce(const Request& request) { return fold_vector(request, request.is_root()); }

Schedule reduce_scatter(const Request& request) {
    const Turns turns = Turns::of_blocks(request);
    Ring ring(request, turns);
    const auto finish = [&](std::uint64_t turn) {
        ring.finish(turn, turns.own_part(Buffer::output, turn, request.rank));
    };
    if (request.size == 1) {
        const std::uint64_t count = request.blocks().total();
        ring.builder.copy({Buffer::output, 0, count}, {Buffer::input, 0, count});
        return std::move(ring.builder).build();
    }
    const std::uint64_t count = turns.count();
    for (std::uint64_t turn = 0; count > 0 && turn <= count; ++turn) {
        if (turn > 0) finish(turn - 1);
        for (int adders = 0; turn < count && adders < request.size - 1; ++adders) {
            ring.add(turn, adders);
            ring.hand_on();
        }
    }
    return std::move(ring.builder).build();
}

constexpr std::string_view source = "Patarasu and Yuan 2009, JPDC 69(2), in stages as in SC18";

constexpr Algorithm entry(Collective collective, std::string_view cost, bool takes_counts,
                          Schedule (*build)(const Request&)) {
    return {.collective = collective,
            .name = "staged_ring",
            .cost = cost,
            .source = source,
            .takes_counts = takes_counts,
            .pipelined = true,
            .reach = Reach::stages,
            .build = build};
}

constexpr std::array<Algorithm, 3> table = {{
    entry(Collective::all_reduce, "(2 + (p-1) rounds) sigma + (p+1)/p N copied + (p-1)/p N gamma",
          false, all_reduce),
    entry(Collective::reduce, "(2 + (p-1) rounds) sigma + N copied + (p-1)/p N gamma", false,
          reduce),
    entry(Collective::reduce_scatter, "(1 + (p-1) rounds) sigma + N/p copied + (p-1)/p N gamma",
          true, reduce_scatter),
}};

}  // namespace

std::span<const Algorithm> staged_ring_algorithms() { return table; }

}  // namespace pycoll
