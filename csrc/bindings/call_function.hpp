#pragma once

#include <pybind11/pybind11.h>

#include "bindings/bound_work.hpp"

namespace pycoll {

/// A Python function that makes collective calls on a communicator, which it keeps:
/// (collective, array, out, result, *, op="sum", root=0, counts=None, recv_counts=None,
/// algorithm="auto", chunk_bytes=0, async_op=False, stream=None, new_out=False), where new_out says
/// that `out` was made for this call. It returns `result`; if async_op, a `work_type` of a Work and
/// of that.
///
/// It speaks Python's own calling convention (vectorcall): pybind11 takes 0.7 us to convert so many
/// arguments, more than all the rest of a short call.
[[nodiscard]] pybind11::object call_function(const SharedCommunicator& communicator,
                                             pybind11::object work_type);

}  // namespace pycoll
