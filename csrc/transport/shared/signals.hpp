#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pycoll {

/// How the ranks of one node order their accesses to each other's memory: counters of signals, for
/// every ordered pair of ranks and from each rank to all others, each on a cache line of its own,
/// and a doorbell by which those who sleep are woken. Lies in memory that all of them see (other
/// processes or other threads), zeros at the start.
///
/// A signal releases what its sender wrote before; whoever has seen it counted may read that.
///
/// Beside a rank's count of signals stand the marks of its last calls, so that one line tells both;
/// those of more calls have lines of their own.
///
/// A signal to all is one store to one line, which ranks that share a core fetch once for all of
/// them: on 8 ranks of 2 cores, 8 lines move from core to core in a barrier. Of pairs it were 64.
class NodeSignals {
public:
    static constexpr std::size_t cache_line = 64;
    /// Calls of one rank that are told apart at a time. A rank that shares its core with others
    /// makes so many before it has to wait, which costs each of them a turn on the core: broadcast
    /// of 256 B on 8 ranks of 2 cores, 20% less than with 14.
    static constexpr std::uint64_t contexts = 32;

    /// Bytes that the counters of `ranks` ranks take.
    [[nodiscard]] static std::size_t bytes(int ranks);

    /// `memory` must be aligned to two cache lines and outlive this.
    NodeSignals(std::byte* memory, int rank, int ranks);

    /// This rank is in that call now, which goes by `mark`: shown to whoever gets a signal of it.
    void enter(std::uint64_t call, std::uint32_t mark) {
        // Whoever sees this mark sees all signals of earlier calls.
        history(rank_).marks[call % contexts].store(mark, std::memory_order_release);
        own(rank_).marks[call % recent].store(mark, std::memory_order_release);
    }
    /// Does a call of a rank go by that mark? Of one of its last `contexts`, of which a signal has
    /// come.
    [[nodiscard]] bool is_mark_of(int rank, std::uint64_t call, std::uint32_t mark) const {
        // Who waits for all others has just got this line. Only one that is far ahead has another
        // mark there by now.
        return own(rank).marks[call % recent].load(std::memory_order_acquire) == mark ||
               history(rank).marks[call % contexts].load(std::memory_order_acquire) == mark;
    }
    /// The mark of one of this rank's own last `contexts` calls.
    [[nodiscard]] std::uint32_t own_mark(std::uint64_t call) const {
        return history(rank_).marks[call % contexts].load(std::memory_order_relaxed);
    }

    /// Counts one more signal from this rank to `peer`. By one thread at a time, and must_wake()
    /// is to follow.
    void signal(int peer) {
        line(rank_, peer)
            .counter.store(++to_one_[static_cast<std::size_t>(peer)], std::memory_order_release);
    }
    /// The same to all others.
    void signal_all() { own(rank_).to_all.store(++to_all_, std::memory_order_release); }
    /// After signals to some peers: does one of these sleep, and has got all that it sleeps for?
    /// Then wake(). Not `exactly`: one that falls asleep at this very moment, or gets the last of
    /// its signals from several ranks at once, may be overlooked and sleep on until its time is
    /// over. That spares a fence, which has to wait until the signals are out of this core (0.1
    /// us).
    [[nodiscard]] bool must_wake(std::span<const int> peers, bool exactly = true) const;
    /// Rings the doorbell. Who sleeps for more goes on sleeping; but mostly, ranks wait for the
    /// same last one, and one system call wakes them all.
    void wake();
    /// How many signals `peer` has sent to this rank alone, and how many to all.
    [[nodiscard]] std::uint64_t signals_to_one(int peer) const {
        return line(peer, rank_).counter.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint64_t signals_to_all(int peer) const {
        return own(peer).to_all.load(std::memory_order_acquire);
    }

    /// How many signals this rank has got, from all peers together.
    [[nodiscard]] std::uint64_t arrived() const { return all_signals_to(rank_); }
    /// This rank is about to sleep until it has got so many, from all peers together: those that
    /// had arrived before it looked for whom to wait, and one more of each. By one thread at a
    /// time, up to sleep().
    void prepare_sleep(std::uint64_t signals) { announce_sleep({.signals = signals}); }
    /// The same until so many have come from one peer, whatever others send meanwhile.
    void prepare_sleep(std::uint64_t signals, int peer) {
        announce_sleep({.peer = peer, .signals = signals});
    }
    /// Sleeps until they have, or until the time is over.
    void sleep(std::chrono::nanoseconds longest);

private:
    using Counter = std::atomic<std::uint64_t>;
    struct alignas(cache_line) Line {
        Counter counter;
    };
    /// Calls whose marks have room beside a count of signals.
    static constexpr std::uint64_t recent = 14;
    using Mark = std::atomic<std::uint32_t>;
    /// What a rank tells all others.
    struct alignas(cache_line) OwnLine {
        Counter to_all;
        /// Of the last calls, by their numbers.
        std::array<Mark, recent> marks;
    };
    /// Nobody else's line is beside: caches fetch two at a time, and would fetch this one from its
    /// rank, which writes it in every call, with one that others look at in every call.
    struct alignas(2 * cache_line) History {
        std::array<Mark, contexts> marks;
    };
    struct alignas(cache_line) Doorbell {
        /// What all sleep on: the futex call takes 32 bits.
        std::atomic<std::uint32_t> rings;
        /// How many ranks sleep, or are about to.
        std::atomic<std::uint32_t> sleepers;
    };
    static_assert(Counter::is_always_lock_free, "atomics must work between processes");
    static_assert(sizeof(OwnLine) == cache_line, "one look at a rank, one line");

    [[nodiscard]] Line& line(int from, int to) const {
        return lines_[static_cast<std::size_t>(to) * static_cast<std::size_t>(ranks_) +
                      static_cast<std::size_t>(from)];
    }

    [[nodiscard]] static std::size_t histories_at(int ranks);

    [[nodiscard]] OwnLine& own(int rank) const { return own_[rank]; }
    [[nodiscard]] History& history(int rank) const { return histories_[rank]; }

    /// For what a rank sleeps, as one number in shared memory; 0 while it is awake.
    struct Awaited {
        static constexpr int anybody = -1;
        int peer = anybody;
        std::uint64_t signals = 0;

        /// Signals are fewer than 2^48: years of them.
        static constexpr unsigned peer_shift = 48;
        [[nodiscard]] std::uint64_t number() const {
            return static_cast<std::uint64_t>(peer + 1) << peer_shift | signals;
        }
        [[nodiscard]] static Awaited of(std::uint64_t number) {
            return {static_cast<int>(number >> peer_shift) - 1,
                    number & ((std::uint64_t{1} << peer_shift) - 1)};
        }
    };
    void announce_sleep(const Awaited& awaits);
    [[nodiscard]] bool has_come(const Awaited& awaits, int rank) const;
    [[nodiscard]] std::uint64_t signals(int from, int to) const;
    [[nodiscard]] std::uint64_t all_signals_to(int rank) const;

    [[nodiscard]] Counter& awaited(int rank) const { return sleepers_[rank].counter; }

    int rank_;
    int ranks_;
    std::uint32_t seen_rings_ = 0;
    /// What this rank has sent. To look at the counters would be to wait for lines that peers read.
    std::uint64_t to_all_ = 0;
    std::vector<std::uint64_t> to_one_;
    Doorbell* doorbell_;
    OwnLine* own_;
    Line* sleepers_;
    Line* lines_;
    History* histories_;
};

}  // namespace pycoll
