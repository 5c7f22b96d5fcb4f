// Signals between ranks of a node: counted, ordered, and nobody who sleeps for them is forgotten.

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "check.hpp"
#include "engine_ranks.hpp"
#include "sanitized.hpp"
#include "transport/shared/node.hpp"
#include "transport/shared/signals.hpp"

namespace pycoll::test::transport_signals {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

/// All ranks' signals over the same memory.
struct Group {
    explicit Group(int size) : memory(node_memory(size)) {
        for (int rank = 0; rank < size; ++rank) ranks.emplace_back(memory.get(), rank, size);
    }
    NodeSignals& operator[](int rank) { return ranks[static_cast<std::size_t>(rank)]; }

    std::shared_ptr<std::byte> memory;
    std::vector<NodeSignals> ranks;
};

/// Signals once; true if the peer is to be woken.
bool signal(NodeSignals& own, int peer) {
    own.signal(peer);
    return own.must_wake(std::array{peer});
}

const Test counted("signals: every ordered pair of ranks has a count of its own", [] {
    Group group(3);
    for (int from = 0; from < 3; ++from) {
        for (int to = 0; to < 3; ++to) {
            for (int i = 0; i < 3 * from + to; ++i) {
                check(!signal(group[from], to), "a peer that does not sleep must be woken");
            }
        }
    }
    for (int from = 0; from < 3; ++from) {
        for (int to = 0; to < 3; ++to) {
            check_equal(group[to].signals_to_one(from), static_cast<std::uint64_t>(3 * from + to));
        }
    }
});

const Test both_count("signals: those to all count for each, beside those to it alone", [] {
    Group group(3);
    group[1].signal(0);
    group[1].signal_all();
    group[1].signal_all();
    check_equal(group[0].signals_to_one(1) + group[0].signals_to_all(1), std::uint64_t{3});
    check_equal(group[2].signals_to_one(1) + group[2].signals_to_all(1), std::uint64_t{2});
    check_equal(group[0].arrived(), std::uint64_t{3});
    check_equal(group[1].arrived(), std::uint64_t{0}, "a rank's own");
    group[0].prepare_sleep(group[0].arrived() + 1);
    group[2].signal_all();
    check(group[2].must_wake(std::array{0, 1}), "one of them sleeps for it");
    group[0].sleep(seconds(60));  // over at once
});

const Test inexactly("signals: without a fence, too, who sleeps is seen", [] {
    Group group(3);
    check(!group[0].must_wake(std::array{1, 2}, false), "nobody sleeps");
    group[1].prepare_sleep(group[1].arrived() + 2);
    group[0].signal_all();
    check(!group[0].must_wake(std::array{1, 2}, false), "it sleeps for two");
    group[2].signal(1);
    check(group[2].must_wake(std::array{1}, false), "the second of two");
    group[1].sleep(seconds(60));  // over at once
});

const Test taken_in_any_order("signals: a node takes those to all and to one in any order", [] {
    const auto memory = node_memory(2);
    const std::vector<pid_t> processes(2, getpid());
    SharedNode sender(memory, 0, processes);
    SharedNode receiver(memory, 1, processes);
    for (const bool all_first : {true, false, true}) {
        check(!receiver.has_signal(0), "nothing was sent");
        for (const bool to_all : {all_first, !all_first}) {
            if (to_all) {
                sender.signal_all();
            } else {
                sender.signal(1);
            }
            sender.flush();
        }
        for (int i = 0; i < 2; ++i) {
            check(receiver.has_signal(0), "one of two");
            receiver.take_signal(0);
        }
    }
    check(!receiver.has_signal(0), "all were taken");
});

const Test last_one_wakes("signals: only the last one that a rank sleeps for asks to wake it", [] {
    Group group(3);
    group[0].prepare_sleep(group[0].arrived() + 2);
    check(!signal(group[1], 0), "one of two");
    check(signal(group[2], 0), "the second of two");
    group[0].sleep(seconds(60));  // over at once
    check(!signal(group[1], 0), "it is awake");
});

const Test one_peer_wakes("signals: who sleeps for one peer is woken by that one alone", [] {
    Group group(3);
    group[2].signal_all();
    group[0].prepare_sleep(3, 2);
    for (int i = 0; i < 5; ++i) check(!signal(group[1], 0), "another peer");
    check(!signal(group[2], 0), "the second of three");
    check(signal(group[2], 0), "the third of three");
    check(!signal(group[1], 0), "another peer, afterwards");
    group[0].sleep(seconds(60));  // over at once
});

/// Two ranks that enter calls, told apart by one word, signal on entering, and expect each other.
struct Pair {
    Pair() : memory(node_memory(2)) {
        for (int rank = 0; rank < 2; ++rank) {
            nodes.push_back(
                std::make_unique<SharedNode>(memory, rank, std::vector<pid_t>(2, getpid())));
        }
    }
    void enter(int rank, std::uint64_t what = 0) {
        SharedNode& node = *nodes[static_cast<std::size_t>(rank)];
        node.enter({++calls[static_cast<std::size_t>(rank)], what});
        node.signal_all();
        node.flush();
        node.expect_signal(1 - rank);
    }
    SharedNode& operator[](int rank) { return *nodes[static_cast<std::size_t>(rank)]; }

