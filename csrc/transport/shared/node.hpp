#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "transport/shared/cores.hpp"
#include "transport/shared/heap.hpp"
#include "transport/shared/segment.hpp"
#include "transport/shared/signals.hpp"

namespace pycoll {

/// What the ranks of one node share for one communicator: signals, a stage for each rank, and a
/// board on which each rank posts what it has come for.
///
/// How far ranks are apart
/// -----------------------
/// A rank takes every signal that a peer sends it, when it has come (take_signal) or before
/// (expect_signal): then the peer owes it. Signals are expected only in calls in which each rank
/// gives each other one signal, on entering; so whoever owes n signals has yet to enter the last n
/// calls in which one of its signals was taken. No rank enters a call while a peer is `most_ahead`
/// calls behind. Hence, while a rank is in call k, all have entered call k - most_ahead, and are
/// done with those before; and none has come further than call k + most_ahead.
///
/// For call k, a rank uses its mark, card and part of the stage of number k % contexts. It used
/// them for call k - contexts before, with which all are done, as most_ahead < contexts. (Its last
/// few marks it shows in a second place as well, which need not hold that of call k any more.)
///
/// Of peers' marks and cards, a rank in call k reads those of calls k and k - 1, for which the
/// peers will find no other use before call k - 1 + contexts > k + most_ahead; and those of older
/// calls, of which it has just got a signal that was owed. These may be in use again: then more
/// signals have come, and it looks again.
///
/// Calls that share two parts of the stages, by turns, may be entered only when nobody owes
/// anything: then all have entered the call before, and are done with those before that.
///
/// One thread at a time may call in, but for the members that say otherwise.
class SharedNode {
public:
    /// How many calls a rank may be ahead of others.
    static constexpr std::uint64_t most_ahead = NodeSignals::contexts - 2;
    /// Bytes of a rank's stage: two areas for calls in which the ranks do not meet first (in two
    /// calls in a row they use different ones), one for calls in which they do, and small ones for
    /// calls in which they may be far apart.
    static constexpr std::size_t slot_bytes = std::size_t{256} << 10;
    static constexpr std::size_t stage_bytes = std::size_t{2} << 20;
    static constexpr std::size_t ahead_bytes = std::size_t{32} << 10;
    /// Of calls in which no rank uses more, the stages of all ranks lie side by side, in as many
    /// parts as those of longer ones: who takes what all have put there looks at few pages.
    static constexpr std::size_t short_bytes = std::size_t{1} << 10;
    /// Without the last.
    static constexpr std::size_t gpu_rank_bytes = 2 * slot_bytes + stage_bytes;
    static constexpr std::size_t rank_bytes = gpu_rank_bytes + NodeSignals::contexts * ahead_bytes;
    /// Which part of the stages a call uses.
    enum class Area : std::uint8_t { by_turns, after_meeting, ahead };
    /// Words of a post.
    static constexpr std::size_t post_words = 8;
    using Post = std::array<std::uint64_t, post_words>;

    /// Bytes that `ranks` ranks need, in all.
    [[nodiscard]] static std::size_t bytes(int ranks);

    /// `memory` keeps what all ranks see, filled with zeros at the start. `processes` are the
    /// ranks'.
    SharedNode(std::shared_ptr<std::byte> memory, int rank, std::vector<pid_t> processes);

    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return static_cast<int>(processes_.size()); }
    [[nodiscard]] pid_t process(int peer) const { return processes_[at(peer)]; }

