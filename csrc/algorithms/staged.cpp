// Staged: arrays that only their owner sees pass through memory that all ranks of the node see, a
// cache-sized piece at a time. While the ranks take one piece out, the next is put in: a stage has
// two halves, and one round of signals separates the turns.
//
// Cost: all_reduce (2p-1)/p N copied and (p-1)/p N folded per rank, in rounds of p chunks; a round
// costs one sigma.
// Source: double-buffered shared stages as in Graham and Shipman 2008, MPI Support for Multi-core
// Architectures, EuroPVM/MPI; Jain, Kaleem, Balmana, Langer, Durnov, Sannikov and
// Garzaran 2018, Framework for Scalable Intra-Node Collective Operations using Shared Memory, SC18.
#include <algorithm>
#include <array>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/shared_fold.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

/// Elements that are moved at a time, of so many.
std::uint64_t chunk_of(const Request& request, std::uint64_t length) {
    return request.chunk == 0 ? length : request.chunk;
}

/// The turns of one call: how the elements are divided, and the two halves of each stage.
class Rounds {
public:
    /// A vector of which each turn stages a chunk.
    explicit Rounds(const Request& request)
        : Rounds(request.count, chunk_of(request, request.count),
                 std::min(chunk_of(request, request.count), request.count)) {}
    /// `length` elements, `step` of them in each turn; `staged` elements in each half of a stage.
    Rounds(std::uint64_t length, std::uint64_t step, std::uint64_t staged)
        : length_(length), step_(std::max<std::uint64_t>(step, 1)), staged_(staged) {}

    [[nodiscard]] std::uint64_t count() const { return (length_ + step_ - 1) / step_; }
    /// The elements of a turn, as a run of `length`.
    [[nodiscard]] Slice run(Buffer buffer, std::uint64_t turn) const {
        const std::uint64_t begin = turn * step_;
        return {buffer, begin, std::min(step_, length_ - begin)};
    }
    /// Where the half of the stage that a turn uses begins.
    [[nodiscard]] std::uint64_t half(std::uint64_t turn) const { return turn % 2 * staged_; }
    /// Where the elements of a turn lie there.
    [[nodiscard]] Slice staged(std::uint64_t turn) const {
        return {Buffer::stage, half(turn), run(Buffer::stage, turn).count};
    }
    [[nodiscard]] std::uint64_t stage_count() const {
        return std::min<std::uint64_t>(count(), 2) * staged_;
    }

private:
    std::uint64_t length_;
    std::uint64_t step_;
    std::uint64_t staged_;
};

/// Whole vectors: a turn stages as many elements as there are ranks times the chunk. Rank r folds
/// part r of them, into the end of its half.
class VectorRounds {
public:
    explicit VectorRounds(const Request& request)
        : size_(request.size),
          full_(full_turn(request)),
          rounds_(request.count, full_, full_ + Blocks::split(full_, size_).largest()) {}

    [[nodiscard]] const Rounds& rounds() const { return rounds_; }
    [[nodiscard]] Blocks parts(std::uint64_t turn) const {
        return Blocks::split(rounds_.run(Buffer::input, turn).count, size_);
    }
    /// Where `rank` leaves the part that it has folded.
    [[nodiscard]] Slice result(std::uint64_t turn, int rank) const {
        const Slice own{Buffer::stage, rounds_.half(turn) + full_, parts(turn).count(rank)};
        return own.of(rank);
    }

private:
    static std::uint64_t full_turn(const Request& request) {
        const std::uint64_t longest = request.chunk * static_cast<std::uint64_t>(request.size);
        return request.chunk == 0 ? request.count : std::min(longest, request.count);
    }

    int size_;
    /// Elements of a turn, but for the last.
    std::uint64_t full_;
    Rounds rounds_;
};

