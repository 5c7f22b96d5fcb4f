#include "bindings/placement.hpp"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "bindings/stream_argument.hpp"
#include "device/cuda/gpu.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

std::string place(const NamedView& array) {
    if (!array.view.gpu) return "the host";
    return "GPU " + std::to_string(*array.view.gpu);
}

void require_one_place(const NamedView& one, const NamedView& other) {
    const bool fits =
        one.view.gpu == other.view.gpu ||
        (one.view.gpu && other.view.gpu &&
         (one.view.gpu == ArrayView::any_gpu || other.view.gpu == ArrayView::any_gpu));
    if (fits) return;
    throw py::type_error("'" + std::string(other.argument) + "' is on " + place(other) + ", but '" +
                         one.argument + "' is on " + place(one) +
                         "; pass both on the host, or both on the same GPU");
}

int ordinal_among(std::initializer_list<NamedView> arrays, Communicator& communicator) {
    for (const NamedView& array : arrays) {
        if (array.view.gpu != ArrayView::any_gpu) return *array.view.gpu;
    }
    if (const auto used = communicator.gpu()) return *used;
    return cuda::current_gpu().value_or(0);
}

}  // namespace

std::optional<OnGpu> place_of(std::initializer_list<NamedView> arrays,
                              std::optional<cuda::Stream> stream, Communicator& communicator) {
    const NamedView& first = *arrays.begin();
    for (const NamedView& array : arrays) require_one_place(first, array);
    if (!first.view.gpu) {
        if (!stream) return std::nullopt;
        throw py::type_error("'stream' is for arrays on a GPU, and '" +
                             std::string(first.argument) + "' is on the host; omit it");
    }
    OnGpu found{.ordinal = ordinal_among(arrays, communicator)};
    for (const auto& [argument, view] : arrays) {
        if (!view.after || std::ranges::find(found.after, *view.after) != found.after.end()) {
            continue;
        }
        require_not_captured(found.ordinal, *view.after,
                             view.after == stream
                                 ? "'stream'"
                                 : ("the stream that '" + std::string(argument) + "' comes after"));
        found.after.push_back(*view.after);
    }
    return found;
}

}  // namespace pycoll
