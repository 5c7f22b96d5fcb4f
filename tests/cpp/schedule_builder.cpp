#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "schedule/builder.hpp"
#include "schedule/print.hpp"

namespace pycoll::test::schedule_builder {
namespace {

using Waits = std::vector<std::vector<std::uint32_t>>;

constexpr Slice in{Buffer::input, 0, 8};
constexpr Slice out{Buffer::output, 0, 8};

Request all_reduce(bool in_place = false, std::uint64_t chunk = 0) {
    return {.collective = Collective::all_reduce,
            .size = 4,
            .count = 8,
            .chunk = chunk,
            .in_place = in_place};
}

/// What each step waits for.
Waits waits(ScheduleBuilder& builder) {
    Waits all;
    for (const Step& step : std::move(builder).build().steps) all.push_back(step.after);
    return all;
}

const Test dependencies("dependencies follow from the elements that steps touch", [] {
    ScheduleBuilder reads(all_reduce());
    reads.send(1, in);
    reads.send(2, in);
    check(waits(reads) == Waits{{}, {}}, "two readers wait for each other");

    ScheduleBuilder read_after_write(all_reduce());
    read_after_write.recv(1, out);
    read_after_write.send(2, out.part(2, 2));
    check(waits(read_after_write) == Waits{{}, {0}}, "read after write");

    ScheduleBuilder write_after_read(all_reduce());
    write_after_read.recv(1, out);
    write_after_read.send(2, out.part(0, 4));
    write_after_read.send(3, out.part(2, 4));
    write_after_read.recv(1, out.part(3, 1));
    check(waits(write_after_read) == Waits{{}, {0}, {0}, {1, 2}}, "write after read");

    ScheduleBuilder write_after_write(all_reduce());
    write_after_write.recv(1, out.part(0, 4));
    write_after_write.recv(1, out.part(4, 4));
    write_after_write.recv(2, out.part(3, 2));
    check(waits(write_after_write) == Waits{{}, {}, {0, 1}}, "write after write");

    ScheduleBuilder apart(all_reduce());
    apart.recv(1, out.part(0, 4));
    apart.send(2, out.part(4, 4));
    apart.recv(3, apart.scratch(4));
    check(waits(apart) == Waits{{}, {}, {}}, "steps apart wait for each other");

    ScheduleBuilder in_turn(all_reduce());
    in_turn.recv_reduce(1, out, in);
    in_turn.recv_reduce(2, out, out);
    in_turn.reduce(out, std::array{out, in});
    check(waits(in_turn) == Waits{{}, {0}, {1}}, "a step waits for itself or twice");
});

const Test shared_memory("in place, input and output are one", [] {
    ScheduleBuilder apart(all_reduce());
    apart.send(1, in);
    apart.recv(1, out);
    check(waits(apart) == Waits{{}, {}}, "apart");

    ScheduleBuilder together(all_reduce(true));
    together.send(1, in);
    together.recv(1, out);
    together.copy(out, in);
    const Schedule schedule = std::move(together).build();
    check_equal(schedule.steps.size(), 2U, "a copy onto itself");
    check(schedule.steps[1].after == std::vector<std::uint32_t>{0}, "the receive does not wait");
    check_equal(schedule.input_count, 0U, "elements of the input");

    ScheduleBuilder gather(
        {.collective = Collective::all_gather, .rank = 2, .size = 4, .count = 8, .in_place = true});
    gather.send(1, in);
    check_equal(to_string(std::move(gather).build().steps[0]), "send to 1: output[16:24)");

    ScheduleBuilder scatter({.collective = Collective::reduce_scatter,
                             .rank = 1,
                             .size = 4,
                             .count = 8,
                             .in_place = true});
    scatter.recv_reduce(0, out, in.part(16, 8));
    check_equal(to_string(std::move(scatter).build().steps[0]),
                "recv_reduce from 0: input[8:16) = input[16:24) (+) message");

    // Away from the root there is only one buffer.
    ScheduleBuilder leaf(
        {.collective = Collective::scatter, .rank = 1, .size = 4, .count = 8, .in_place = true});
    leaf.recv(0, out);
    check_equal(to_string(std::move(leaf).build().steps[0]), "recv from 0: output[0:8)");

    for (const Collective collective : {Collective::all_to_all, Collective::barrier}) {
        check_throws<std::invalid_argument>(
            [&] { ScheduleBuilder never({.collective = collective, .size = 2, .in_place = true}); },
            "cannot run in place");
    }
});

const Test chunks("steps are cut into chunks that wait for each other only", [] {
    ScheduleBuilder builder(all_reduce(false, 3));
    const auto received = builder.recv(1, out);
    const auto sent = builder.send(2, out);
    check_equal(received.begin, 0U);
    check_equal(received.end, 3U);
    check_equal(sent.end, 6U);
    const Schedule schedule = std::move(builder).build();
    check_equal(to_string(schedule.steps[0]), "recv from 1: output[0:3)");
    check_equal(to_string(schedule.steps[2]), "recv from 1: output[6:8)");
    check_equal(to_string(schedule.steps[4]), "send to 2: output[3:6)");
    for (std::uint32_t i = 3; i < 6; ++i) {
        check(schedule.steps[i].after == std::vector<std::uint32_t>{i - 3},
              "chunk " + std::to_string(i - 3));
    }

    ScheduleBuilder folds(all_reduce(false, 5));
    folds.reduce(out, std::array{in, out}, ScheduleBuilder::Fold::last);
    check_equal(to_string(std::move(folds).build().steps[1]),
                "reduce: output[5:8) = input[5:8) (+) output[5:8), last fold");
});

const Test explicit_waits("a step can be made to wait for others", [] {
    ScheduleBuilder builder(all_reduce(false, 4));
    const std::array first = {builder.recv(1, out), builder.recv(2, builder.scratch(2)),
                              builder.recv(2, Slice{})};
    builder.send(3, in.part(0, 2), first);
    builder.recv(3, builder.scratch(1), std::span(first).first(1));
    check(waits(builder) == Waits{{}, {}, {}, {0, 1, 2}, {0, 1}}, "waits");
});

const Test vanishing("steps over nothing vanish, ill-matched slices throw", [] {
    ScheduleBuilder builder(all_reduce());
    builder.send(1, in.part(3, 0));
    builder.recv(1, out.part(8, 0));
    builder.copy(out.part(0, 0), in.part(0, 0));
    builder.recv_reduce(1, out.part(0, 0), in.part(0, 0));
    check_equal(builder.scratch(0).count, 0U);
    check_throws<std::logic_error>([&] { builder.copy(out.part(0, 2), in.part(0, 3)); },
                                   "differ in length");
    check_throws<std::logic_error>([&] { builder.recv_reduce(1, out, in.part(0, 3)); },
                                   "differ in length");
    check_equal(std::move(builder).build().steps.size(), 0U, "steps");
});

const Test scratch("scratch is handed out piece by piece", [] {
    ScheduleBuilder builder(all_reduce());
    const Slice first = builder.scratch(3);
    const Slice second = builder.scratch(5);
    check(first == Slice{Buffer::scratch, 0, 3} && second == Slice{Buffer::scratch, 3, 5},
          "the pieces overlap or leave a gap");
    check_equal(std::move(builder).build().scratch_count, 8U);
});

const Test one_sided("one-sided steps keep the order in which they were written down", [] {
    const Slice stage{Buffer::stage, 0, 8};
    ScheduleBuilder builder(all_reduce());
    builder.copy(stage, in);
    builder.copy(out, in);
    builder.signal(1);
    builder.signal(2);
    builder.wait(1);
    builder.copy(out, stage.of(1));
    builder.send(2, out);
    builder.copy(in.of(3), out);
    // Private steps wait only for the memory they touch, one-sided steps for the last one as well.
    check(waits(builder) == Waits{{}, {}, {0}, {2}, {3}, {1, 4}, {5}, {5}}, "waits");

    ScheduleBuilder meeting(all_reduce());
    const auto received = meeting.recv(1, meeting.scratch(1));
    meeting.signal(2, std::array{received});
    meeting.meet();
    const Schedule schedule = std::move(meeting).build();
    check(schedule.steps[1].after == std::vector<std::uint32_t>{0}, "signal after a receive");
    for (std::uint32_t k = 0; k < 6; ++k) {
        const Step& step = schedule.steps[2 + k];
        check(step.kind == (k < 3 ? StepKind::signal : StepKind::wait), "kind");
        check_equal(step.peer, static_cast<int>(k % 3) + 1, "peer");
        check(step.after == std::vector<std::uint32_t>{k + 1}, "sequence");
    }
});

/// A view of two pieces of a buffer, [0, 2) and [6, 8), in that order or the other.
View halves(Buffer buffer, bool swapped = false) {
    View view;
    view.add({buffer, swapped ? 6U : 0U, 2});
    view.add({buffer, swapped ? 0U : 6U, 2});
    return view;
}

const Test views("a view is cut where its pieces end, and joins those that follow each other", [] {
    View view = halves(Buffer::input);
    view.add({Buffer::input, 8, 0});
    view.add({Buffer::input, 8, 3});
    check_equal(view.count(), 7U);
    const Slice first{Buffer::input, 0, 2};
    const Slice second{Buffer::input, 6, 5};
    check(view.part(0, 7) == std::vector{first, second}, "all");
    check(view.part(1, 2) == std::vector{first.part(1, 1), second.part(0, 1)}, "the middle");
    check(view.part(2, 5) == std::vector{second}, "the second piece");
    check(view.part(7, 0).empty() && View().part(0, 0).empty(), "nothing");
    check_throws<std::logic_error>([&] { (void)view.part(5, 3); }, "has no 3 behind the first 5");
    check_throws<std::logic_error>([&] { (void)View().part(0, 1); }, "of 0 elements");
});

const Test included("an included schedule works piece by piece, and its messages stay whole", [] {
    ScheduleBuilder inner({.rank = 1, .size = 2, .count = 4});
    const Slice sum{Buffer::output, 0, 4};
    const Slice own{Buffer::input, 0, 4};
    inner.send(0, own);
    inner.recv_reduce(0, sum, own, ScheduleBuilder::Fold::last,
                      ScheduleBuilder::Order::message_first);
    inner.copy(sum.part(0, 3), own.part(1, 3));
    ScheduleBuilder outer(all_reduce());
    outer.include(
        std::move(inner).build(),
        {.ranks = {3, 0}, .input = halves(Buffer::input), .output = halves(Buffer::output, true)});
    const Schedule schedule = std::move(outer).build();
    std::string text;
    for (const Step& step : schedule.steps) text += to_string(step) + "\n";
    check_equal(text,
                "copy: scratch[0:2) = input[0:2)\n"
                "copy: scratch[2:4) = input[6:8)\n"
                "send to 3: scratch[0:4)\n"
                "recv from 3: scratch[4:8)\n"
                "reduce: output[6:8) = scratch[4:6) (+) input[0:2), last fold\n"
                "reduce: output[0:2) = scratch[6:8) (+) input[6:8), last fold\n"
                "copy: output[6:7) = input[1:2)\n"
                "copy: output[7:8) = input[6:7)\n"
                "copy: output[0:1) = input[7:8)\n");
    check_equal(schedule.scratch_count, 8U);
});

const Test kept("an included copy of elements onto themselves vanishes", [] {
    ScheduleBuilder inner({.collective = Collective::all_gather, .size = 2, .count = 2});
    inner.copy({Buffer::output, 0, 2}, {Buffer::input, 0, 2});
    inner.send(1, {Buffer::output, 0, 2});
    const Schedule part = std::move(inner).build();
    const auto steps_with = [&](const Slice& input) {
        ScheduleBuilder outer(all_reduce());
        outer.include(part, {.ranks = {0, 3}, .input = input, .output = out.part(0, 4)});
        return std::move(outer).build().steps;
    };
    const std::vector<Step> steps = steps_with(out.part(0, 2));
    check_equal(steps.size(), 1U);
    check(steps[0].after.empty(), "waits for what is not there");
    check_equal(steps_with(in.part(0, 2)).size(), 2U);
});

const Test owners("steps cut into chunks name the same owners", [] {
    ScheduleBuilder builder(all_reduce(false, 3));
    builder.copy(out.of(3), in.of(2));
    builder.reduce(out, std::array{in.of(0), in.of(1)});
    const Schedule schedule = std::move(builder).build();
    check_equal(schedule.steps.size(), 6U);
    check_equal(to_string(schedule.steps[1]), "copy: rank 3 output[3:6) = rank 2 input[3:6)");
    // Rank 0 itself is no peer.
    check_equal(to_string(schedule.steps[5]),
                "reduce: output[6:8) = input[6:8) (+) rank 1 input[6:8)");
});

const Test places_of_peers("in place, a rank knows the real names of its own slices only", [] {
    ScheduleBuilder gather(
        {.collective = Collective::all_gather, .rank = 2, .size = 4, .count = 8, .in_place = true});
    gather.copy(in.of(1), in.of(2));
    gather.copy(in.of(3), in);
    gather.copy(out.part(0, 4), in.part(0, 4).of(1));
    // Onto itself.
    gather.copy(Slice{Buffer::output, 16, 8}, in.of(2));
    const Schedule schedule = std::move(gather).build();
    check_equal(schedule.steps.size(), 3U);
    check_equal(to_string(schedule.steps[0]), "copy: rank 1 input[0:8) = output[16:24)");
    check_equal(to_string(schedule.steps[1]), "copy: rank 3 input[0:8) = output[16:24)");
    check_equal(to_string(schedule.steps[2]), "copy: output[0:4) = rank 1 input[0:4)");
});

const Test stage("the stage is as long as the most that was asked for", [] {
    ScheduleBuilder builder(all_reduce());
    builder.use_stage(3);
    builder.use_stage(7);
    builder.use_stage(5);
    builder.meet_first();
    const Schedule schedule = std::move(builder).build();
    check_equal(schedule.stage_count, 7U);
    check(schedule.meets_first, "the ranks do not meet first");
    check(!ScheduleBuilder(all_reduce()).build().meets_first, "the ranks meet first unasked");
});

}  // namespace
}  // namespace pycoll::test::schedule_builder
