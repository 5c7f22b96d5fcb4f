#include <cstdint>
#include <string>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "sanitized.hpp"
#include "schedule/verify.hpp"

namespace pycoll::test {
namespace {

/// Nodes of equal and of different sizes, single ranks among them, and ranks dealt out in turn.
std::vector<std::vector<int>> layouts() {
    std::vector<std::vector<int>> all = {
        {0, 0, 1, 1}, {0, 0, 0, 1, 1, 1, 1, 1}, {0, 0, 1, 1, 2, 2, 3, 3}, {0, 1, 1, 1, 1, 1, 1, 1},
        {0, 0, 1},    {0, 1, 2, 3, 4},          {0, 1, 0, 1, 0, 1},       {2, 0, 1, 0, 2, 0, 0},
    };
    if (is_sanitized) return all;
    std::vector<int>& large = all.emplace_back();
    for (int rank = 0; rank < 32; ++rank) large.push_back(rank / 8);
    return all;
}

void prove(const Algorithm& algorithm, const Request& shared) {
    const WholeCall call = whole_call(algorithm, shared);
    const auto failure = verify(call.requests, call.schedules);
    std::string text = name_of(algorithm) + ", " + describe(shared) + ", nodes";
    for (const int node : shared.nodes) text += " " + std::to_string(node);
    check(!failure, text + ": " + failure.value_or(""));
}

const Test proven("hierarchical: proven for nodes of all kinds", [] {
    for (const Algorithm& algorithm : algorithms()) {
        if (!algorithm.spans_nodes) continue;
        for (const std::vector<int>& nodes : layouts()) {
            const int size = static_cast<int>(nodes.size());
            const auto ranks = static_cast<std::uint64_t>(size);
            for (const std::uint64_t count :
                 {std::uint64_t{0}, std::uint64_t{1}, ranks - 1, ranks + 1, std::uint64_t{100},
                  std::uint64_t{20000}}) {
                for (const std::uint64_t chunk : {count, count / 7 + 1, count / 50 + 1}) {
                    for (int root = 0; root < (rooted(algorithm.collective) ? size : 1); ++root) {
                        Request shared{.collective = algorithm.collective,
                                       .size = size,
                                       .count = count,
                                       .root = root,
                                       .chunk = chunk,
                                       .nodes = nodes};
                        prove(algorithm, shared);
                        shared.in_place = can_run_in_place(algorithm.collective);
                        if (shared.in_place) prove(algorithm, shared);
                    }
                }
            }
        }
    }
});

const Test reach("hierarchical: only ranks of one node touch each other's memory", [] {
    for (const Algorithm& algorithm : algorithms()) {
        if (!algorithm.spans_nodes) continue;
        const std::vector<int> nodes = {0, 0, 0, 1, 1, 1, 1, 1};
        const WholeCall call = whole_call(
            algorithm, {.size = 8, .count = 1000, .root = 0, .chunk = 10, .nodes = nodes});
        for (const Schedule& schedule : call.schedules) {
            const auto is_near = [&](int rank) {
                return nodes[static_cast<std::size_t>(rank)] ==
                       nodes[static_cast<std::size_t>(schedule.rank)];
            };
            for (const Step& step : schedule.steps) {
                if (step.peer >= 0) check_equal(is_near(step.peer), synchronises(step.kind));
                check(step.dst.owner == Slice::own || is_near(step.dst.owner), "writes afar");
                for (const Slice& src : step.srcs) {
                    check(src.owner == Slice::own || is_near(src.owner), "reads afar");
                }
            }
        }
    }
});

const Test traffic("hierarchical: an all-reduce sends the least bytes there are between nodes", [] {
    const Algorithm& algorithm = find_algorithm(Collective::all_reduce, "hierarchical");
    const std::vector<int> nodes = {0, 0, 0, 0, 1, 1, 1, 1};
    const std::uint64_t count = 80000;
    const WholeCall call = whole_call(
        algorithm, {.size = 8, .count = count, .root = 0, .chunk = 1000, .nodes = nodes});
    std::uint64_t sent = 0;
    for (const Schedule& schedule : call.schedules) {
        for (const Step& step : schedule.steps) {
            if (step.kind == StepKind::send) sent += step.srcs[0].count;
        }
    }
    // 2 (n-1)/n N for each of two nodes.
    check_equal(sent, 2 * count);
});

}  // namespace
}  // namespace pycoll::test
