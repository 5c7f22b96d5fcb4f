#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "engine/call.hpp"
#include "engine/neighbours.hpp"
#include "transport/shared/node.hpp"

namespace pycoll {

/// What all ranks of a call must agree on, as words that ranks can show each other. The last word
/// is each rank's own: see counts_fit(). The number of the call is 0.
[[nodiscard]] SharedNode::Post signature(const Call& call, int rank);
[[nodiscard]] SharedNode::Post numbered(SharedNode::Post signature, std::uint64_t sequence);

[[nodiscard]] bool is_same_call(const SharedNode::Post& a, const SharedNode::Post& b);

/// "call 17, all_reduce(float32, 1000, sum)".
[[nodiscard]] std::string describe(const SharedNode::Post& post);

/// In what the calls of two ranks differ, as a sentence.
[[nodiscard]] std::string find_difference(int rank, const SharedNode::Post& own, int peer,
                                          const SharedNode::Post& theirs);
/// The same of this rank and the first one that has made another call; nothing if all have made
/// the same. `posts`: what all ranks have posted, in order.
[[nodiscard]] std::optional<std::string> find_difference(int rank,
                                                         std::span<const SharedNode::Post> posts);

/// The same of this rank and a neighbour that has been found to make other calls.
[[nodiscard]] std::string find_difference(const Neighbours& neighbours, int local);

/// What a rank of an all_to_all with counts tells the others if these do not fit: how much it sends
/// to each rank, then how much it expects from each. Empty for other calls.
[[nodiscard]] std::vector<std::uint64_t> own_counts(const Call& call);
/// Does each rank send to each what that one expects? `posts`: of all ranks.
[[nodiscard]] bool counts_fit(std::span<const SharedNode::Post> posts);
/// The first two ranks of which one sends what the other does not expect, as a sentence, the same
/// on all ranks. `counts`: the own_counts() of all ranks, in order.
[[nodiscard]] std::string find_misfit(const SharedNode::Post& post,
                                      std::span<const std::uint64_t> counts, int size);

}  // namespace pycoll