    /// Signals, counted from the first one. A wait takes a signal. Peers that sleep are woken by
    /// flush(), after the last of several signals.
    void signal(int peer) {
        signals_.signal(peer);
        signalled_.push_back(peer);
    }
    /// The same to all peers.
    void signal_all() {
        signals_.signal_all();
        signalled_ = peers_;
    }
    void flush() {
        if (signalled_.empty()) return;
        if (signals_.must_wake(signalled_, !sleeps_are_rare_)) signals_.wake();
        signalled_.clear();
    }
    /// Of ranks that sleep only when they have waited for long, one may be woken late.
    void sleeps_are_rare() { sleeps_are_rare_ = true; }
    [[nodiscard]] bool has_signal(int peer) {
        // Few are to one peer alone, and those that have been seen need no other look.
        const std::uint64_t to_all = signals_.signals_to_all(peer);
        if (to_all + seen_[at(peer)] > taken_[at(peer)]) return true;
        seen_[at(peer)] = signals_.signals_to_one(peer);
        return to_all + seen_[at(peer)] > taken_[at(peer)];
    }
    /// Does it look as if a peer that has not signalled were running at this moment, on another
    /// core?
    [[nodiscard]] bool seems_to_run(int peer) {
        cores_.look();
        return cores_.is_elsewhere(peer) && cores_.here() <= most_sharing;
    }
    /// Takes one that has come.
    void take_signal(int peer) {
        ++taken_[at(peer)];
        last_[at(peer)] = calls_;
        settle(peer, 0);
    }
    /// Takes one that has yet to come, or has.
    void expect_signal(int peer) {
        ++taken_[at(peer)];
        last_[at(peer)] = calls_;
        settle(peer, owed_[at(peer)] + 1);
    }
    /// Looks which of the signals that are owed have come. Returns a peer that has made another
    /// call than this rank, in one of those of which they have; nothing if there is none.
    [[nodiscard]] std::optional<int> look_for_owed();
    [[nodiscard]] bool is_owed() const { return debtors_ > 0; }
    /// How many signals a peer owes, as far as has been looked.
    [[nodiscard]] std::uint64_t owed(int peer) const { return owed_[at(peer)]; }
    /// Does nobody owe more than so many?
    [[nodiscard]] bool owes_at_most(std::uint64_t most) const {
        return debtors_ == 0 ||
               std::ranges::all_of(owed_, [=](std::uint64_t owed) { return owed <= most; });
    }
    /// How many have yet to come, in all, until that is so. Looks anew.
    [[nodiscard]] std::uint64_t owed_beyond(std::uint64_t most);

    /// Where an array of a call lies, as ranks tell each other.
    struct Place {
        /// 0 for an array that peers cannot see, 1 for none; else how to attach the segment that
        /// it lies in: its descriptor, from 2.
        std::uint64_t key = 1;
        std::uint64_t segment_bytes = 0;
        /// In the segment. Of an array that peers cannot see, its address.
        std::uint64_t offset = 0;
        /// Of the array in memory of a GPU, about which the segment only tells more.
        std::uint64_t gpu_offset = 0;

        [[nodiscard]] bool is_hidden() const { return key == 0; }
        [[nodiscard]] bool is_absent() const { return key == 1; }
    };
    static constexpr std::size_t place_words = 4;
    static constexpr std::uint64_t first_key = 2;
    [[nodiscard]] static Place hidden(const void* data = nullptr) {
        return {.key = 0, .offset = reinterpret_cast<std::uintptr_t>(data)};
    }
    [[nodiscard]] static Place at(const Location& location, std::uint64_t gpu_offset = 0) {
        return {static_cast<std::uint64_t>(location.segment.descriptor) + first_key,
                location.segment.bytes, location.offset, gpu_offset};
    }
    /// Of an array in memory of the host; null for none.
    [[nodiscard]] static Place of(const void* data, std::size_t bytes);

    /// Starts the next call. Peers may read what it is once they have this rank's first signal of
    /// the call. The first word of `what` counts calls; the last one may be another on each rank.
    void enter(const Post& what);
    /// The same of where this rank's arrays lie, where all ranks of the node show that.
    void show(const Place& input, const Place& output);
    /// Has a peer posted the same as this rank, but for the last word, in this call and all before?
    /// Only after its first signal. Costs nothing: a number made of the posts stands beside the
    /// count of signals.
    [[nodiscard]] bool is_same_call(int peer) const {
        return signals_.is_mark_of(peer, calls_, own_mark());
    }
    /// What a rank has posted for the call that this rank is in. Only after its first signal.
    [[nodiscard]] Post posted(int peer) const { return posted(peer, calls_); }
    /// What this rank and a peer have posted for the first call in which they differ, once one has
    /// been found.
    struct Difference {
        Post own;
        Post theirs;
    };
    [[nodiscard]] Difference difference(int peer) const;
    /// The last thing that a peer has posted, which may be changing; nothing at the start.
    [[nodiscard]] std::optional<Post> last_seen(int peer) const;

    /// Whether all arrays that a rank passes lie in registered memory. Only after its first signal.
    [[nodiscard]] bool is_registered(int rank) const;
    /// Where a rank's arrays lie. Only after its first signal.
    struct Places {
        Place input;
        Place output;
    };
    [[nodiscard]] Places places(int rank) const;
    /// Where this process sees a place of a peer's; null for none. Not for a hidden one.
    /// Throws std::system_error when the memory cannot be attached.
    [[nodiscard]] std::byte* attach(int peer, const Place& place);

    /// Where the stages of all ranks begin.
    struct Stages {
        std::byte* first;
        std::size_t distance;

