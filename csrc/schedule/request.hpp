#pragma once

#include <cstdint>
#include <vector>

#include "core/collective.hpp"
#include "core/slice.hpp"

namespace pycoll {

/// Consecutive blocks of a buffer, one per rank: block i is [offset[i], offset[i + 1]).
class Blocks {
public:
    /// `size` blocks of `count` elements each.
    static Blocks uniform(std::uint64_t count, int size);
    /// Blocks of the given lengths.
    static Blocks of(const std::vector<std::uint64_t>& counts);
    /// `total` elements split as evenly as possible: the first total % size blocks get one more.
    static Blocks split(std::uint64_t total, int size);

    [[nodiscard]] int size() const { return static_cast<int>(offsets_.size()) - 1; }
    [[nodiscard]] std::uint64_t offset(int block) const { return offsets_[index(block)]; }
    [[nodiscard]] std::uint64_t count(int block) const {
        return offsets_[index(block) + 1] - offsets_[index(block)];
    }
    [[nodiscard]] std::uint64_t total() const { return offsets_.back(); }
    [[nodiscard]] Slice in(Buffer buffer, int block) const {
        return {buffer, offset(block), count(block)};
    }
    /// Blocks [first, last) as one slice.
    [[nodiscard]] Slice range(Buffer buffer, int first, int last) const {
        return {buffer, offset(first), offset(last) - offset(first)};
    }
    [[nodiscard]] std::uint64_t largest() const;

private:
    explicit Blocks(std::vector<std::uint64_t> offsets) : offsets_(std::move(offsets)) {}
    static std::size_t index(int block) { return static_cast<std::size_t>(block); }
    std::vector<std::uint64_t> offsets_;
};

/// What an algorithm is asked for: the only things a schedule may depend on. All ranks of a call
/// agree on everything but `rank`, `in_place` and, for all_to_all with counts, the counts.
struct Request {
    Collective collective = Collective::all_reduce;
    int rank = 0;
    int size = 1;
    /// all_reduce, reduce, broadcast: elements of the whole vector.
    /// reduce_scatter, all_gather, gather, scatter, all_to_all: elements of one rank's block.
    std::uint64_t count = 0;
    int root = 0;
    /// Steps are cut into chunks of at most this many elements, so that they form a pipeline; 0:
    /// never cut.
    std::uint64_t chunk = 0;
    /// This rank's input and output share memory: input is the output (all_reduce, reduce and
    /// broadcast at the root), input is its own block of the output (all_gather, gather at the
    /// root), output is its own block of the input (reduce_scatter, scatter at the root).
    bool in_place = false;
    /// v-forms: elements per block, `size` of them, instead of `count`. For all_to_all: the
    /// elements this rank sends to each peer.
    std::vector<std::uint64_t> counts = {};
    /// all_to_all with counts only: the elements this rank receives from each peer.
    std::vector<std::uint64_t> recv_counts = {};
    /// The number of each rank's node, the same on all ranks; empty: all share one node.
    std::vector<int> nodes = {};

    bool operator==(const Request&) const = default;

    [[nodiscard]] bool is_root() const { return rank == root; }
    /// The blocks of a block-wise collective (the send blocks for all_to_all).
    [[nodiscard]] Blocks blocks() const;
    /// all_to_all: the blocks of the output.
    [[nodiscard]] Blocks recv_blocks() const;
    /// Elements of this rank's input and output buffers; 0 where the rank passes none.
    [[nodiscard]] std::uint64_t input_count() const;
    [[nodiscard]] std::uint64_t output_count() const;
};

/// Throws std::invalid_argument, naming the field, unless the request makes sense.
void check(const Request& request);

}  // namespace pycoll
