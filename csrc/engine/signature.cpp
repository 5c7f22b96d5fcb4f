#include "engine/signature.hpp"

#include <algorithm>

#include "algorithms/algorithms.hpp"

namespace pycoll {
namespace {

// The words of a post.
enum Word : std::size_t {
    sequence_word,
    kind_word,
    count_word,
    root_word,
    algorithm_word,
    chunk_word,
    counts_word
};
// The bytes of kind_word, by shift.
constexpr unsigned dtype_shift = 8;
constexpr unsigned op_shift = 16;

/// FNV-1a, word by word; never 0.
std::uint64_t hash(const std::vector<std::uint64_t>& counts) {
    std::uint64_t value = 0xcbf29ce484222325U;
    for (const std::uint64_t count : counts) value = (value ^ count) * 0x100000001b3U;
    return value | 1;
}

/// 0 for "auto", else the number of the algorithm, from 1.
std::uint64_t number_of(const Call& call) {
    const auto all = algorithms();
    const auto found = std::ranges::find_if(all, [&](const Algorithm& algorithm) {
        return algorithm.collective == call.collective && algorithm.name == call.algorithm;
    });
    return found == all.end() ? 0 : static_cast<std::uint64_t>(found - all.begin()) + 1;
}

Collective collective_of(const SharedNode::Post& post) {
    return static_cast<Collective>(post[kind_word] & 0xff);
}

std::string extras(const SharedNode::Post& post, const SharedNode::Post& other) {
    std::string text;
    if (post[algorithm_word] != other[algorithm_word]) {
        text += ", algorithm ";
        text += post[algorithm_word] == 0 ? "auto" : algorithms()[post[algorithm_word] - 1].name;
    }
    if (post[chunk_word] != other[chunk_word]) {
        text += ", chunk_bytes " + std::to_string(post[chunk_word]);
    }
    if (post[counts_word] != other[counts_word]) {
        text += post[counts_word] == 0 ? ", without counts" : ", with other counts";
    }
    return text;
}

std::string describe_arguments(const SharedNode::Post& post, const std::string& more) {
    const Collective collective = collective_of(post);
    if (collective == Collective::barrier) return "barrier()";
    const auto dtype = static_cast<DType>(post[kind_word] >> dtype_shift & 0xff);
    std::string text = std::string(name(collective)) + "(" + std::string(name(dtype)) + ", " +
                       std::to_string(post[count_word]);
    if (reduces(collective)) {
        text += ", " + std::string(name(static_cast<ReduceOp>(post[kind_word] >> op_shift & 0xff)));
    }
    if (rooted(collective)) text += ", root " + std::to_string(post[root_word]);
    return text + more + ")";
}

}  // namespace

SharedNode::Post signature(const Call& call, std::uint64_t sequence) {
    SharedNode::Post post{};
    post[sequence_word] = sequence;
    post[kind_word] = static_cast<std::uint64_t>(call.collective);
    // A barrier moves nothing.
    if (call.collective == Collective::barrier) return post;
    post[kind_word] |= static_cast<std::uint64_t>(call.dtype) << dtype_shift;
    if (reduces(call.collective)) {
        post[kind_word] |= static_cast<std::uint64_t>(call.op) << op_shift;
    }
    // The counts of an all_to_all are each rank's own.
    const bool own_counts = call.collective == Collective::all_to_all && !call.counts.empty();
    post[count_word] = own_counts || !call.counts.empty() ? 0 : call.count;
    if (rooted(call.collective)) post[root_word] = static_cast<std::uint64_t>(call.root);
    post[algorithm_word] = number_of(call);
    post[chunk_word] = call.chunk_bytes;
    if (own_counts) {
        post[counts_word] = 1;
    } else if (!call.counts.empty()) {
        post[counts_word] = hash(call.counts);
    }
    return post;
}

std::string describe(const SharedNode::Post& post) {
    return "call " + std::to_string(post[sequence_word]) + ", " + describe_arguments(post, "");
}

std::string find_difference(int rank, const SharedNode::Post& own, int peer,
                            const SharedNode::Post& theirs) {
    const auto call = [](int who, const SharedNode::Post& post, const SharedNode::Post& other) {
        return "rank " + std::to_string(who) + " called " +
               describe_arguments(post, extras(post, other)) + " as call " +
               std::to_string(post[sequence_word]);
    };
    return call(peer, theirs, own) + ", rank " + std::to_string(rank) + " called " +
           describe_arguments(own, extras(own, theirs)) +
           (own[sequence_word] == theirs[sequence_word]
                ? ""
                : " as call " + std::to_string(own[sequence_word])) +
           "; all ranks must make the same calls in the same order";
}

}  // namespace pycoll
