#include <array>
#include <cstdint>

#include "verify_calls.hpp"

namespace pycoll::test::verify_results {
namespace {

using Fold = ScheduleBuilder::Fold;
using Order = ScheduleBuilder::Order;

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

const Test wrong_values("verify rejects folds and moves of the wrong elements", [] {
    const auto nothing = [](ScheduleBuilder&) {};
    check_rejected(
        call_of(Collective::all_reduce, {[](ScheduleBuilder& b) { b.copy(out, b.scratch(4)); }}),
        "reads memory that nobody has written");
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.reduce(out, std::array{in, b.scratch(4)});
                           }}),
                   "reads memory that nobody has written");
    check_rejected(call_of(Collective::all_reduce, {[](ScheduleBuilder& b) {
                               b.reduce(out.part(0, 2), std::array{in.part(0, 2), in.part(2, 2)});
                           }}),
                   "folds different elements into one");
    check_rejected(call_of(Collective::all_reduce,
                           {[](ScheduleBuilder& b) { b.reduce(out, std::array{in, in}); }}),
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
    check_rejected(call_of(Collective::all_reduce,
                           {[](ScheduleBuilder& b) { b.copy(out.part(0, 3), in.part(0, 3)); }}),
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
    check_rejected(exchange(Order::local_first),
                   "rank 1 output element 0: folded in another order");
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
            const std::array operands =
                peer_first ? std::array{root.part(2, 2), other.part(2, 2), in.part(2, 2)}
                           : std::array{root.part(2, 2), in.part(2, 2), other.part(2, 2)};
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
    check_rejected(call_of(Collective::barrier, {[&](ScheduleBuilder& b) { b.send(1, token(b)); },
                                                 [&](ScheduleBuilder& b) { b.recv(0, token(b)); }}),
                   "rank 0 may leave the call before rank 1 has entered it");
    // The dissemination barrier without its waits between the rounds.
    WholeCall call = whole_call(find_algorithm(Collective::barrier, "dissemination"), {.size = 4});
    check(!verify(call.requests, call.schedules), "the right one is rejected");
    for (Step& step : call.schedules[0].steps) step.after.clear();
    check_rejected(call, "may leave the call before");
});

const Test large_counts("verify needs no longer for more elements", [] {
    const WholeCall call = whole_call(find_algorithm(Collective::all_reduce, "ring"),
                                      {.size = 7, .count = (std::uint64_t{1} << 40) + 3});
    const auto failure = verify(call.requests, call.schedules);
    check(!failure, failure.value_or(""));
});

}  // namespace
}  // namespace pycoll::test::verify_results
