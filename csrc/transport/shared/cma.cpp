#include "transport/shared/cma.hpp"

#include <sys/uio.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

namespace pycoll::cma {
namespace {

using Copy = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long,
                         unsigned long);

/// In as many calls as it takes: the kernel stops at 2 GiB, and at memory that it cannot reach.
void copy(Copy how, const char* what, pid_t process, std::byte* there, std::byte* here,
          std::size_t bytes) {
    while (bytes > 0) {
        const iovec own{here, bytes};
        const iovec its{there, bytes};
        const ssize_t copied = how(process, &own, 1, &its, 1, 0);
        if (copied <= 0) {
            throw std::system_error(
                copied < 0 ? errno : EFAULT, std::generic_category(),
                std::string("cannot ") + what + " an array of process " + std::to_string(process));
        }
        const auto done = static_cast<std::size_t>(copied);
        here += done;
        there += done;
        bytes -= done;
    }
}

}  // namespace

void read(pid_t process, const void* from, void* into, std::size_t bytes) {
    copy(process_vm_readv, "read", process,
         static_cast<std::byte*>(const_cast<void*>(from)),  // is not written
         static_cast<std::byte*>(into), bytes);
}

void write(pid_t process, void* into, const void* from, std::size_t bytes) {
    copy(process_vm_writev, "write", process, static_cast<std::byte*>(into),
         static_cast<std::byte*>(const_cast<void*>(from)),  // is not written
         bytes);
}

}  // namespace pycoll::cma
