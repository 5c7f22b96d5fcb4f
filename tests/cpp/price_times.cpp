#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/price.hpp"

namespace pycoll::test::price_times {
namespace {

/// Costs that are easy to tell apart: a message 1 s, a byte 1 ms, a byte folded 1 us.
const CostModel only_alpha{.intra_node = {.alpha = 1}, .inter_node = {.alpha = 1}};
const CostModel only_beta{.intra_node = {.beta = 1e-3}, .inter_node = {.beta = 1e-3}};

/// About a 10 Gbit/s Ethernet with cores that fold 5 GB/s.
const CostModel cluster{.intra_node = {.alpha = 20e-6, .beta = 0.8e-9},
                        .inter_node = {.alpha = 20e-6, .beta = 0.8e-9},
                        .gamma = 0.2e-9,
                        .copy = 0.1e-9};

double seconds(Collective collective, std::string_view name, const Request& shared,
               const CostModel& model) {
    return price(whole_call(find_algorithm(collective, name), shared).schedules, 1, model).seconds;
}

void check_near(double found, double expected, const std::string& what,
                const std::source_location& where = std::source_location::current()) {
    check(std::abs(found - expected) <= 1e-9 * std::max(1.0, expected),
          what + ": got " + std::to_string(found) + ", expected " + std::to_string(expected),
          where);
}

const Test only_rounds("time under alpha alone is the number of rounds", [] {
    for (int size = 1; size <= 17; ++size) {
        const double log = std::ceil(std::log2(size));
        const double others = size - 1;
        const Request shared{.size = size, .count = static_cast<std::uint64_t>(size)};
        const auto check_rounds = [&](Collective collective, std::string_view name, double rounds) {
            check_near(seconds(collective, name, shared, only_alpha), rounds,
                       std::string(name) + ", size " + std::to_string(size));
        };
        check_rounds(Collective::all_reduce, "ring", 2 * others);
        check_rounds(Collective::reduce_scatter, "ring", others);
        check_rounds(Collective::reduce_scatter, "pairwise", others);
        check_rounds(Collective::all_gather, "ring", others);
        check_rounds(Collective::all_gather, "bruck", log);
        check_rounds(Collective::all_to_all, "bruck", log);
        check_rounds(Collective::all_to_all, "pairwise", others);
        check_rounds(Collective::broadcast, "binomial", log);
        check_rounds(Collective::broadcast, "chain", others);
        check_rounds(Collective::reduce, "binomial", log);
        check_rounds(Collective::reduce, "chain", others);
        check_rounds(Collective::gather, "linear", others);
        check_rounds(Collective::barrier, "dissemination", log);
        if (log != std::floor(std::log2(size))) continue;
        check_rounds(Collective::all_reduce, "recursive_doubling", log);
        check_rounds(Collective::all_reduce, "rabenseifner", 2 * log);
        check_rounds(Collective::reduce, "rabenseifner", 2 * log);
        check_rounds(Collective::all_gather, "recursive_doubling", log);
        check_rounds(Collective::reduce_scatter, "recursive_halving", log);
        check_rounds(Collective::gather, "binomial", log);
        check_rounds(Collective::scatter, "binomial", log);
    }
});

const Test by_the_kernel(
    "what the kernel copies costs more, where the arrays are those of peers", [] {
        const CostModel once{.intra_node = {}, .inter_node = {}, .cma = {.alpha = 1}};
        const CostModel each{.intra_node = {}, .inter_node = {}, .copy = 1, .cma = {.beta = 1}};
        const Request shared{.size = 4, .count = 40};
        const auto takes = [&](Collective collective, std::string_view name, const CostModel& model,
                               double expected) {
            check_near(seconds(collective, name, shared, model), expected,
                       std::string(pycoll::name(collective)));
        };
        takes(Collective::all_to_all, "direct", once, 3);
        takes(Collective::all_to_all, "direct", each, 4 * 40 + 3 * 40);
        // The root writes its share to three peers; each of them reads its own share
        // once, and writes it to two.
        takes(Collective::broadcast, "direct", once, 3);
        // Of each of the three, and to each.
        takes(Collective::all_reduce, "direct", once, 6);
        // What is folded is copied before: a block of each of the three.
        takes(Collective::reduce_scatter, "direct", each, 3 * 40 * 2);
        // Stages are mapped.
        takes(Collective::all_to_all, "staged", once, 0);
    });

const Test depth("trees are as deep as the logarithm of the ranks", [] {
    for (int size = 2; size <= 64; ++size) {
        // On every level a node may serve two children, one after the other; two trees at a time
        // get into each other's way a little.
        const double most = 2 * std::ceil(std::log2(size)) + 2;
        for (const Collective collective : {Collective::broadcast, Collective::reduce}) {
            for (const std::string_view tree : {"binary_tree", "double_tree"}) {
                const double rounds =
                    seconds(collective, tree, {.size = size, .count = 2}, only_alpha);
                check(rounds <= most, std::string(tree) + " over " + std::to_string(size) +
                                          " ranks takes " + std::to_string(rounds) + " rounds");
            }
        }
    }
});

const Test only_bytes("time under beta alone is the bytes through the busiest rank", [] {
    for (int size = 2; size <= 16; ++size) {
        const double block = 5e-3;
        const double others = (size - 1) * block;
        const Request blocks{.size = size, .count = 5};
        const Request whole{.size = size, .count = static_cast<std::uint64_t>(5 * size)};
        check_near(seconds(Collective::all_reduce, "ring", whole, only_beta), 2 * others, "ring");
        check_near(seconds(Collective::all_gather, "bruck", blocks, only_beta), others, "bruck");
        check_near(seconds(Collective::all_to_all, "pairwise", blocks, only_beta), others,
                   "pairwise");
        check_near(seconds(Collective::gather, "linear", blocks, only_beta), others, "linear");
        if ((size & (size - 1)) != 0) continue;
        check_near(seconds(Collective::all_reduce, "rabenseifner", whole, only_beta), 2 * others,
                   "rabenseifner");
    }
});

const Test chain_formula("a chain of c chunks takes p - 2 + c rounds", [] {
    for (const std::uint64_t chunks : {1U, 2U, 5U, 20U}) {
        const Request shared{.size = 6, .count = 20, .chunk = 20 / chunks};
        const double rounds = 6 - 2 + static_cast<double>(chunks);
        check_near(seconds(Collective::broadcast, "chain", shared, only_alpha), rounds,
                   "broadcast");
        check_near(seconds(Collective::reduce, "chain", shared, only_alpha), rounds, "reduce");
    }
});

const Test pipelines("chunks speed up a pipeline of long vectors, and slow down short ones", [] {
    struct Pipeline {
        Collective collective;
        std::string_view name;
    };
    for (const auto& [collective, name] : {Pipeline{Collective::broadcast, "chain"},
                                           {Collective::broadcast, "binary_tree"},
                                           {Collective::broadcast, "double_tree"},
                                           {Collective::reduce, "chain"},
                                           {Collective::reduce, "binary_tree"},
                                           {Collective::reduce, "double_tree"},
                                           {Collective::all_reduce, "double_tree"}}) {
        const auto time = [&](std::uint64_t count, std::uint64_t chunk) {
            return seconds(collective, name, {.size = 16, .count = count, .chunk = chunk}, cluster);
        };
        const std::string what = std::string(pycoll::name(collective)) + " " + std::string(name);
        check(time(16 << 20, 256 << 10) < 0.6 * time(16 << 20, 0), what + " is not pipelined");
        check(time(4096, 256) > time(4096, 0), what + " pays nothing per message");
    }
    // Folding hides behind the wire.
    const auto ring = [](std::uint64_t chunk) {
        return seconds(Collective::all_reduce, "ring",
                       {.size = 8, .count = 64 << 20, .chunk = chunk}, cluster);
    };
    check(ring(1 << 20) < 0.95 * ring(0), "the ring does not fold while it receives");
});

const Test choices("the model prefers what the papers say", [] {
    const auto all_reduce = [](std::string_view name, std::uint64_t count, std::uint64_t chunk) {
        return seconds(Collective::all_reduce, name, {.size = 16, .count = count, .chunk = chunk},
                       cluster);
    };
    check(all_reduce("recursive_doubling", 64, 0) < all_reduce("ring", 64, 0), "short vectors");
    check(all_reduce("recursive_doubling", 64, 0) < all_reduce("rabenseifner", 64, 0),
          "short vectors");
    check(all_reduce("ring", 64 << 20, 0) < all_reduce("recursive_doubling", 64 << 20, 0),
          "long vectors");
    check(all_reduce("rabenseifner", 256 << 10, 0) < all_reduce("ring", 256 << 10, 0),
          "middling vectors");
    check(all_reduce("double_tree", 64 << 20, 256 << 10) <
              0.6 * all_reduce("binomial", 64 << 20, 256 << 10),
          "two trees against one");
});

const Test nodes("links between nodes and crowded cores cost more", [] {
    CostModel model = cluster;
    const Request shared{.size = 8, .count = 1 << 20};
    const double flat = seconds(Collective::all_reduce, "ring", shared, model);
    model.inter_node.beta *= 10;
    check_near(seconds(Collective::all_reduce, "ring", shared, model), flat, "all on one node");
    model.nodes = {0, 0, 0, 0, 1, 1, 1, 1};
    check(seconds(Collective::all_reduce, "ring", shared, model) > 5 * flat, "two nodes");

    model = cluster;
    model.cores_per_node = 8;
    check_near(seconds(Collective::all_reduce, "ring", shared, model), flat, "a core each");
    model.cores_per_node = 2;
    check_near(seconds(Collective::all_reduce, "ring", shared, model), 4 * flat, "four to a core");
});

const Test uneven("each node takes as long as its own ranks need", [] {
    // Seconds that are easy to tell apart: a signal 1, a rank of a core 10 more.
    CostModel model{.intra_node = {}, .inter_node = {}, .signal = 1, .wake = 10};
    model.nodes = {0, 1, 0, 1, 1, 1, 2};
    model.cores_per_node = 2;
    check_near(meeting_seconds(7, model), 2 * (1 + 10), "four ranks on two cores");
    model.cores_per_node = 4;
    check_near(meeting_seconds(7, model), 1, "a core each");
    model.nodes = {0, 1, 2, 3, 4, 5, 6};
    check_near(meeting_seconds(7, model), 0, "nobody to meet");
    check_throws<std::invalid_argument>([&] { (void)meeting_seconds(6, model); },
                                        "7 ranks on its nodes, the call 6");

    // A rank takes what four others put: on the crowded node one after the other, two at a time.
    CostModel copies{.intra_node = {}, .inter_node = {}, .copy = 1};
    copies.nodes = {0, 0, 1, 1, 1, 1};
    copies.cores_per_node = 2;
    const auto call = whole_call(find_algorithm(Collective::all_gather, "hierarchical"),
                                 {.size = 6, .count = 1, .chunk = 1, .nodes = copies.nodes});
    const Price found = price(call.schedules, 1, copies);
    const auto busy = [&](std::size_t rank) {
        double last = 0;
        for (const Interval& interval : found.timeline[rank]) last = std::max(last, interval.end);
        return last;
    };
    check(busy(5) > 1.5 * busy(0), "the small node waits for the large one's cores");
});

const Test fetched("bytes of ranks on other cores cost more, and so does what is put for them", [] {
    // Three ranks, of which the first and the last share a core.
    CostModel fetches{.intra_node = {}, .inter_node = {}, .fetch = 1};
    fetches.cores_per_node = 2;
    const auto took = [&](const std::string& algorithm, Collective collective, std::size_t rank) {
        const auto call = whole_call(find_algorithm(collective, algorithm),
                                     {.size = 3, .count = 30, .chunk = 30});
        const Price found = price(call.schedules, 1, fetches);
        double sum = 0;
        for (const Interval& step : found.timeline[rank]) sum += step.end - step.start;
        return sum;
    };
    // Puts 30 into its stage, takes 30 from each of those elsewhere.
    check_near(took("one_shot", Collective::all_reduce, 0), 60, "one elsewhere");
    check_near(took("one_shot", Collective::all_reduce, 1), 90, "two elsewhere");
    // Folds a third, 10 of each; and brings it to those elsewhere.
    check_near(took("direct", Collective::all_reduce, 0), 20, "one elsewhere");
    check_near(took("direct", Collective::all_reduce, 1), 40, "two elsewhere");
    // Brings a third of what the first one has to that, and to the others: it fetches that once.
    check_near(took("direct", Collective::broadcast, 1), 10 + 10, "from and to the first core");
    fetches.nodes = {0, 1, 2};
    check_near(seconds(Collective::all_reduce, "ring", {.size = 3, .count = 30}, fetches), 0,
               "messages");
    fetches.nodes = {};
    fetches.cores_per_node = 1;
    check_near(took("one_shot", Collective::all_reduce, 1), 0, "one core");
});

const Test signals("each round of signals costs one, and so does meeting first", [] {
    // Seconds that are easy to tell apart: a signal 1, an element copied 0.01, one folded 0.0001.
    CostModel model{.intra_node = {}, .inter_node = {}, .gamma = 1e-4, .copy = 1e-2, .signal = 1};
    for (const int size : {2, 3, 8}) {
        const std::string what = "size " + std::to_string(size);
        const double others = size - 1;
        const auto check_cost = [&](Collective collective, std::string_view name,
                                    const Request& shared, double expected) {
            check_near(
                seconds(collective, name, shared, model), expected,
                std::string(pycoll::name(collective)) + " " + std::string(name) + ", " + what);
        };
        const Request short_call{.size = size, .count = 24};
        check_cost(Collective::barrier, "one_shot", {.size = size}, 1);
        check_cost(Collective::all_reduce, "one_shot", short_call, 1 + 0.24 + others * 24e-4);
        check_cost(Collective::broadcast, "one_shot", short_call, 1 + 0.48);
        // The ranks meet, fold their share, spread it, and meet.
        check_cost(Collective::all_reduce, "direct", short_call,
                   2 + others * 24 / size * (1e-4 + 1e-2));
        // The ranks meet, put, meet, fold, meet, take. Its own part is copied once, as a result;
        // the others are put and taken.
        const double work = 0.24 * (2 - 1.0 / size) + others * 24 / size * 1e-4;
        check_cost(Collective::all_reduce, "staged", short_call, 3 + work);
        // One more turn, one more round: it is put while the first is folded.
        Request two_turns = short_call;
        two_turns.chunk = static_cast<std::uint64_t>(12 / size);
        const bool are_two = two_turns.chunk * static_cast<std::uint64_t>(size) == 12;
        if (are_two) check_cost(Collective::all_reduce, "staged", two_turns, 4 + work);
        // The ranks meet, hand on what each adds to, meet, take.
        check_cost(Collective::all_reduce, "staged_ring", short_call,
                   1 + size + 0.24 * (1 + 1.0 / size) + others * 24 / size * 1e-4);
        check_cost(Collective::reduce_scatter, "staged_ring", short_call,
                   size + 0.24 + others * 24e-4);
        Request none = short_call;
        none.count = 0;
        check_cost(Collective::all_reduce, "direct", none, 2);
        check_cost(Collective::all_reduce, "staged", none, 1);
    }

    // Ranks that share a core tell each other later, too.
    model.cores_per_node = 2;
    const double apart = seconds(Collective::barrier, "one_shot", {.size = 2}, model);
    const double crowded = seconds(Collective::barrier, "one_shot", {.size = 8}, model);
    check_near(apart, 1, "two ranks on two cores");
    check_near(crowded, 4, "eight ranks on two cores");
    check_near(seconds(Collective::all_reduce, "direct", {.size = 8, .count = 0}, model), 8,
               "meeting first on two cores");
});

const Test no_messages("one-sided steps are no messages", [] {
    const auto call =
        whole_call(find_algorithm(Collective::all_reduce, "one_shot"), {.size = 4, .count = 10});
    const Price found =
        price(call.schedules, 4,
              {.intra_node = {}, .inter_node = {}, .gamma = 1, .copy = 1, .signal = 1});
    check_equal(found.messages, 0U, "messages");
    check_equal(found.total_bytes, 0U, "bytes sent");
    check_equal(found.bytes_folded, 3U * 40U, "bytes folded");
    // The copy, three signals, three waits, the fold.
    const auto& timeline = found.timeline[0];
    check_near(timeline[1].start, 40, "the signal follows the copy");
    check_near(timeline[1].end, 40, "a signal does not wait");
    check_near(timeline[4].end, 41, "a wait ends one signal later");
    check_near(timeline[7].end, 41 + 120, "the fold");
});

const Test timelines("the timeline respects dependencies and ends with the call", [] {
    const WholeCall call = whole_call(find_algorithm(Collective::all_reduce, "double_tree"),
                                      {.size = 7, .count = 1000, .chunk = 100});
    const Price found = price(call.schedules, 4, cluster);
    double latest = 0;
    for (std::size_t r = 0; r < call.schedules.size(); ++r) {
        const auto& steps = call.schedules[r].steps;
        for (std::size_t i = 0; i < steps.size(); ++i) {
            latest = std::max(latest, found.timeline[r][i].end);
            for (const std::uint32_t before : steps[i].after) {
                check(found.timeline[r][i].start >= found.timeline[r][before].end,
                      "rank " + std::to_string(r) + " step " + std::to_string(i));
            }
        }
    }
    check_near(found.seconds, latest, "seconds");
});

const Test bad_schedules("price refuses schedules that cannot run", [] {
    WholeCall call =
        whole_call(find_algorithm(Collective::broadcast, "chain"), {.size = 2, .count = 4});
    call.schedules[1].steps.clear();
    check_throws<std::invalid_argument>([&] { (void)price(call.schedules, 4, cluster); },
                                        "never receives it");
});

const Test staging("messages between GPUs go through the hosts, and pieces of them overlap", [] {
    CostModel model = only_alpha;
    model.intra_node.beta = 1e-3;
    model.staging = {.alpha = 10, .beta = 1e-2};
    const auto broadcast = [&](std::uint64_t chunk) {
        return seconds(Collective::broadcast, "chain", {.size = 2, .count = 4000, .chunk = chunk},
                       model);
    };
    // Down, across and up, one after the other.
    check_near(broadcast(0), (10 + 40) + (1 + 4) + (10 + 40), "in one piece");
    // The ways down and up are the slowest: the first piece takes all three, the others follow.
    check_near(broadcast(1000), 4 * (10 + 10) + (1 + 1) + (10 + 10), "in four pieces");
});

const Test launches("copies and folds on a GPU have to be launched", [] {
    CostModel model;
    model.copy = 1e-3;
    model.launch = 5;
    check_near(seconds(Collective::all_gather, "ring", {.size = 1, .count = 100}, model), 5 + 0.1,
               "a copy");
});

const Test window("as many messages are under way as keep every way busy", [] {
    CostModel model = only_alpha;
    check_equal(pipeline_depth(1000, model), 2U, "one way");
    model.staging = {.alpha = 1};
    check_equal(pipeline_depth(1000, model), 4U, "three ways that take as long");
    model.launch = 1;
    check_equal(pipeline_depth(1000, model), 5U, "and a fold");
    model.intra_node.alpha = 100;
    check_equal(pipeline_depth(1000, model), 3U, "one that takes much longer");
});

}  // namespace
}  // namespace pycoll::test::price_times
