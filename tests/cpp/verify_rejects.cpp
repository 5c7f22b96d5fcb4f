#include <cstdint>
#include <functional>
#include <string_view>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/builder.hpp"
#include "schedule/verify.hpp"

namespace pycoll::test {
namespace {

using Fold = ScheduleBuilder::Fold;
using Order = ScheduleBuilder::Order;
using Build = std::function<void(ScheduleBuilder&)>;

constexpr Slice in{Buffer::input, 0, 4};
constexpr Slice out{Buffer::output, 0, 4};

/// A call of 4 elements in which each rank does what its builder says.
WholeCall call_of(Collective collective, const std::vector<Build>& ranks) {
    WholeCall call;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
        const Request request{.collective = collective,
                              .rank = static_cast<int>(r),
                              .size = static_cast<int>(ranks.size()),
                              .count = 4};
        ScheduleBuilder builder(request);
        ranks[r](builder);
        call.requests.push_back(request);
        call.schedules.push_back(std::move(builder).build());
    }
    return call;
}

void check_rejected(const WholeCall& call, std::string_view part,
                    const std::source_location& where = std::source_location::current()) {
    const auto failure = verify(call.requests, call.schedules);
    check(failure.has_value(), "accepted, but: " + std::string(part), where);
    check(failure->find(part) != std::string::npos,
          "rejected with '" + *failure + "', without '" + std::string(part) + "'", where);
}

/// A broadcast over two ranks that is right.
WholeCall broadcast() {
    return call_of(Collective::broadcast, {[](ScheduleBuilder& b) {
                                               b.send(1, in);
                                               b.copy(out, in);
                                           },
                                           [](ScheduleBuilder& b) { b.recv(0, out); }});
}

/// An all-reduce over two ranks, in which each folds what the other sends.
WholeCall exchange(Order order_of_rank_1, Fold fold = Fold::last) {
    return call_of(Collective::all_reduce, {[fold](ScheduleBuilder& b) {
                                                b.send(1, in);
                                                b.recv_reduce(1, out, in, fold);
                                            },
                                            [&](ScheduleBuilder& b) {
                                                b.send(0, in);
                                                b.recv_reduce(0, out, in, fold, order_of_rank_1);
                                            }});
}

const Test other_calls("verify rejects schedules of another call", [] {
    WholeCall call = broadcast();
    check(!verify(call.requests, call.schedules), "the right one is rejected");
    call.schedules.pop_back();
    check_rejected(call, "one schedule for each");
    call = broadcast();
    std::swap(call.schedules[0], call.schedules[1]);
    check_rejected(call, "rank 0: the schedule is for another call");
    call = broadcast();
    call.schedules[1].collective = Collective::all_reduce;
    check_rejected(call, "rank 1: the schedule is for another call");
    call = broadcast();
    call.requests[1].root = 1;
    check_rejected(call, "rank 1: asks for another call than rank 0");
    call = broadcast();
    call.requests[1].count = 5;
    check_rejected(call, "rank 1: asks for another call than rank 0");

    std::vector<Request> uneven(2, {.collective = Collective::all_to_all, .size = 2});
    uneven[0].counts = uneven[0].recv_counts = {1, 2};
    uneven[1].rank = 1;
    uneven[1].counts = uneven[1].recv_counts = {3, 1};
    check_rejected(call_of_ranks(find_algorithm(Collective::all_to_all, "pairwise"), uneven),
                   "rank 0: expects 2 elements from rank 1, which sends 3");
});

const Test malformed_steps("verify rejects steps that make no sense", [] {
    struct Case {
        std::string_view part;
        int rank;
        std::function<void(Step&)> spoil;
    };
    const Case cases[] = {
        {"there is no such peer", 0, [](Step& s) { s.peer = 2; }},
        {"there is no such peer", 1, [](Step& s) { s.peer = -1; }},
        {"a rank sends no message to itself", 0, [](Step& s) { s.peer = 0; }},
        {"wrong number of source slices", 0, [](Step& s) { s.srcs.push_back(in); }},
        {"wrong number of source slices", 1, [](Step& s) { s.srcs.push_back(out); }},
        {"only a fold can be the last fold", 1, [](Step& s) { s.finish = true; }},
        {"only a received fold has a message", 1, [](Step& s) { s.message_first = true; }},
        {"empty step", 0, [](Step& s) { s.srcs[0].count = 0; }},
        {"empty step", 1, [](Step& s) { s.dst.count = 0; }},
        {"input[1:5) leaves the buffer of 4 elements", 0, [](Step& s) { s.srcs[0].offset = 1; }},
        {"leaves the buffer of 4 elements", 1, [](Step& s) { s.dst.offset -= 1; }},
        {"leaves the buffer of 0 elements", 1, [](Step& s) { s.dst.buffer = Buffer::scratch; }},
        {"depends on a step that is not before it", 0, [](Step& s) { s.after = {0}; }},
        {"depends on a step that is not before it", 0, [](Step& s) { s.after = {1}; }},
    };
    for (const Case& wrong : cases) {
        WholeCall call = broadcast();
        wrong.spoil(call.schedules[static_cast<std::size_t>(wrong.rank)].steps[0]);
        check_rejected(call, wrong.part);
    }
    WholeCall call = broadcast();
    call.schedules[0].steps[1].dst.count = 3;
    check_rejected(call, "slices differ in length");
    check_rejected(call_of(Collective::all_reduce,
                           {[](ScheduleBuilder& b) { b.copy(in.part(0, 2), out.part(0, 2)); }}),
                   "the input must not be written");
});

const Test unmatched_messages("verify rejects messages that do not meet", [] {
    WholeCall call = broadcast();
    call.schedules[1].steps.clear();
    check_rejected(call, "rank 0 step 0 (send to 1: input[0:4)): rank 1 never receives it");
    call = broadcast();
    call.schedules[0].steps.erase(call.schedules[0].steps.begin());
    check_rejected(call, "rank 1 step 0 (recv from 0: output[0:4)): rank 0 never sends it");
    call = broadcast();
    call.schedules[1].steps[0].dst.count = 3;
    check_rejected(call, "sends 4 elements, but rank 1 step 0 (recv from 0: output[0:3)) receives 3");
});

const Test hazards("verify rejects steps that race", [] {
    // Rank 0 may overwrite what it is sending.
    WholeCall call = whole_call(find_algorithm(Collective::all_reduce, "ring"),
                                {.size = 2, .count = 4, .in_place = true});
    for (Step& step : call.schedules[0].steps) step.after.clear();
    check_rejected(call, "touch the same elements in no fixed order");

    check_rejected(call_of(Collective::reduce,
                           {[](ScheduleBuilder& b) {
                               b.copy(out.part(1, 3), out.part(0, 3));
                           }}),
                   "overwrites what it reads");
});

const Test deadlocks("verify rejects waits in a circle", [] {
    // Each sends what it has received, and receives only then what the other sends.
    const auto echo = [](int peer) {
        return [peer](ScheduleBuilder& b) {
            b.recv(peer, out);
            b.send(peer, out);
        };
    };
    check_rejected(call_of(Collective::all_reduce, {echo(1), echo(0)}), "deadlock");

    // Each overwrites what it sends: fine only if sends did not wait for their receivers.
    const auto swap = [](int peer) {
        return [peer](ScheduleBuilder& b) {
            b.copy(out, in);
            b.send(peer, out);
            b.recv_reduce(peer, out, out, Fold::last);
        };
    };
    check_rejected(call_of(Collective::all_reduce, {swap(1), swap(0)}), "deadlock");

    // Messages of one channel go in order: the first waits for one that comes behind it.
    const auto out_of_order = [](ScheduleBuilder& b) {
        const Slice early = b.scratch(4);
        b.recv(1, early);
        b.send(1, early);
        b.send(1, in);
        b.copy(out, in);
    };
    const auto answers_second = [](ScheduleBuilder& b) {
        const Slice first = b.scratch(4);
        b.recv(0, first);
        b.recv(0, out);
        b.send(0, out);
    };
    check_rejected(call_of(Collective::broadcast, {out_of_order, answers_second}), "deadlock");
});

const Test wrong_values("verify rejects folds and moves of the wrong elements", [] {
    const auto nothing = [](ScheduleBuilder&) {};
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.copy(out, b.scratch(4));
                           }}),
                   "reads memory that nobody has written");
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.reduce(out, std::array{in, b.scratch(4)});
                           }}),
                   "reads memory that nobody has written");
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.reduce(out.part(0, 2), std::array{in.part(0, 2), in.part(2, 2)});
                           }}),
                   "folds different elements into one");
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.reduce(out, std::array{in, in});
                           }}),
                   "counts a rank's contribution twice");
    check_rejected(call_of(Collective::reduce, {[](ScheduleBuilder& b) {
                                                    b.recv_reduce(1, out, in, Fold::last);
                                                    b.recv_reduce(1, out, out, Fold::last);
                                                },
                                                [](ScheduleBuilder& b) {
                                                    b.send(0, in);
                                                    b.send(0, in);
                                                }}),
                   "folds after the last fold");
    check_rejected(call_of(Collective::reduce, {[](ScheduleBuilder& b) {
                                                    b.recv_reduce(1, out, in, Fold::last);
                                                    b.recv_reduce(2, out, out);
                                                },
                                                [](ScheduleBuilder& b) { b.send(0, in); },
                                                [](ScheduleBuilder& b) { b.send(0, in); }}),
                   "marked as the last fold, but contributions are missing");
    check_rejected(call_of(Collective::all_reduce, {nothing}), "output element 0: never written");
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.copy(out.part(0, 3), in.part(0, 3));
                           }}),
                   "output element 3: never written");
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.copy(out.part(0, 2), in.part(2, 2));
                               b.copy(out.part(2, 2), in.part(0, 2));
                           }}),
                   "holds the result of another element");
    check_rejected(call_of(Collective::broadcast, {[](ScheduleBuilder& b) {
                               b.copy(out.part(0, 2), in.part(0, 2));
                               b.copy(out.part(2, 2), in.part(0, 2));
                           }}),
                   "output element 2: holds another element than element 2 of rank 0");
    const auto own = [](ScheduleBuilder& b) { b.copy(out, in); };
    check_rejected(call_of(Collective::all_reduce, {own, own}),
                   "some rank's contribution is missing");
});

