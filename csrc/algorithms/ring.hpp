#pragma once

#include <functional>

#include "algorithms/virtual_ranks.hpp"
#include "schedule/builder.hpp"

namespace pycoll {

/// Where a rank keeps each block.
using BlockPlace = std::function<Slice(int block)>;

/// Folds everybody's `input` blocks so that each rank ends with its own block in `sums`. The sums
/// that it passes on go through their places in `sums`, each written in one round and sent in the
/// next.
void ring_reduce_scatter(ScheduleBuilder& builder, const VirtualRanks& ranks,
                         const BlockPlace& input, const BlockPlace& sums);

/// Collects all blocks in `output`. At the start rank v holds `held` blocks, v, v + 1, ..., and the
/// next rank `next_held`; nobody is sent what it holds. `own` is block v, wherever it lies.
void ring_all_gather(ScheduleBuilder& builder, const VirtualRanks& ranks, const Slice& own,
                     const BlockPlace& output, int held = 1, int next_held = 1);

}  // namespace pycoll