    std::shared_ptr<std::byte> memory;
    std::vector<std::unique_ptr<SharedNode>> nodes;
    std::array<std::uint64_t, 2> calls{};
};

const Test owed("signals: a node counts those that it took before they came", [] {
    Pair pair;
    check(pair[0].owes_at_most(0), "at the start");
    for (int i = 0; i < 3; ++i) pair.enter(0);
    check_equal(pair[0].owed(1), std::uint64_t{3});
    check_equal(pair[0].owed_beyond(1), std::uint64_t{2});
    check(!pair[0].owes_at_most(2) && pair[0].owes_at_most(3), "three are owed");
    check(!pair[0].has_signal(1), "none has come");
    for (std::uint64_t left = 3; left-- > 0;) {
        pair.enter(1);
        check(!pair[0].look_for_owed(), "the same call");
        check_equal(pair[0].owed(1), left);
    }
    check(pair[0].owes_at_most(0), "all have come");
    // The peer took them after they had come.
    check(!pair[1].look_for_owed(), "the same calls");
    check(pair[1].owes_at_most(0), "all had come");
    pair.enter(1);
    check(pair[0].has_signal(1), "one more");
});

const Test all_compared("signals: one look compares all calls that a peer has made since", [] {
    for (const std::uint64_t made : {std::uint64_t{5}, SharedNode::most_ahead - 1}) {
        for (const std::uint64_t wrong : {std::uint64_t{1}, std::uint64_t{2}, made / 2, made}) {
            Pair pair;
            for (std::uint64_t i = 0; i <= made; ++i) pair.enter(0);
            for (std::uint64_t i = 1; i <= made; ++i) pair.enter(1, i == wrong ? 7 : 0);
            check(pair[0].look_for_owed() == 1, "another call");
            const SharedNode::Difference found = pair[0].difference(1);
            check_equal(found.own[0], wrong);
            check_equal(found.theirs[0], wrong);
            check_equal(found.own[1], std::uint64_t{0});
            check_equal(found.theirs[1], std::uint64_t{7});
        }
    }
});

const Test late_look("signals: a call of long ago has the mark that it had", [] {
    Group group(2);
    const auto mark = [](std::uint64_t call) { return static_cast<std::uint32_t>(1000 + call); };
    constexpr std::uint64_t last = 3 * NodeSignals::contexts;
    for (std::uint64_t call = 1; call <= last; ++call) group[0].enter(call, mark(call));
    for (std::uint64_t call = last - NodeSignals::contexts + 1; call <= last; ++call) {
        check(group[1].is_mark_of(0, call, mark(call)), "not its mark");
        check(!group[1].is_mark_of(0, call, mark(call) + 5000), "another mark");
        check_equal(group[0].own_mark(call), mark(call));
    }
});

const Test far_apart("signals: nodes compare calls rightly, however their lead changes", [] {
    Pair pair;
    std::mt19937 random(1);
    for (int i = 0; i < 20'000; ++i) {
        const int rank = static_cast<int>(random() % 2);
        check(!pair[rank].look_for_owed(), "the same calls");
        if (!pair[rank].owes_at_most(SharedNode::most_ahead - 1)) continue;
        pair.enter(rank);
        const auto lead = static_cast<std::int64_t>(pair.calls[0] - pair.calls[1]);
        check(std::abs(lead) <= static_cast<std::int64_t>(SharedNode::most_ahead), "too far");
    }
});

const Test too_late("signals: who has got all before falling asleep does not sleep", [] {
    Group group(2);
    const std::uint64_t seen = group[0].arrived();
    static_cast<void>(signal(group[1], 0));
    group[0].prepare_sleep(seen + 1);
    const auto start = Clock::now();
    group[0].sleep(seconds(60));
    check(Clock::now() - start < seconds(30), "slept for a signal that was there");
});

const Test times_out("signals: a sleep ends in time without signals, and is none afterwards", [] {
    Group group(2);
    group[0].prepare_sleep(group[0].arrived() + 1);
    group[1].wake();  // for somebody else
    group[0].sleep(std::chrono::microseconds(100));
    check(!signal(group[1], 0), "it is awake");
});

/// Rounds in which each rank signals all others and sleeps until all have signalled it, with
/// random work in between; what was written before a signal is there after it.
void meet_often(int size, int rounds) {
    Group group(size);
    // Plain memory: the signals alone order the accesses.
    std::vector<int> written(static_cast<std::size_t>(size));
    on_ranks(size, [&](int rank) {
        std::mt19937 random(static_cast<unsigned>(rank));
        NodeSignals& own = group[rank];
        std::uint64_t meetings = 0;
        const auto missing = [&] {
            std::uint64_t count = 0;
            for (int peer = 0; peer < size; ++peer) {
                if (peer != rank && own.signals_to_one(peer) + own.signals_to_all(peer) < meetings)
                    ++count;
            }
            return count;
        };
        const auto meet = [&] {
            ++meetings;
            std::vector<int> peers;
            for (int k = 1; k < size; ++k) peers.push_back((rank + k) % size);
            if (meetings % 3 == 0) {
                own.signal_all();
            } else {
                for (const int peer : peers) own.signal(peer);
            }
            if (own.must_wake(peers)) own.wake();
            while (true) {
                const std::uint64_t arrived = own.arrived();
                const std::uint64_t awaited = missing();
                if (awaited == 0) return;
                own.prepare_sleep(arrived + awaited);
                const auto start = Clock::now();
                own.sleep(seconds(20));
                check(Clock::now() - start < seconds(10), "nobody woke a rank that slept");
            }
        };
        for (int round = 0; round < rounds; ++round) {
            written[static_cast<std::size_t>(rank)] = round;
            for (volatile auto work = random() % 2000; work > 0;) work = work - 1;
            meet();
            for (const int value : written) check_equal(value, round, "what a peer wrote");
            meet();
        }
    });
}

const Test never_lost("signals: no wake-up is lost in thousands of meetings", [] {
    for (const int size : {2, 3, 4}) meet_often(size, is_sanitized ? 300 : 2000);
});

}  // namespace
}  // namespace pycoll::test::transport_signals
