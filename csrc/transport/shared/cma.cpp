#include "transport/shared/cma.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

namespace pycoll::cma {
namespace {

using Copy = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long,
                         unsigned long);

/// In as many calls as it takes: the kernel stops at 2 GiB, and at memory that it cannot reach.
void copy(Copy how, pid_t process, std::byte* there, std::byte* here, std::size_t bytes) {
    while (bytes > 0) {
        const iovec own{here, bytes};
        const iovec its{there, bytes};
        const ssize_t copied = how(process, &own, 1, &its, 1, 0);
        if (copied <= 0) {
            throw std::system_error(copied < 0 ? errno : EFAULT, std::generic_category(),
                                    "no copy between this process and " + std::to_string(process));
        }
        const auto done = static_cast<std::size_t>(copied);
        here += done;
        there += done;
        bytes -= done;
    }
}

std::byte* bytes_at(const void* data) {
    return static_cast<std::byte*>(const_cast<void*>(data));  // of what is not written, too
}

}  // namespace

void read(pid_t process, const void* from, void* into, std::size_t bytes) {
    copy(process_vm_readv, process, bytes_at(from), bytes_at(into), bytes);
}

void write(pid_t process, void* into, const void* from, std::size_t bytes) {
    copy(process_vm_writev, process, bytes_at(into), bytes_at(from), bytes);
}

bool is_reached(const void* own, std::size_t bytes) {
    if (bytes == 0) return true;
    std::array<std::byte, 2> seen{};
    const iovec into{seen.data(), seen.size()};
    const std::array<iovec, 2> ends = {iovec{bytes_at(own), 1},
                                       iovec{bytes_at(own) + bytes - 1, 1}};
    return process_vm_readv(getpid(), &into, 1, ends.data(), ends.size(), 0) == 2;
}

}  // namespace pycoll::cma
