#include "transport/shared/signals.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>

namespace pycoll {
namespace {

// The words may lie in memory of other processes: no FUTEX_PRIVATE_FLAG.
long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) {
    static_assert(sizeof(word) == sizeof(std::uint32_t));
    return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, timeout,
                   nullptr, 0);
}

}  // namespace

std::size_t NodeSignals::bytes(int ranks) {
    return histories_at(ranks) + static_cast<std::size_t>(ranks) * sizeof(History);
}

std::size_t NodeSignals::histories_at(int ranks) {
    const auto count = static_cast<std::size_t>(ranks);
    const std::size_t before =
        sizeof(Doorbell) + count * sizeof(OwnLine) + (count + count * count) * sizeof(Line);
    return (before + alignof(History) - 1) / alignof(History) * alignof(History);
}

NodeSignals::NodeSignals(std::byte* memory, int rank, int ranks)
    : rank_(rank),
      ranks_(ranks),
      to_one_(static_cast<std::size_t>(ranks)),
      doorbell_(reinterpret_cast<Doorbell*>(memory)),
      own_(reinterpret_cast<OwnLine*>(memory + sizeof(Doorbell))),
      sleepers_(reinterpret_cast<Line*>(own_ + ranks)),
      lines_(sleepers_ + ranks),
      histories_(reinterpret_cast<History*>(memory + histories_at(ranks))) {}

bool NodeSignals::must_wake(std::span<const int> peers, [[maybe_unused]] bool exactly) const {
    // Both sides order "count, then look for sleepers" against "say that I sleep, then look at the
    // counts" in one total order: one of the two sees the other.
#ifdef __SANITIZE_THREAD__
    // Which knows nothing of fences.
    if (doorbell_->sleepers.fetch_add(0, std::memory_order_seq_cst) == 0) return false;
#else
    if (exactly) std::atomic_thread_fence(std::memory_order_seq_cst);
    if (doorbell_->sleepers.load(std::memory_order_relaxed) == 0) return false;
#endif
    return std::ranges::any_of(peers, [this](int peer) {
        const std::uint64_t number = awaited(peer).load(std::memory_order_seq_cst);
        if (number == 0) return false;
        const Awaited sleeps_for = Awaited::of(number);
        const bool is_mine = sleeps_for.peer == Awaited::anybody || sleeps_for.peer == rank_;
        return is_mine && has_come(sleeps_for, peer);
    });
}

void NodeSignals::wake() {
    doorbell_->rings.fetch_add(1, std::memory_order_seq_cst);
    futex(doorbell_->rings, FUTEX_WAKE, INT_MAX, nullptr);
}

std::uint64_t NodeSignals::signals(int from, int to) const {
    const std::uint64_t to_all = from == to ? 0 : own(from).to_all.load(std::memory_order_seq_cst);
    return to_all + line(from, to).counter.load(std::memory_order_seq_cst);
}

std::uint64_t NodeSignals::all_signals_to(int rank) const {
    std::uint64_t sum = 0;
    for (int from = 0; from < ranks_; ++from) sum += signals(from, rank);
    return sum;
}

/// Has all come for which a rank sleeps?
bool NodeSignals::has_come(const Awaited& awaits, int rank) const {
    const std::uint64_t come =
        awaits.peer == Awaited::anybody ? all_signals_to(rank) : signals(awaits.peer, rank);
    return come >= awaits.signals;
}

void NodeSignals::announce_sleep(const Awaited& awaits) {
    seen_rings_ = doorbell_->rings.load(std::memory_order_seq_cst);
    awaited(rank_).store(awaits.number(), std::memory_order_seq_cst);
    doorbell_->sleepers.fetch_add(1, std::memory_order_seq_cst);
}

void NodeSignals::sleep(std::chrono::nanoseconds longest) {
    const auto end = std::chrono::steady_clock::now() + longest;
    const Awaited sleeps_for = Awaited::of(awaited(rank_).load(std::memory_order_relaxed));
    // The doorbell may ring for somebody else.
    while (!has_come(sleeps_for, rank_)) {
        const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(
                              end - std::chrono::steady_clock::now())
                              .count();
        if (left <= 0) break;
        const timespec timeout{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
        futex(doorbell_->rings, FUTEX_WAIT, seen_rings_, &timeout);
        seen_rings_ = doorbell_->rings.load(std::memory_order_seq_cst);
    }
    awaited(rank_).store(0, std::memory_order_relaxed);
    doorbell_->sleepers.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace pycoll
