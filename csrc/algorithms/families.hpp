#pragma once

#include <span>

#include "algorithms/algorithms.hpp"

namespace pycoll {

// One line per file of algorithms; algorithms.cpp joins their tables.
std::span<const Algorithm> binary_tree_algorithms();
std::span<const Algorithm> binomial_algorithms();
std::span<const Algorithm> bruck_algorithms();
std::span<const Algorithm> chain_algorithms();
std::span<const Algorithm> direct_algorithms();
std::span<const Algorithm> dissemination_algorithms();
std::span<const Algorithm> double_tree_algorithms();
std::span<const Algorithm> hierarchical_algorithms();
std::span<const Algorithm> hierarchical_blocks_algorithms();
std::span<const Algorithm> linear_algorithms();
std::span<const Algorithm> one_shot_algorithms();
std::span<const Algorithm> pairwise_algorithms();
std::span<const Algorithm> rabenseifner_algorithms();
std::span<const Algorithm> recursive_doubling_algorithms();
std::span<const Algorithm> recursive_halving_algorithms();
std::span<const Algorithm> ring_algorithms();
std::span<const Algorithm> scatter_all_gather_algorithms();
std::span<const Algorithm> staged_algorithms();
std::span<const Algorithm> staged_ring_algorithms();

}  // namespace pycoll
