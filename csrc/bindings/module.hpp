#pragma once

#include <pybind11/pybind11.h>

namespace pycoll {

void bind_schedule(pybind11::module_& m);
void bind_shared_memory(pybind11::module_& m);
void bind_gpu_memory(pybind11::module_& m);
void bind_communicator(pybind11::module_& m);
void bind_cuda(pybind11::module_& m);

}  // namespace pycoll
