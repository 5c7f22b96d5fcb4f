#pragma once

#include <sys/types.h>

#include <cstddef>

/// Cross memory attach: the kernel copies between the memory of two processes of one user, which
/// need not share any (process_vm_readv(2) and process_vm_writev(2); Vienne 2012, Linux 3.2). It
/// copies once what goes through shared memory twice.
///
/// Whether a process may be reached depends on more than its user: on Yama's ptrace_scope, on the
/// container's seccomp filter. Only trying tells.
namespace pycoll::cma {

/// Copies from, or to, an address of a process (this one, too). Throw std::system_error when it is
/// gone, or one of the two has no such memory, or memory of a device there; then a part may have
/// been copied.
void read(pid_t process, const void* from, void* into, std::size_t bytes);
void write(pid_t process, void* into, const void* from, std::size_t bytes);

/// Does the kernel reach both ends of some memory of this process?
[[nodiscard]] bool is_reached(const void* own, std::size_t bytes);

}  // namespace pycoll::cma
