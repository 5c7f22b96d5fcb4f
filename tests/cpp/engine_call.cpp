// What is checked of a call before anything is sent, and how plans are remembered.

#include <array>
#include <limits>

#include "check.hpp"
#include "engine/call.hpp"
#include "engine/plan_cache.hpp"

namespace pycoll::test::engine_call {
namespace {

std::array<std::byte, 64> memory;

Call call_at(Collective collective, std::size_t input, std::size_t output) {
    return {.collective = collective,
            .count = 8,
            .input = memory.data() + input,
            .output = memory.data() + output};
}

const Test in_place("call: in place is recognised where each collective defines it", [] {
    const auto is_in_place = [](Collective collective, std::size_t input, std::size_t output) {
        return request_for(call_at(collective, input, output), 1, 3).in_place;
    };
    check(is_in_place(Collective::all_reduce, 0, 0), "the same array");
    check(is_in_place(Collective::all_gather, 8, 0), "its own block of the output");
    check(is_in_place(Collective::reduce_scatter, 0, 8), "its own block of the input");
    check(!is_in_place(Collective::all_reduce, 0, 8), "neighbours");
    check(!is_in_place(Collective::all_to_all, 0, 24), "neighbours");
    // Rank 1 gets nothing when the root is 0: what it passes as output does not matter.
    check(!is_in_place(Collective::reduce, 0, 4), "no output");
});

const Test overlap("call: any other overlap is refused", [] {
    const auto refused = [](Collective collective, std::size_t input, std::size_t output) {
        check_throws<std::invalid_argument>(
            [&] { (void)request_for(call_at(collective, input, output), 1, 3); },
            "overlaps the input");
    };
    refused(Collective::all_reduce, 0, 4);
    refused(Collective::all_reduce, 7, 0);
    refused(Collective::all_gather, 0, 0);
    refused(Collective::reduce_scatter, 0, 0);
    refused(Collective::all_to_all, 0, 0);
});

const Test in_place_counts("call: blocks of different lengths lie one after the other", [] {
    Call call = call_at(Collective::all_gather, 3, 0);
    call.counts = {3, 5, 1};
    check(request_for(call, 1, 3).in_place, "after the three elements of rank 0");
});

const Test lengths("call: lengths that no memory holds are refused", [] {
    Call call{.collective = Collective::all_gather, .dtype = DType::f64};
    call.count = std::uint64_t{1} << 59;
    check_throws<std::invalid_argument>([&] { (void)request_for(call, 0, 2); }, "too large");
    call.count = 1;
    // These would add up to 0.
    call.counts = {std::uint64_t{1} << 63, std::uint64_t{1} << 63};
    check_throws<std::invalid_argument>([&] { (void)request_for(call, 0, 2); }, "too large");
    call.counts = {std::numeric_limits<std::int64_t>::max() / 8, 1};
    check_throws<std::invalid_argument>([&] { (void)request_for(call, 0, 2); }, "too large");
    call.counts[1] = 0;
    check_equal(request_for(call, 1, 2).output_count(), call.counts[0]);
});

const Test operations("call: an operation that the data type does not have is refused", [] {
    Call call{.collective = Collective::all_reduce, .dtype = DType::f32, .op = ReduceOp::bxor};
    check_throws<std::invalid_argument>([&] { (void)request_for(call, 0, 2); },
                                        "op 'bxor' is not defined for dtype float32");
    call.collective = Collective::broadcast;  // folds nothing
    (void)request_for(call, 0, 2);
});

Call named(std::string algorithm, std::uint64_t count) {
    return {
        .collective = Collective::all_gather, .count = count, .algorithm = std::move(algorithm)};
}

const Test remembered("plan cache: the same call gets the same plan, another one another", [] {
    PlanCache cache({});
    const auto plan = [&](const Call& call) {
        return cache.collective(request_for(call, 0, 2), call, Reach::messages);
    };
    const Call call = named("ring", 10);
    const auto first = plan(call);
    check(plan(call) == first, "built twice");
    Call other = call;
    other.chunk_bytes = 2;
    check(plan(other) != first, "another chunk length");
    other = call;
    other.dtype = DType::f32;
    check(plan(other) != first, "another size of elements");
    other = call;
    other.counts = {10, 10};
    check(plan(other) != first, "with counts");
    check(plan(named("auto", 10)) != first, "another algorithm, as far as anybody knows");
    check(cache.collective(request_for(call, 0, 2), call, Reach::stages) != first,
          "what ranks see of each other's memory");
    for (std::uint64_t count = 11; count < 1000; ++count) (void)plan(named("ring", count));
    check_equal(first.use_count(), 1, "holders of a plan that was not asked for in 989 calls");
    check_equal(plan(call)->steps().size(), first->steps().size());
    check_throws<std::invalid_argument>([&] { (void)plan(named("ring with counts", 10)); },
                                        "no algorithm 'ring with counts'");
});

const Test counts_apart("plan cache: calls with counts choose among fewer algorithms", [] {
    CostModel model;
    model.intra_node.alpha = 1;  // then bruck, with the fewest messages, is best
    PlanCache cache(model);
    Call call{.collective = Collective::all_to_all, .count = 1};
    check_equal(cache.choice(request_for(call, 0, 8), call, Reach::messages).algorithm->name,
                "bruck");
    call.counts.assign(8, 1);
    call.recv_counts = call.counts;
    check_equal(cache.choice(request_for(call, 0, 8), call, Reach::messages).algorithm->name,
                "pairwise");
});

const Test messages("plan cache: single messages have plans, too", [] {
    PlanCache cache({});
    const auto sent = cache.message(StepKind::send, 0, 2, 1, 100);
    check(cache.message(StepKind::send, 0, 2, 1, 100) == sent, "built twice");
    check(cache.message(StepKind::recv, 0, 2, 1, 100) != sent, "a receive");
    check(cache.message(StepKind::send, 0, 2, 1, 101) != sent, "another length");
    check_equal(sent->steps().at(0).count, std::uint64_t{100});
    check_equal(sent->steps().at(0).peer, 1);
});

}  // namespace
}  // namespace pycoll::test::engine_call
