#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "verify_calls.hpp"

namespace pycoll::test::verify_rejects {
namespace {

using Fold = ScheduleBuilder::Fold;

/// A broadcast over two ranks that is right.
WholeCall broadcast() {
    return call_of(Collective::broadcast, {[](ScheduleBuilder& b) {
                                               b.send(1, in);
                                               b.copy(out, in);
                                           },
                                           [](ScheduleBuilder& b) { b.recv(0, out); }});
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
    check_rejected(call,
                   "sends 4 elements, but rank 1 step 0 (recv from 0: output[0:3)) receives 3");
});

const Test hazards("verify rejects steps that race", [] {
    // Rank 0 may overwrite what it is sending.
    WholeCall call = whole_call(find_algorithm(Collective::all_reduce, "ring"),
                                {.size = 2, .count = 4, .in_place = true});
    for (Step& step : call.schedules[0].steps) step.after.clear();
    check_rejected(call, "touch the same elements in no fixed order");

    check_rejected(call_of(Collective::reduce,
                           {[](ScheduleBuilder& b) { b.copy(out.part(1, 3), out.part(0, 3)); }}),
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

}  // namespace
}  // namespace pycoll::test::verify_rejects
