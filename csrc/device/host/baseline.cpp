// The folds with the instructions every CPU of the architecture has (x86-64: SSE2).

#include "device/host/kernels.hpp"

namespace pycoll::host::baseline {
namespace {

constexpr std::size_t width = 16;

// One needs the other, so they stay apart: a formatter sorts neighbours.
#include "device/host/lanes.inl"

#include "device/host/software_half.inl"

#include "device/host/fold.inl"

}  // namespace

constinit const Kernels kernels = make_kernels("baseline");

}  // namespace pycoll::host::baseline
