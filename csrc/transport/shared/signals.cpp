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
    const auto count = static_cast<std::size_t>(ranks);
    return sizeof(Doorbell) + count * sizeof(OwnLine) + (count + count * count) * sizeof(Line);
}

NodeSignals::NodeSignals(std::byte* memory, int rank, int ranks)
    : rank_(rank),
      ranks_(ranks),
      doorbell_(reinterpret_cast<Doorbell*>(memory)),
      own_(reinterpret_cast<OwnLine*>(memory + sizeof(Doorbell))),
      sleepers_(reinterpret_cast<Line*>(own_ + ranks)),
      lines_(sleepers_ + ranks) {}

bool NodeSignals::must_wake(std::span<const int> peers) const {
    // Both sides order "count, then look for sleepers" against "say that I sleep, then look at the
    // counts" in one total order: one of the two sees the other.
#ifdef __SANITIZE_THREAD__
    // Which knows nothing of fences.
    if (doorbell_->sleepers.fetch_add(0, std::memory_order_seq_cst) == 0) return false;
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (doorbell_->sleepers.load(std::memory_order_relaxed) == 0) return false;
#endif
    return std::ranges::any_of(peers, [this](int peer) {
        const std::uint64_t sleeps_for = awaited(peer).load(std::memory_order_seq_cst);
        return sleeps_for != 0 && all_signals_to(peer) >= sleeps_for;
    });
}

void NodeSignals::wake() {
    doorbell_->rings.fetch_add(1, std::memory_order_seq_cst);
    futex(doorbell_->rings, FUTEX_WAKE, INT_MAX, nullptr);
}

std::uint64_t NodeSignals::all_signals_to(int rank) const {
    std::uint64_t sum = 0;
    for (int from = 0; from < ranks_; ++from) {
        sum += line(from, rank).counter.load(std::memory_order_seq_cst);
        if (from != rank) sum += own(from).to_all.load(std::memory_order_seq_cst);
    }
    return sum;
}

void NodeSignals::prepare_sleep(std::uint64_t signals) {
    seen_rings_ = doorbell_->rings.load(std::memory_order_seq_cst);
    awaited(rank_).store(signals, std::memory_order_seq_cst);
    doorbell_->sleepers.fetch_add(1, std::memory_order_seq_cst);
}

void NodeSignals::sleep(std::chrono::nanoseconds longest) {
    const auto end = std::chrono::steady_clock::now() + longest;
    const std::uint64_t sleeps_for = awaited(rank_).load(std::memory_order_relaxed);
    // The doorbell may ring for somebody else.
    while (all_signals_to(rank_) < sleeps_for) {
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
