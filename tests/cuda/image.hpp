#pragma once

namespace pycoll::test {

/// Whether kernel_image() has anything in it: the C++ tests are always built without nvcc, with an
/// image that only drivers of theirs take.
extern bool build_has_kernels;

}  // namespace pycoll::test
