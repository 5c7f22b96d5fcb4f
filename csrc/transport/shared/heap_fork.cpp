// What becomes of registered memory in fork(): memory that processes share would go on being shared
// with the new one, which expects copies.

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "transport/shared/heap.hpp"

namespace pycoll {
namespace {

/// To copy all the memory of a large machine takes less.
constexpr std::chrono::seconds longest_copy{120};

/// Of the fork that is under way; none of them if there is nothing to copy. Nobody writes: the end
/// for that is closed when the new process has made its copies, or is gone, or was never made.
struct Pipe {
    int read = -1;
    int write = -1;
};
Pipe copies;

void open_pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) == 0) {
        copies = {ends[0], ends[1]};
    } else {
        std::perror("pycoll: cannot wait for a forked process to copy its arrays");
    }
}

void close_end(int& end) {
    if (end >= 0) close(end);
    end = -1;
}

/// It may be stopped, too: not for ever.
void wait_for_copies() {
    close_end(copies.write);
    if (copies.read < 0) return;
    const auto end = std::chrono::steady_clock::now() + longest_copy;
    pollfd closed{.fd = copies.read, .events = POLLIN, .revents = 0};
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            end - std::chrono::steady_clock::now());
        const int found = poll(&closed, 1, static_cast<int>(std::max<long>(left.count(), 0)));
        if (found < 0 && errno == EINTR) continue;
        if (found == 0) {
            std::fputs("pycoll: a forked process has not copied its arrays in time\n", stderr);
        }
        break;
    }
    close_end(copies.read);
}

}  // namespace

void SharedHeap::copy_on_fork() {
    // Where there is no memory to note that, there is none for arrays, either.
    static_cast<void>(pthread_atfork(
        [] {
            instance().mutex_.lock();
            if (!instance().arenas_.empty()) open_pipe();
        },
        [] {
            wait_for_copies();
            instance().mutex_.unlock();
        },
        [] {
            instance().become_private();
            close_end(copies.read);
            close_end(copies.write);
            instance().mutex_.unlock();
        }));
}

void SharedHeap::become_private() {
    const bool copied = std::ranges::all_of(arenas_, [](const auto& arena) {
        return !arena->segment.has_name() || arena->segment.make_private();
    });
    if (copied) return;
    // To go on would be to write into the arrays of the parent.
    std::fputs("pycoll: no memory for a forked process's copies of arrays\n", stderr);
    _exit(1);
}

}  // namespace pycoll