/// all_reduce and reduce: `takes_result` says whether this rank wants the whole result.
Schedule fold_vector(const Request& request, bool takes_result) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    const VectorRounds vector(request);
    const Rounds& rounds = vector.rounds();
    builder.use_stage(rounds.stage_count());
    // Its own part a rank has at hand.
    const auto put = [&](std::uint64_t turn) {
        const Slice all = rounds.run(Buffer::input, turn);
        const Blocks parts = vector.parts(turn);
        const std::uint64_t begin = parts.offset(request.rank);
        const std::uint64_t end = begin + parts.count(request.rank);
        builder.copy(rounds.staged(turn).part(0, begin), all.part(0, begin));
        builder.copy(rounds.staged(turn).part(end, all.count - end),
                     all.part(end, all.count - end));
    };
    const auto fold = [&](std::uint64_t turn) {
        const Blocks parts = vector.parts(turn);
        const auto own = [&](const Slice& all) {
            return all.part(parts.offset(request.rank), parts.count(request.rank));
        };
        std::vector<Slice> srcs;
        for (int rank = 0; rank < request.size; ++rank) {
            srcs.push_back(rank == request.rank ? own(rounds.run(Buffer::input, turn))
                                                : own(rounds.staged(turn)).of(rank));
        }
        const Slice result = vector.result(turn, request.rank);
        if (!takes_result) return fold_all(builder, result, srcs);
        fold_all(builder, own(rounds.run(Buffer::output, turn)), srcs);
        if (request.collective == Collective::all_reduce) {
            builder.copy(result, own(rounds.run(Buffer::output, turn)));
        }
    };
    const auto take = [&](std::uint64_t turn) {
        if (!takes_result) return;
        const Slice all = rounds.run(Buffer::output, turn);
        const Blocks parts = vector.parts(turn);
        for (int k = 1; k < request.size; ++k) {
            const int rank = (request.rank + k) % request.size;
            builder.copy(all.part(parts.offset(rank), parts.count(rank)),
                         vector.result(turn, rank));
        }
    };
    if (rounds.count() > 0) {
        put(0);
        builder.meet();
    }
    for (std::uint64_t turn = 0; turn < rounds.count(); ++turn) {
        fold(turn);
        if (turn + 1 < rounds.count()) put(turn + 1);
        builder.meet();
        take(turn);
    }
    return std::move(builder).build();
}

Schedule reduce(const Request& request) { return fold_vector(request, request.is_root()); }

/// The schedule of a collective in which what was put is taken as it is: `put` and `take` are told
/// the turn.
template <typename Put, typename Take>
Schedule exchange(const Request& request, const Rounds& rounds, Put&& put, Take&& take) {
    ScheduleBuilder builder(request);
    builder.meet_first();
    builder.use_stage(rounds.stage_count());
    for (std::uint64_t turn = 0; turn < rounds.count(); ++turn) {
        put(builder, turn);
        // Whoever gets here has taken the turn before the last out, so its half is free for the
        // next one.
        builder.meet();
        take(builder, turn);
    }
    return std::move(builder).build();
}

Schedule all_reduce(const Request& request) { return fold_vector(request, true); }

Schedule broadcast(const Request& request) {
    const Rounds rounds(request);
    return exchange(
        request, rounds,
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            if (!request.is_root()) return;
            builder.copy(rounds.staged(turn), rounds.run(Buffer::input, turn));
        },
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            const Slice from = request.is_root() ? rounds.run(Buffer::input, turn)
                                                 : rounds.staged(turn).of(request.root);
            builder.copy(rounds.run(Buffer::output, turn), from);
        });
}

/// The elements that a turn moves of block i of a block-wise collective.
class BlockRounds {
public:
    /// `puts_all`: some rank puts its part of every block, not only of its own.
    BlockRounds(const Request& request, bool puts_all)
        : blocks_(request.blocks()),
          step_(chunk_of(request, blocks_.largest())),
          puts_all_(puts_all),
          rounds_(blocks_.largest(), step_, (puts_all ? ranks() : 1) * std::min(step_, largest())) {
    }

    [[nodiscard]] const Rounds& rounds() const { return rounds_; }
    /// The part of a block that a turn moves, as a slice of the buffer that holds all blocks.
    [[nodiscard]] Slice of_all(Buffer buffer, std::uint64_t turn, int block) const {
        const Slice part = of_own(buffer, turn, block);
        return {buffer, blocks_.offset(block) + part.offset, part.count};
    }
    /// The same of the buffer that holds this block only.
    [[nodiscard]] Slice of_own(Buffer buffer, std::uint64_t turn, int block) const {
        const std::uint64_t begin = std::min(turn * step_, blocks_.count(block));
        return {buffer, begin, std::min(step_, blocks_.count(block) - begin)};
    }
    /// Where it lies in a stage.
    [[nodiscard]] Slice staged(std::uint64_t turn, int block) const {
        const std::uint64_t place =
            puts_all_ ? static_cast<std::uint64_t>(block) * std::min(step_, largest()) : 0;
        return {Buffer::stage, rounds_.half(turn) + place,
                of_own(Buffer::input, turn, block).count};
    }

private:
    [[nodiscard]] std::uint64_t ranks() const { return static_cast<std::uint64_t>(blocks_.size()); }
    [[nodiscard]] std::uint64_t largest() const { return blocks_.largest(); }

    Blocks blocks_;
    std::uint64_t step_;
    bool puts_all_;
    Rounds rounds_;
};

