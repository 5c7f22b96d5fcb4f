#pragma once

#include <stdexcept>

namespace pycoll {

/// A collective could not be completed; its communicator can no longer be used.
struct CollectiveError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// CUDA failed in the middle of an operation.
struct GpuError : CollectiveError {
    using CollectiveError::CollectiveError;
};

/// A wait ended at its deadline.
struct TimeoutError : CollectiveError {
    using CollectiveError::CollectiveError;
};

}  // namespace pycoll
