#pragma once

#include <pybind11/pybind11.h>

#include "bindings/bound_work.hpp"

namespace pycoll {

/// A Python function that makes collective calls on a communicator, which it keeps. Its arguments
/// are positional: collective, input, output, op, root, counts, recv_counts, algorithm,
/// chunk_bytes, async_op, stream, output_is_new. It returns a Work if async_op, else None.
///
/// It speaks Python's own calling convention (vectorcall): pybind11 takes 0.7 us to convert so many
/// arguments, more than all the rest of a short call.
[[nodiscard]] pybind11::object call_function(const SharedCommunicator& communicator);

}  // namespace pycoll
