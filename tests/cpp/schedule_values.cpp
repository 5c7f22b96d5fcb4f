#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "schedule/print.hpp"
#include "schedule/request.hpp"

namespace pycoll::test::schedule_values {
namespace {

const Test blocks("blocks follow one another", [] {
    const Blocks uniform = Blocks::uniform(3, 4);
    check_equal(uniform.total(), 12U);
    check(uniform.in(Buffer::output, 2) == Slice{Buffer::output, 6, 3}, "third of four");
    const Blocks uneven = Blocks::of({2, 0, 5});
    check(uneven.range(Buffer::input, 1, 3) == Slice{Buffer::input, 2, 5}, "a range");
    check_equal(uneven.largest(), 5U);
    const Blocks split = Blocks::split(11, 4);
    for (int i = 0; i < 4; ++i) check_equal(split.count(i), i < 3 ? 3U : 2U, "an even split");
    check_equal(split.total(), 11U);
    check_equal(Blocks::split(2, 5).count(4), 0U, "fewer elements than blocks");
});

const Test buffer_lengths("a request tells the length of the buffers", [] {
    const auto lengths = [](Collective collective, int rank) {
        const Request request{
            .collective = collective, .rank = rank, .size = 3, .count = 4, .root = 1};
        return std::to_string(request.input_count()) + "/" + std::to_string(request.output_count());
    };
    check_equal(lengths(Collective::all_reduce, 0), "4/4");
    check_equal(lengths(Collective::reduce, 0), "4/0");
    check_equal(lengths(Collective::reduce, 1), "4/4");
    check_equal(lengths(Collective::broadcast, 0), "0/4");
    check_equal(lengths(Collective::broadcast, 1), "4/4");
    check_equal(lengths(Collective::reduce_scatter, 0), "12/4");
    check_equal(lengths(Collective::all_gather, 0), "4/12");
    check_equal(lengths(Collective::gather, 0), "4/0");
    check_equal(lengths(Collective::gather, 1), "4/12");
    check_equal(lengths(Collective::scatter, 0), "0/4");
    check_equal(lengths(Collective::scatter, 1), "12/4");
    check_equal(lengths(Collective::all_to_all, 0), "12/12");
    check_equal(lengths(Collective::barrier, 0), "0/0");

    const Request uneven{.collective = Collective::all_to_all,
                         .size = 3,
                         .counts = {1, 2, 3},
                         .recv_counts = {1, 0, 7}};
    check_equal(uneven.input_count(), 6U);
    check_equal(uneven.output_count(), 8U);
});

const Test bad_requests("a request that makes no sense says which field", [] {
    const auto refused = [](const Request& request, std::string_view part) {
        check_throws<std::invalid_argument>([&] { pycoll::check(request); }, part);
    };
    refused({.size = 0}, "size must be at least 1, not 0");
    refused({.rank = 3, .size = 3}, "rank 3 is outside [0, 3)");
    refused({.rank = -1, .size = 3}, "rank -1 is outside [0, 3)");
    refused({.size = 3, .root = 3}, "root 3 is outside [0, 3)");
    refused({.size = 3, .root = -1}, "root -1 is outside [0, 3)");
    refused({.collective = Collective::all_gather, .size = 3, .counts = {1, 2}},
            "counts has 2 entries for 3 ranks");
    refused({.collective = Collective::all_to_all, .size = 2, .counts = {1, 2}}, "recv_counts");
    refused({.collective = Collective::gather, .size = 2, .counts = {1, 2}, .recv_counts = {1, 2}},
            "recv_counts goes with counts, in all_to_all only");
    pycoll::check({.collective = Collective::gather, .size = 2, .counts = {1, 2}});
});

const Test printing("steps and schedules print as people read them", [] {
    const Slice in{Buffer::input, 4, 8};
    const Slice out{Buffer::output, 0, 8};
    const Slice scratch{Buffer::scratch, 1, 8};
    check_equal(to_string(scratch), "scratch[1:9)");
    check_equal(
        to_string(Step{.kind = StepKind::send, .peer = 3, .dst = {}, .srcs = {in}, .after = {}}),
        "send to 3: input[4:12)");
    check_equal(
        to_string(Step{.kind = StepKind::recv, .peer = 0, .dst = out, .srcs = {}, .after = {}}),
        "recv from 0: output[0:8)");
    Step fold{.kind = StepKind::recv_reduce, .peer = 2, .dst = out, .srcs = {in}, .after = {}};
    check_equal(to_string(fold), "recv_reduce from 2: output[0:8) = input[4:12) (+) message");
    fold.message_first = fold.finish = true;
    check_equal(to_string(fold),
                "recv_reduce from 2: output[0:8) = message (+) input[4:12), last fold");
    check_equal(to_string(Step{.kind = StepKind::copy, .dst = out, .srcs = {in}, .after = {}}),
                "copy: output[0:8) = input[4:12)");
    const Step reduce{.kind = StepKind::reduce,
                      .finish = true,
                      .dst = out,
                      .srcs = {in, scratch},
                      .after = {0, 2}};
    check_equal(to_string(reduce), "reduce: output[0:8) = input[4:12) (+) scratch[1:9), last fold");

    check_equal(to_string(Step{.kind = StepKind::copy,
                               .dst = out.of(2),
                               .srcs = {Slice{Buffer::stage, 3, 8}},
                               .after = {}}),
                "copy: rank 2 output[0:8) = stage[3:11)");
    const Step signal{.kind = StepKind::signal, .peer = 3, .dst = {}, .srcs = {}, .after = {0}};
    check_equal(to_string(signal), "signal 3");
    check_equal(
        to_string(Step{.kind = StepKind::wait, .peer = 0, .dst = {}, .srcs = {}, .after = {}}),
        "wait for 0");

    Schedule schedule{.collective = Collective::all_reduce,
                      .rank = 1,
                      .size = 2,
                      .input_count = 12,
                      .output_count = 8,
                      .scratch_count = 9,
                      .steps = {fold, reduce}};
    check_equal(
        to_string(schedule),
        "all_reduce, rank 1 of 2: input 12, output 8, scratch 9, stage 0 elements\n"
        "   0  recv_reduce from 2: output[0:8) = message (+) input[4:12), last fold\n"
        "   1  reduce: output[0:8) = input[4:12) (+) scratch[1:9), last fold  after 0, 2\n");
    schedule.stage_count = 8;
    schedule.meets_first = true;
    schedule.steps = {signal};
    check_equal(to_string(schedule),
                "all_reduce, rank 1 of 2: input 12, output 8, scratch 9, stage 8 elements, all "
                "ranks meet first\n"
                "   0  signal 3  after 0\n");
});

}  // namespace
}  // namespace pycoll::test::schedule_values
