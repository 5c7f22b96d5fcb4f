#include <array>
#include <cstdint>
#include <functional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "schedule_without.hpp"
#include "verify_calls.hpp"

namespace pycoll::test::verify_one_sided {
namespace {

using Fold = ScheduleBuilder::Fold;

constexpr Slice stage{Buffer::stage, 0, 4};

void check_accepted(const WholeCall& call,
                    const std::source_location& where = std::source_location::current()) {
    const auto failure = verify(call.requests, call.schedules);
    check(!failure, "the right one is rejected: " + failure.value_or(""), where);
}

void fold_both(ScheduleBuilder& b, const Slice& slice) {
    b.reduce(out, std::array{slice.of(0), slice.of(1)}, Fold::last);
}

/// Of an all-reduce over two ranks through their stages.
void put_meet_fold(ScheduleBuilder& b) {
    b.use_stage(4);
    b.copy(stage, in);
    b.meet();
    fold_both(b, stage);
}

/// A broadcast over two ranks, of which each does `before` in front.
WholeCall broadcast(const std::function<void(ScheduleBuilder&, int rank)>& before) {
    return call_of(Collective::broadcast, {[&](ScheduleBuilder& b) {
                                               before(b, 0);
                                               b.use_stage(4);
                                               b.copy(stage, in);
                                               b.copy(out, in);
                                               b.meet();
                                           },
                                           [&](ScheduleBuilder& b) {
                                               before(b, 1);
                                               b.meet();
                                               b.copy(out, stage.of(0));
                                           }});
}

const Test malformed("verify rejects slices that are out of reach", [] {
    check_accepted(broadcast([](ScheduleBuilder&, int) {}));
    struct Case {
        std::string_view part;
        std::function<void(Slice&)> spoil;
    };
    const Case cases[] = {
        {"there is no such peer", [](Slice& s) { s.owner = 2; }},
        {"there is no such peer", [](Slice& s) { s.owner = -2; }},
        {"names its own memory as a peer's", [](Slice& s) { s.owner = 1; }},
        {"a peer's scratch is out of reach", [](Slice& s) { s.buffer = Buffer::scratch; }},
        {"rank 0 stage[1:5) leaves the buffer of 4 elements", [](Slice& s) { s.offset = 1; }},
        {"rank 0 input[1:5) leaves the buffer of 4 elements",
         [](Slice& s) { s = {Buffer::input, 1, 4, 0}; }},
    };
    for (const Case& wrong : cases) {
        WholeCall call = broadcast([](ScheduleBuilder&, int) {});
        wrong.spoil(call.schedules[1].steps.back().srcs[0]);
        check_rejected(call, wrong.part);
    }
    WholeCall call = broadcast([](ScheduleBuilder&, int) {});
    call.schedules[0].stage_count = 3;
    check_rejected(call, "stage[0:4) leaves the buffer of 3 elements");
    call.schedules[0].stage_count = 4;
    call.schedules[1].meets_first = true;
    check_rejected(call, "rank 1: the schedule is for another call");
    check_rejected(broadcast([](ScheduleBuilder& b, int rank) {
                       if (rank == 1) b.copy(in.of(0), out);
                   }),
                   "the input must not be written");
    check_rejected(broadcast([](ScheduleBuilder& b, int rank) {
                       if (rank == 1) b.send(0, stage.of(0));
                   }),
                   "messages go from and to private memory");
});

const Test alike("verify rejects stages that are said to be alike and are not", [] {
    WholeCall call = call_of(Collective::all_reduce, {put_meet_fold, put_meet_fold});
    call.schedules[1].stages_alike = true;
    check_rejected(call, "rank 1: the schedule is for another call");
    call.schedules[0].stages_alike = true;
    check_accepted(call);
    call.schedules[1].stage_count = 5;
    check_rejected(call,
                   "rank 1: uses another length of its stage than rank 0, but says that all stages "
                   "are alike");
    for (Schedule& schedule : call.schedules) schedule.stages_alike = false;
    check_accepted(call);
});

const Test unmatched("verify rejects signals and waits that do not meet", [] {
    check_rejected(broadcast([](ScheduleBuilder& b, int rank) {
                       if (rank == 0) b.signal(1);
                   }),
                   "(signal 1): rank 1 never waits for it");
    check_rejected(broadcast([](ScheduleBuilder& b, int rank) {
                       if (rank == 1) b.wait(0);
                   }),
                   "(wait for 0): rank 0 never signals it");
    check_rejected(broadcast([](ScheduleBuilder& b, int rank) {
                       b.wait(1 - rank);
                       b.signal(1 - rank);
                   }),
                   "deadlock");
});

const Test unordered("verify rejects accesses to a peer's stage that no signal orders", [] {
    check_accepted(call_of(Collective::all_reduce, {put_meet_fold, put_meet_fold}));
    const auto fold_too_early = [](ScheduleBuilder& b) {
        b.use_stage(4);
        b.copy(stage, in);
        b.signal(1);
        fold_both(b, stage);
        b.wait(1);
    };
    check_rejected(call_of(Collective::all_reduce, {fold_too_early, put_meet_fold}),
                   "touch the same elements of rank 1 in no fixed order");
    // A message tells a rank nothing about the memory of its sender.
    const auto with_message = [](int rank) {
        return [rank](ScheduleBuilder& b) {
            const Slice token = b.scratch(4);
            b.use_stage(4);
            b.copy(stage, in);
            b.copy(token, in);
            b.send(1 - rank, token);
            b.recv(1 - rank, b.scratch(4));
            fold_both(b, stage);
            b.meet();
        };
    };
    check_rejected(call_of(Collective::all_reduce, {with_message(0), with_message(1)}),
                   "in no fixed order");
    // Both write the same elements of a third.
    const auto write = [](ScheduleBuilder& b) {
        b.meet_first();
        b.copy(stage.of(2), in);
        b.copy(out, in);
    };
    WholeCall call = call_of(Collective::all_gather, {write, write, [](ScheduleBuilder& b) {
                                                          b.meet_first();
                                                          b.use_stage(4);
                                                      }});
    check_rejected(call, "touch the same elements of rank 2 in no fixed order");
});

const Test private_steps("verify follows private steps up to the signal that tells of them", [] {
    const auto call = [](bool tells) {
        return call_of(Collective::broadcast, {[](ScheduleBuilder& b) {
                                                   b.meet_first();
                                                   b.send(1, in);
                                                   b.copy(out, in);
                                               },
                                               [tells](ScheduleBuilder& b) {
                                                   b.meet_first();
                                                   const std::array received = {b.recv(0, out)};
                                                   b.signal(
                                                       2, std::span(received).first(tells ? 1 : 0));
                                                   b.wait(2);
                                               },
                                               [](ScheduleBuilder& b) {
                                                   b.meet_first();
                                                   b.wait(1);
                                                   b.copy(out, out.of(1));
                                                   b.signal(1);
                                               }});
    };
    check_accepted(call(true));
    check_rejected(
        call(false),
        "rank 1 step 0 (recv from 0: output[0:4)) and rank 2 step 1 (copy: output[0:4) = "
        "rank 1 output[0:4)) touch the same elements of rank 1 in no fixed order");
});

const Test out_of_sequence("verify rejects one-sided steps that form no sequence", [] {
    WholeCall call = call_of(Collective::all_reduce, {put_meet_fold, put_meet_fold});
    call.schedules[0].steps[1].after.clear();
    check_rejected(call,
                   "rank 0 step 1 (signal 1): does not come after all one-sided steps before it");
});

const Test trespass("verify rejects accesses to arrays of ranks that are not in the call", [] {
    const auto direct = [](bool meets_first) {
        return [meets_first](ScheduleBuilder& b) {
            if (meets_first) b.meet_first();
            fold_both(b, in);
            b.meet();
        };
    };
    check_accepted(call_of(Collective::all_reduce, {direct(true), direct(true)}));
    check_rejected(call_of(Collective::all_reduce, {direct(false), direct(false)}),
                   "(+) rank 1 input[0:4), last fold): rank 1 may not have entered yet");

    const auto both = [](Build first, Build second) {
        return call_of(Collective::broadcast, {std::move(first), std::move(second)});
    };
    const auto write = [](bool signals) {
        return [signals](ScheduleBuilder& b) {
            b.meet_first();
            b.copy(out.of(1), in);
            if (signals) b.signal(1);
            b.copy(out, in);
        };
    };
    const auto receive = [](bool waits) {
        return [waits](ScheduleBuilder& b) {
            b.meet_first();
            if (waits) b.wait(0);
        };
    };
    check_accepted(both(write(true), receive(true)));
    check_rejected(both(write(false), receive(false)),
                   "rank 0 step 0 (copy: rank 1 output[0:4) = input[0:4)): rank 1 may have left "
                   "already");
});

const Test early_leavers("verify rejects one-sided calls that a rank leaves before all enter", [] {
    check_rejected(call_of(Collective::broadcast, {[](ScheduleBuilder& b) {
                                                       b.use_stage(4);
                                                       b.copy(stage, in);
                                                       b.signal(1);
                                                       b.copy(out, in);
                                                   },
                                                   [](ScheduleBuilder& b) {
                                                       b.wait(0);
                                                       b.copy(out, stage.of(0));
                                                   }}),
                   "rank 0 may leave the call before rank 1 has entered it");
});

const Test names("verify knows when two names of a peer's memory mean the same", [] {
    // Rank 0 is in place: its input is its output.
    const auto call = [](const Slice& dst, const Slice& src, bool rewrites = false) {
        WholeCall made = broadcast([](ScheduleBuilder&, int) {});
        made.requests[0].in_place = true;
        ScheduleBuilder root(made.requests[0]);
        root.meet_first();
        if (rewrites) {
            const Slice saved = root.scratch(4);
            root.copy(saved, in);
            root.copy(out, saved);
        }
        root.wait(1);
        made.schedules[0] = std::move(root).build();
        ScheduleBuilder leaf(made.requests[1]);
        leaf.meet_first();
        leaf.copy(dst, src);
        leaf.copy(out, in.of(0));
        leaf.signal(0);
        made.schedules[1] = std::move(leaf).build();
        return made;
    };
    check_accepted(call(out.of(0), in.of(0)));
    check_rejected(call(out.part(0, 0).of(0), in.part(0, 0).of(0), true),
                   "touch the same elements of rank 0 in no fixed order");
    check_rejected(call(out.part(1, 3).of(0), in.part(0, 3).of(0)),
                   "rank 1: step 0 (copy: rank 0 output[1:4) = rank 0 input[0:3)) overwrites what "
                   "it reads");
});

const Test rounds("verify rejects a staged call without one of its rounds of signals", [] {
    const WholeCall call = whole_call(find_algorithm(Collective::all_gather, "staged"),
                                      {.size = 3, .count = 5, .chunk = 1});
    check_accepted(call);
    for (int k = 0; k < 5; ++k) {
        WholeCall fewer = without_round(call, k);
        for (std::size_t rank = 0; rank < 3; ++rank) {
            check_equal(fewer.schedules[rank].steps.size(), call.schedules[rank].steps.size() - 4);
        }
        check_rejected(fewer, "");
    }
    // The half of turn 0 is put again while others still take it out.
    check_rejected(without_round(call, 1), "in no fixed order");
});

}  // namespace
}  // namespace pycoll::test::verify_one_sided