/// Puts this rank's part of all blocks, its own, which it has at hand, excepted.
void put_blocks(ScheduleBuilder& builder, const Request& request, const BlockRounds& blocks,
                std::uint64_t turn) {
    for (int k = 1; k < request.size; ++k) {
        const int block = (request.rank + k) % request.size;
        builder.copy(blocks.staged(turn, block), blocks.of_all(Buffer::input, turn, block));
    }
}

Schedule reduce_scatter(const Request& request) {
    const BlockRounds blocks(request, true);
    return exchange(
        request, blocks.rounds(),
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            put_blocks(builder, request, blocks, turn);
        },
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            std::vector<Slice> srcs;
            for (int rank = 0; rank < request.size; ++rank) {
                srcs.push_back(rank == request.rank ? blocks.of_all(Buffer::input, turn, rank)
                                                    : blocks.staged(turn, request.rank).of(rank));
            }
            fold_all(builder, blocks.of_own(Buffer::output, turn, request.rank), srcs);
        });
}

/// all_gather and gather: `takes` says whether this rank wants the blocks.
Schedule collect(const Request& request, bool takes) {
    const BlockRounds blocks(request, false);
    return exchange(
        request, blocks.rounds(),
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            if (request.size == 1) return;
            builder.copy(blocks.staged(turn, request.rank),
                         blocks.of_own(Buffer::input, turn, request.rank));
        },
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            if (!takes) return;
            for (int k = 0; k < request.size; ++k) {
                const int rank = (request.rank + k) % request.size;
                builder.copy(blocks.of_all(Buffer::output, turn, rank),
                             rank == request.rank ? blocks.of_own(Buffer::input, turn, rank)
                                                  : blocks.staged(turn, rank).of(rank));
            }
        });
}

Schedule all_gather(const Request& request) { return collect(request, true); }

Schedule gather(const Request& request) { return collect(request, request.is_root()); }

Schedule scatter(const Request& request) {
    const BlockRounds blocks(request, true);
    return exchange(
        request, blocks.rounds(),
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            if (request.is_root()) put_blocks(builder, request, blocks, turn);
        },
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            builder.copy(blocks.of_own(Buffer::output, turn, request.rank),
                         request.is_root() ? blocks.of_all(Buffer::input, turn, request.rank)
                                           : blocks.staged(turn, request.rank).of(request.root));
        });
}

/// Counts must be the same on all ranks: what one rank is sent by all is equally long, or the ranks
/// would not agree on the number of turns.
Schedule all_to_all(const Request& request) {
    const BlockRounds blocks(request, true);
    const Blocks received = request.recv_blocks();
    return exchange(
        request, blocks.rounds(),
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            put_blocks(builder, request, blocks, turn);
        },
        [&](ScheduleBuilder& builder, std::uint64_t turn) {
            for (int k = 0; k < request.size; ++k) {
                const int rank = (request.rank + k) % request.size;
                const Slice part = blocks.of_own(Buffer::output, turn, request.rank);
                builder.copy(received.in(Buffer::output, rank).part(part.offset, part.count),
                             rank == request.rank ? blocks.of_all(Buffer::input, turn, rank)
                                                  : blocks.staged(turn, request.rank).of(rank));
            }
        });
}

constexpr std::string_view source =
    "Jain, Kaleem, Balmana, Langer, Durnov, Sannikov and Garzaran 2018, SC18";

constexpr Algorithm entry(Collective collective, std::string_view cost, bool takes_counts,
                          Schedule (*build)(const Request&)) {
    return {.collective = collective,
            .name = "staged",
            .cost = cost,
            .source = source,
            .takes_counts = takes_counts,
            .pipelined = true,
            .reach = Reach::stages,
            .build = build};
}

constexpr std::array<Algorithm, 8> table = {{
    entry(Collective::all_reduce, "(2 + rounds) sigma + (2p-1)/p N copied + (p-1)/p N gamma", false,
          all_reduce),
    entry(Collective::reduce, "(2 + rounds) sigma + N copied + (p-1)/p N gamma", false, reduce),
    entry(Collective::broadcast, "(1 + rounds) sigma + N copied twice", false, broadcast),
    entry(Collective::reduce_scatter, "(1 + rounds) sigma + N copied + (p-1)/p N gamma", true,
          reduce_scatter),
    entry(Collective::all_gather, "(1 + rounds) sigma + N copied", true, all_gather),
    entry(Collective::gather, "(1 + rounds) sigma + N copied", true, gather),
    entry(Collective::scatter, "(1 + rounds) sigma + N copied", true, scatter),
    entry(Collective::all_to_all, "(1 + rounds) sigma + 2 N/p copied", false, all_to_all),
}};

}  // namespace

std::span<const Algorithm> staged_algorithms() { return table; }

}  // namespace pycoll
