#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/verify.hpp"

namespace pycoll::test::algorithms_hierarchical {
namespace {

/// Nodes of equal and of different sizes, single ranks among them, and ranks dealt out in turn.
std::vector<std::vector<int>> layouts() {
    std::vector<std::vector<int>> all = {
        {0, 0, 1, 1}, {0, 0, 0, 1, 1, 1, 1, 1}, {0, 0, 1, 1, 2, 2, 3, 3}, {0, 1, 1, 1, 1, 1, 1, 1},
        {0, 0, 1},    {0, 1, 2, 3, 4},          {0, 1, 0, 1, 0, 1},       {2, 0, 1, 0, 2, 0, 0},
    };
    std::vector<int>& large = all.emplace_back();
    for (int rank = 0; rank < 32; ++rank) large.push_back(rank / 8);
    return all;
}

void prove(const Algorithm& algorithm, Request shared) {
    for (const bool in_place : {false, true}) {
        if (in_place && !can_run_in_place(algorithm.collective)) return;
        shared.in_place = in_place;
        const WholeCall call = whole_call(algorithm, shared);
        const auto failure = verify(call.requests, call.schedules);
        std::string text = name_of(algorithm) + ", " + describe(shared) + ", nodes";
        for (const int node : shared.nodes) text += " " + std::to_string(node);
        check(!failure, text + ": " + failure.value_or(""));
    }
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
                // A root on each node is enough for long calls, in which there is more to prove.
                const int roots = rooted(algorithm.collective) ? size : 1;
                const int step = count > ranks + 1 ? std::max(size / 3, 1) : 1;
                const std::uint64_t most_chunks = size > 8 ? 10 : 50;
                for (const std::uint64_t chunk : {count, count / 7 + 1, count / most_chunks + 1}) {
                    for (int root = 0; root < roots; root += step) {
                        prove(algorithm, {.size = size,
                                          .count = count,
                                          .root = root,
                                          .chunk = chunk,
                                          .nodes = nodes});
                    }
                }
            }
        }
    }
});

const Test with_counts("hierarchical: proven for blocks of different lengths, none among them", [] {
    for (const Algorithm& algorithm : algorithms()) {
        if (!algorithm.spans_nodes || !algorithm.takes_counts) continue;
        for (const std::vector<int>& nodes : layouts()) {
            const int size = static_cast<int>(nodes.size());
            // Short ones and long ones take different ways between nodes.
            for (const std::uint64_t unit : {1, 5000}) {
                Request shared{.size = size, .root = size / 2, .chunk = 3 * unit, .nodes = nodes};
                for (int rank = 0; rank < size; ++rank) {
                    shared.counts.push_back(static_cast<std::uint64_t>(rank * 5 % 7) * unit);
                }
                prove(algorithm, shared);
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

/// Elements of all messages.
std::uint64_t elements_sent(const WholeCall& call) {
    std::uint64_t sent = 0;
    for (const Schedule& schedule : call.schedules) {
        for (const Step& step : schedule.steps) {
            if (step.kind == StepKind::send) sent += step.srcs[0].count;
        }
    }
    return sent;
}

const Test traffic("hierarchical: long calls send the least there is between nodes", [] {
    const std::uint64_t count = 80000;
    for (const std::vector<int>& nodes : layouts()) {
        const auto ranks = static_cast<std::uint64_t>(nodes.size());
        std::vector<std::uint64_t> in_node(nodes.size());
        for (const int node : nodes) ++in_node[static_cast<std::size_t>(node)];
        const auto node_count = static_cast<std::uint64_t>(std::ranges::max(nodes)) + 1;
        const int root = static_cast<int>(ranks) - 1;
        const std::uint64_t near_root = in_node[static_cast<std::size_t>(nodes.back())];
        std::uint64_t pairs = 0;
        for (const std::uint64_t here : in_node) pairs += here * (ranks - here);
        struct Expected {
            Collective collective;
            std::uint64_t elements;
        };
        for (const auto& [collective, elements] : {
                 // 2 (n-1)/n N for each of n nodes.
                 Expected{Collective::all_reduce, 2 * (node_count - 1) * count},
                 // Every block once into (or out of) every other node.
                 {Collective::reduce_scatter, (node_count - 1) * ranks * count},
                 {Collective::all_gather, (node_count - 1) * ranks * count},
                 {Collective::gather, (ranks - near_root) * count},
                 {Collective::scatter, (ranks - near_root) * count},
                 {Collective::all_to_all, pairs * count},
             }) {
            const WholeCall call = whole_call(find_algorithm(collective, "hierarchical"),
                                              {.size = static_cast<int>(ranks),
                                               .count = count,
                                               .root = root,
                                               .chunk = 30000,
                                               .nodes = nodes});
            check_equal(elements_sent(call), elements, std::string(name(collective)));
        }
    }
});

const Test shares("hierarchical: every rank of a node carries a part of what leaves it", [] {
    const std::uint64_t count = 60000;
    for (const Collective collective :
         {Collective::all_reduce, Collective::reduce_scatter, Collective::all_gather,
          Collective::gather, Collective::scatter, Collective::all_to_all}) {
        const std::vector<int> nodes = {0, 0, 0, 1, 1, 1};
        const WholeCall call =
            whole_call(find_algorithm(collective, "hierarchical"),
                       {.size = 6, .count = count, .root = 1, .chunk = count, .nodes = nodes});
        std::vector<std::uint64_t> moved;
        for (const Schedule& schedule : call.schedules) {
            std::uint64_t messages = 0;
            for (const Step& step : schedule.steps) {
                if (is_message(step.kind))
                    messages += step.kind == StepKind::send ? step.srcs[0].count : step.dst.count;
            }
            moved.push_back(messages);
        }
        check(std::ranges::min(moved) > 0 && std::ranges::min(moved) == std::ranges::max(moved),
              std::string(name(collective)) + ": some carry more than others");
    }
});

}  // namespace
}  // namespace pycoll::test::algorithms_hierarchical
