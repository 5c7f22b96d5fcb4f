#include "bindings/module.hpp"

#include <mpi.h>

#include <string>

#include "bindings/shortcut.hpp"

namespace {

/// The MPI this core was compiled against, in the words of its header.
std::string built_against() {
#if defined(OPEN_MPI)
    return "Open MPI " + std::to_string(OMPI_MAJOR_VERSION) + "." +
           std::to_string(OMPI_MINOR_VERSION) + "." + std::to_string(OMPI_RELEASE_VERSION);
#elif defined(I_MPI_VERSION)
    return "Intel MPI " I_MPI_VERSION;
#else
    return "MPICH " MPICH_VERSION;
#endif
}

}  // namespace

// Named for the family of MPI, so that cores for several can lie side by side.
PYBIND11_MODULE(PYCOLL_MODULE, m) {
    m.doc() = "Native core of pycoll; use the package pycoll instead.";
    m.attr("built_against") = built_against();
    pycoll::bind_schedule(m);
    pycoll::bind_shared_memory(m);
    pycoll::bind_gpu_memory(m);
    pycoll::bind_communicator(m);
    pycoll::bind_shortcut(m);
    pycoll::bind_cuda(m);
}
