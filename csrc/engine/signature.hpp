#pragma once

#include <cstdint>
#include <string>

#include "engine/call.hpp"
#include "transport/shared/node.hpp"

namespace pycoll {

/// What all ranks of a call must agree on, as words that ranks can show each other.
[[nodiscard]] SharedNode::Post signature(const Call& call, std::uint64_t sequence);

/// "call 17, all_reduce(float32, 1000, sum)".
[[nodiscard]] std::string describe(const SharedNode::Post& post);

/// In what the calls of two ranks differ, as a sentence.
[[nodiscard]] std::string find_difference(int rank, const SharedNode::Post& own, int peer,
                                          const SharedNode::Post& theirs);

}  // namespace pycoll
