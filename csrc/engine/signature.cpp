#include "engine/signature.hpp"

#include <algorithm>
#include <stdexcept>

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
    counts_word,
    balance_word
};
static_assert(balance_word == SharedNode::post_words - 1, "it is the word that may differ");
// The bytes of kind_word, by shift.
constexpr unsigned dtype_shift = 8;
constexpr unsigned op_shift = 16;
constexpr unsigned gpu_shift = 24;

/// FNV-1a, word by word; never 0.
std::uint64_t hash(const std::vector<std::uint64_t>& counts) {
    std::uint64_t value = 0xcbf29ce484222325U;
    for (const std::uint64_t count : counts) value = (value ^ count) * 0x100000001b3U;
    return value | 1;
}

/// A number for what one rank sends to another.
std::uint64_t number_of(std::uint64_t from, std::uint64_t to, std::uint64_t count) {
    std::uint64_t value = 0;
    for (const std::uint64_t part : {from, to, count}) {
        // The finaliser of splitmix64 (Steele, Lea and Flood 2014).
        value += part + 0x9e3779b97f4a7c15U;
        value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9U;
        value = (value ^ value >> 27) * 0x94d049bb133111ebU;
        value ^= value >> 31;
    }
    return value;
}

/// The numbers of all that this rank sends, less those of all that it expects. If what is sent is
/// what is expected, everywhere, the balances of all ranks add up to 0; else, as good as never.
std::uint64_t balance(const Call& call, int rank) {
    const auto own = static_cast<std::uint64_t>(rank);
    std::uint64_t sum = 0;
    for (std::size_t peer = 0; peer < call.counts.size(); ++peer) {
        sum += number_of(own, peer, call.counts[peer]);
        sum -= number_of(peer, own, call.recv_counts[peer]);
    }
    return sum;
}

bool has_own_counts(const Call& call) {
    return call.collective == Collective::all_to_all && !call.counts.empty();
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

DType dtype_of(const SharedNode::Post& post) {
    return static_cast<DType>(post[kind_word] >> dtype_shift & 0xff);
}

bool is_on_gpu(const SharedNode::Post& post) { return (post[kind_word] >> gpu_shift & 1) != 0; }

std::string extras(const SharedNode::Post& post, const SharedNode::Post& other) {
    std::string text;
    if (is_on_gpu(post) != is_on_gpu(other)) text += is_on_gpu(post) ? ", on GPUs" : ", on hosts";
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
    std::string text = std::string(name(collective)) + "(" + std::string(name(dtype_of(post))) +
                       ", " + std::to_string(post[count_word]);
    if (reduces(collective)) {
        text += ", " + std::string(name(static_cast<ReduceOp>(post[kind_word] >> op_shift & 0xff)));
    }
    if (rooted(collective)) text += ", root " + std::to_string(post[root_word]);
    return text + more + ")";
}

}  // namespace

SharedNode::Post numbered(SharedNode::Post signature, std::uint64_t sequence) {
    signature[sequence_word] = sequence;
    return signature;
}

SharedNode::Post signature(const Call& call, int rank) {
    SharedNode::Post post{};
    post[kind_word] = static_cast<std::uint64_t>(call.collective);
    // A barrier moves nothing.
    if (call.collective == Collective::barrier) return post;
    post[kind_word] |= static_cast<std::uint64_t>(call.dtype) << dtype_shift;
    if (reduces(call.collective)) {
        post[kind_word] |= static_cast<std::uint64_t>(call.op) << op_shift;
    }
    if (call.gpu) post[kind_word] |= std::uint64_t{1} << gpu_shift;
    post[count_word] = call.counts.empty() ? call.count : 0;
    if (rooted(call.collective)) post[root_word] = static_cast<std::uint64_t>(call.root);
    post[algorithm_word] = number_of(call);
    post[chunk_word] = call.chunk_bytes;
    if (has_own_counts(call)) {
        post[counts_word] = 1;
        post[balance_word] = balance(call, rank);
    } else if (!call.counts.empty()) {
        post[counts_word] = hash(call.counts);
    }
    return post;
}

bool is_same_call(const SharedNode::Post& a, const SharedNode::Post& b) {
    return std::equal(a.begin(), a.end() - 1, b.begin());
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

std::optional<std::string> find_difference(int rank, std::span<const SharedNode::Post> posts) {
    const SharedNode::Post& own = posts[static_cast<std::size_t>(rank)];
    const auto other = std::ranges::find_if(
        posts, [&](const SharedNode::Post& theirs) { return !is_same_call(own, theirs); });
    if (other == posts.end()) return std::nullopt;
    return find_difference(rank, own, static_cast<int>(other - posts.begin()), *other);
}

std::string find_difference(const Neighbours& neighbours, int local) {
    const SharedNode& node = neighbours.node();
    const auto rank_of = [&](int member) {
        return neighbours.ranks()[static_cast<std::size_t>(member)];
    };
    const SharedNode::Difference found = node.difference(local);
    return find_difference(rank_of(node.rank()), found.own, rank_of(local), found.theirs);
}

std::vector<std::uint64_t> own_counts(const Call& call) {
    if (!has_own_counts(call)) return {};
    std::vector<std::uint64_t> counts = call.counts;
    counts.insert(counts.end(), call.recv_counts.begin(), call.recv_counts.end());
    return counts;
}

bool counts_fit(std::span<const SharedNode::Post> posts) {
    std::uint64_t sum = 0;
    for (const SharedNode::Post& post : posts) sum += post[balance_word];
    return sum == 0;
}

std::string find_misfit(const SharedNode::Post& post, std::span<const std::uint64_t> counts,
                        int size) {
    const auto ranks = static_cast<std::size_t>(size);
    for (std::size_t from = 0; from < ranks; ++from) {
        for (std::size_t to = 0; to < ranks; ++to) {
            const std::uint64_t sent = counts[from * 2 * ranks + to];
            const std::uint64_t expected = counts[to * 2 * ranks + ranks + from];
            if (sent == expected) continue;
            const std::string sender = "rank " + std::to_string(from);
            const std::string receiver = "rank " + std::to_string(to);
            const std::string call =
                " called all_to_all(" + std::string(name(dtype_of(post))) + ", ";
            return sender + call + std::to_string(sent) + " for " + receiver + ") as call " +
                   std::to_string(post[sequence_word]) + ", " + receiver + call +
                   std::to_string(expected) + " from " + sender +
                   "); what a rank sends to another must be what that one expects from it";
        }
    }
    throw std::logic_error("what ranks send and expect fits");
}

}  // namespace pycoll
