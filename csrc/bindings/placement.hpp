#pragma once

#include <initializer_list>
#include <optional>

#include "bindings/array_view.hpp"
#include "engine/call.hpp"
#include "engine/communicator.hpp"

namespace pycoll {

/// An array, by the name under which the caller knows it.
struct NamedView {
    const char* argument;
    const ArrayView& view;
};

/// Where the arrays of a call lie: nothing on the host, or all of them on one GPU, with the streams
/// that the call comes after. `stream` is the one that the caller named, if any. Arrays that do not
/// say where they are go along with the others, or else lie on the GPU of the communicator.
///
/// Throws pybind11::type_error for arrays in several places, and for a stream of arrays on the
/// host, and cuda::CudaError for a stream that is being captured.
[[nodiscard]] std::optional<OnGpu> place_of(std::initializer_list<NamedView> arrays,
                                            std::optional<cuda::Stream> stream,
                                            Communicator& communicator);

[[nodiscard]] inline std::optional<int> ordinal_of(const std::optional<OnGpu>& place) {
    return place ? std::optional(place->ordinal) : std::nullopt;
}

}  // namespace pycoll
