#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "bindings/array_view.hpp"
#include "engine/call.hpp"
#include "engine/communicator.hpp"

namespace pycoll {

/// The arrays of one call.
struct Arrays {
    ArrayView input;
    ArrayView output;
};

/// May be dropped by any thread, with or without the interpreter lock.
[[nodiscard]] std::shared_ptr<Arrays> shared_arrays();

/// What Python passes for a collective call.
struct CollectiveArguments {
    pybind11::handle input;
    pybind11::handle output;
    pybind11::handle op;
    int root;
    std::optional<std::vector<std::uint64_t>> counts;
    std::optional<std::vector<std::uint64_t>> recv_counts;
    pybind11::handle algorithm;
    pybind11::handle chunk_bytes;
    pybind11::handle stream;
    /// Was the output made for this call? Then its library knows better than the caller what must
    /// come before it is written: memory that it used for something else until now.
    bool output_is_new;
};

/// Works out the call and the views in `arrays`, which it points into. Checks all that can be
/// checked without knowing the algorithms; throws pybind11::type_error or value_error, or
/// std::invalid_argument, naming the argument, or cuda::CudaError.
[[nodiscard]] Call collective_call(Collective collective, Communicator& communicator,
                                   CollectiveArguments arguments, Arrays& arrays);

}  // namespace pycoll