        [[nodiscard]] std::byte* of(int rank) const { return first + at(rank) * distance; }
    };
    /// For the call that this rank is in. `are_short`: no rank uses more than short_bytes; to be
    /// the same on all.
    [[nodiscard]] Stages stages(Area area, bool are_short) const {
        if (!are_short || area == Area::after_meeting) {
            return {stages_ + stage_offset(area), rank_bytes};
        }
        const std::size_t part =
            area == Area::by_turns ? calls_ % 2 : 2 + calls_ % NodeSignals::contexts;
        return {short_stages_ + part * processes_.size() * short_bytes, short_bytes};
    }
    /// Where the stage of a rank begins among its bytes, if it is not a short one.
    [[nodiscard]] std::size_t stage_offset(Area area) const {
        switch (area) {
            case Area::by_turns:
                return calls_ % 2 * slot_bytes;
            case Area::after_meeting:
                return 2 * slot_bytes;
            case Area::ahead:
                break;
        }
        return gpu_rank_bytes + calls_ % NodeSignals::contexts * ahead_bytes;
    }

    /// Signals that have arrived, from all peers together.
    [[nodiscard]] std::uint64_t arrived() const { return signals_.arrived(); }
    /// Takes the right to sleep until so many have. False if another thread has it. Then, without
    /// holding up others that call in, sleep().
    [[nodiscard]] bool prepare_sleep(std::uint64_t signals) {
        if (asleep_.exchange(true, std::memory_order_acquire)) return false;
        signals_.prepare_sleep(signals);
        return true;
    }
    /// The same until the next so many from one peer have.
    [[nodiscard]] bool prepare_sleep(std::uint64_t signals, int peer) {
        if (asleep_.exchange(true, std::memory_order_acquire)) return false;
        signals_.prepare_sleep(taken_[at(peer)] + signals, peer);
        return true;
    }
    void sleep(std::chrono::nanoseconds longest) {
        signals_.sleep(longest);
        asleep_.store(false, std::memory_order_release);
    }

private:
    /// With more ranks on a core, it is hardly ever the right one that runs: where the scheduler
    /// takes each rank for a group of its own, it does not give them the core in turns. Barrier of
    /// 8 ranks on 2 cores, us: 9.2, and 9.9 where the last ones of a core spin; 6 ranks: 6.3
    /// and 5.7.
    static constexpr int most_sharing = 3;
    static constexpr std::size_t card_words = post_words + 2 * place_words;
    using Word = std::atomic<std::uint64_t>;
    /// What a rank posts for one call.
    struct alignas(NodeSignals::cache_line) Card {
        std::array<Word, card_words> words;
    };
    /// Attached memory of a peer.
    struct Attached {
        int descriptor;
        Segment segment;
    };

    static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }
    [[nodiscard]] Card& card(int rank, std::uint64_t call) const {
        return cards_[at(rank) * NodeSignals::contexts + call % NodeSignals::contexts];
    }
    [[nodiscard]] Post posted(int rank, std::uint64_t call) const;
    [[nodiscard]] bool is_same_call(int peer, std::uint64_t call) const {
        return signals_.is_mark_of(peer, call, signals_.own_mark(call));
    }
    /// Of its halves, the one that depends on all bits of what was mixed.
    [[nodiscard]] std::uint32_t own_mark() const { return static_cast<std::uint32_t>(mark_ >> 32); }
    [[nodiscard]] std::uint64_t owed_by_now(int peer);
    /// A peer owes so many by now.
    void settle(int peer, std::uint64_t owed) {
        debtors_ += (owed > 0 ? 1 : 0) - (owed_[at(peer)] > 0 ? 1 : 0);
        owed_[at(peer)] = owed;
    }

    std::shared_ptr<std::byte> memory_;
    int rank_;
    std::vector<pid_t> processes_;
    NodeSignals signals_;
    LastCores cores_;
    Card* cards_;
    std::byte* stages_;
    std::byte* short_stages_;
    std::atomic<bool> asleep_ = false;
    bool sleeps_are_rare_ = false;
    /// Peers that have got signals since the last flush().
    std::vector<int> signalled_;
    /// Calls entered.
    std::uint64_t calls_ = 0;
    /// Made of all that this rank has posted.
    std::uint64_t mark_ = 0;
    std::vector<std::uint64_t> taken_;
    /// The call in which a signal of each peer was last taken.
    std::vector<std::uint64_t> last_;
    std::vector<std::uint64_t> owed_;
    /// How many peers owe signals.
    int debtors_ = 0;
    /// Signals from each peer to this rank alone, as far as looked at.
    std::vector<std::uint64_t> seen_;
    std::vector<int> peers_;
    std::vector<std::vector<Attached>> attached_;
};

/// The memory of a SharedNode, made by one process and attached by the others.
[[nodiscard]] std::shared_ptr<std::byte> data_of(std::shared_ptr<Segment> segment);

}  // namespace pycoll
