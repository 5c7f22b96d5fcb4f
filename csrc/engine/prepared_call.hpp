#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/collective.hpp"
#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "engine/plan.hpp"
#include "transport/shared/node.hpp"

namespace pycoll {

/// A collective call of one communicator with all worked out that is the same when it is made
/// again, wherever its arrays lie then. Immutable, but for the number of its runs.
struct PreparedCall {
    Collective collective = Collective::barrier;
    DType dtype = DType::u8;
    ReduceOp op = ReduceOp::sum;
    std::uint64_t count = 0;
    std::uint64_t input_bytes = 0;
    std::uint64_t output_bytes = 0;
    bool in_place = false;
    /// As in_place_shift() returns it.
    std::ptrdiff_t in_place_shift = 0;
    /// Two plans, if it depends on whether the arrays of all ranks are registered.
    std::shared_ptr<const Plan> if_private;
    std::shared_ptr<const Plan> if_registered;
    /// Do the ranks of the node meet in the plan itself, which is then the same for all arrays?
    bool meets_in_plan = false;
    bool on_gpu = false;
    /// As signature() returns it, but without the number of the call.
    SharedNode::Post post{};
    /// As own_counts() returns them.
    std::vector<std::uint64_t> counts;
    /// How often it has been run to its end. With the communicator's lock.
    mutable std::uint64_t runs = 0;

    /// Is it this call, too, with its arrays there? Else they overlap in another way.
    [[nodiscard]] bool fits(const void* input, const void* output) const {
        const auto from = reinterpret_cast<std::uintptr_t>(input);
        const auto to = reinterpret_cast<std::uintptr_t>(output);
        if (in_place) return from == to + static_cast<std::uintptr_t>(in_place_shift);
        if (input_bytes == 0 || output_bytes == 0) return true;
        return from >= to + output_bytes || to >= from + input_bytes;
    }
};

}  // namespace pycoll
