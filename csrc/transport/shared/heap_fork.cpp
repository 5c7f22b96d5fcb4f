// What becomes of registered memory in fork(): memory that processes share would go on being shared
// with the new one, which expects copies.

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "transport/shared/heap.hpp"

namespace pycoll {
namespace {

/// To copy all the memory of a large machine takes less.
constexpr std::chrono::seconds longest_copy{120};

/// Forks of this process whose copies are made, in memory that it shares with them.
std::atomic<std::uint32_t>* copies = nullptr;
/// Before the fork that is under way.
std::uint32_t copies_before = 0;

void futex(int operation, std::uint32_t value, const timespec* timeout) {
    syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(copies), operation, value, timeout, nullptr,
            0);
}

/// Until the new process has made its copies. It may have been killed meanwhile: not for ever.
void wait_for_copy() {
    const auto end = std::chrono::steady_clock::now() + longest_copy;
    while (copies->load() == copies_before) {
        if (std::chrono::steady_clock::now() > end) {
            std::fputs("pycoll: a forked process has not copied its arrays in time\n", stderr);
            return;
        }
        constexpr timespec a_while{.tv_sec = 1, .tv_nsec = 0};
        futex(FUTEX_WAIT, copies_before, &a_while);
    }
}

}  // namespace

void SharedHeap::copy_on_fork() {
    void* const word =
        mmap(nullptr, sizeof *copies, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    // Then there is no memory for anything else, either.
    if (word == MAP_FAILED) return;
    copies = static_cast<std::atomic<std::uint32_t>*>(word);
    pthread_atfork(
        [] {
            instance().mutex_.lock();
            copies_before = copies->load();
        },
        [] {
            if (!instance().arenas_.empty()) wait_for_copy();
            instance().mutex_.unlock();
        },
        [] {
            instance().become_private();
            copies->fetch_add(1);
            futex(FUTEX_WAKE, 1, nullptr);
            instance().mutex_.unlock();
        });
}

void SharedHeap::become_private() {
    const bool copied = std::ranges::all_of(arenas_, [](const auto& arena) {
        return !arena->segment.has_name() || arena->segment.make_private();
    });
    if (copied) return;
    // To go on would be to write into the arrays of the parent.
    std::fputs("pycoll: no memory for a forked process's copies of arrays\n", stderr);
    copies->fetch_add(1);
    futex(FUTEX_WAKE, 1, nullptr);
    _exit(1);
}

}  // namespace pycoll