const Test bits("verify wants one last fold, and the same order on all ranks", [] {
    const WholeCall right = exchange(Order::message_first);
    check(!verify(right.requests, right.schedules), "the right one is rejected");
    check_rejected(exchange(Order::local_first), "rank 1 output element 0: folded in another order");
    check_rejected(exchange(Order::message_first, Fold::partial), "no fold is marked as the last");

    // (a + b) + c in one step rounds once, in two steps twice.
    const auto collect = [](bool at_once) {
        return [at_once](ScheduleBuilder& b) {
            const Slice second = b.scratch(4);
            const Slice third = b.scratch(4);
            b.recv(1, second);
            b.recv(2, third);
            if (at_once) {
                b.reduce(out, std::array{in, second, third}, Fold::last);
            } else {
                b.reduce(out, std::array{in, second});
                b.reduce(out, std::array{out, third}, Fold::last);
            }
            b.send(1, out.part(0, 2));
            b.send(2, out.part(0, 2));
            b.send(1, in);
            b.send(2, in);
        };
    };
    // Ranks 1 and 2 take the first half from rank 0 and fold the second half themselves, at once.
    const auto fold_half = [](int peer, bool peer_first) {
        return [=](ScheduleBuilder& b) {
            const Slice root = b.scratch(4);
            const Slice other = b.scratch(4);
            b.send(0, in);
            b.send(peer, in);
            b.recv(0, out.part(0, 2));
            b.recv(0, root);
            b.recv(peer, other);
            const std::array operands = peer_first
                                            ? std::array{root.part(2, 2), other.part(2, 2),
                                                         in.part(2, 2)}
                                            : std::array{root.part(2, 2), in.part(2, 2),
                                                         other.part(2, 2)};
            b.reduce(out.part(2, 2), operands, Fold::last);
        };
    };
    const auto all = [&](bool at_once) {
        return call_of(Collective::all_reduce,
                       {collect(at_once), fold_half(2, false), fold_half(1, true)});
    };
    const WholeCall once = all(true);
    check(!verify(once.requests, once.schedules), "the right one is rejected");
    check_rejected(all(false), "output element 2: folded in another order than on rank 0");
});

const Test early_leavers("verify rejects barriers that somebody leaves too early", [] {
    const auto token = [](ScheduleBuilder& b) { return b.scratch(1); };
    // Rank 1 hears of rank 0, but nobody tells rank 0.
    check_rejected(call_of(Collective::barrier,
                           {[&](ScheduleBuilder& b) { b.send(1, token(b)); },
                            [&](ScheduleBuilder& b) { b.recv(0, token(b)); }}),
                   "rank 0 may leave the barrier before rank 1 has entered it");
    // The dissemination barrier without its waits between the rounds.
    WholeCall call = whole_call(find_algorithm(Collective::barrier, "dissemination"), {.size = 4});
    check(!verify(call.requests, call.schedules), "the right one is rejected");
    for (Step& step : call.schedules[0].steps) step.after.clear();
    check_rejected(call, "may leave the barrier before");
});

const Test large_counts("verify needs no longer for more elements", [] {
    const WholeCall call = whole_call(find_algorithm(Collective::all_reduce, "ring"),
                                      {.size = 7, .count = (std::uint64_t{1} << 40) + 3});
    const auto failure = verify(call.requests, call.schedules);
    check(!failure, failure.value_or(""));
});

}  // namespace
}  // namespace pycoll::test
