// Which algorithm and chunk length a call gets: the same on every rank.

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "check.hpp"
#include "engine/choose.hpp"

namespace pycoll::test::engine_choose {
namespace {

const CostModel model{
    .intra_node = {1.5e-6, 2e-10}, .inter_node = {15e-6, 4e-10}, .gamma = 1e-10, .copy = 1e-10};

bool is_block_wise(Collective collective) {
    return collective != Collective::all_reduce && collective != Collective::reduce &&
           collective != Collective::broadcast && collective != Collective::barrier;
}

const Test all_alike("choose: ranks that know different things choose alike", [] {
    std::mt19937_64 random(1);
    for (int round = 0; round < 90; ++round) {
        Request request{.collective = static_cast<Collective>(round % collective_names.size()),
                        .size = 1 + static_cast<int>(random() % 10),
                        .count = random() % (std::uint64_t{1} << (random() % 24))};
        if (request.collective == Collective::barrier) request.count = 0;
        const bool with_counts = is_block_wise(request.collective) && random() % 2 == 0;
        const bool to_all = request.collective == Collective::all_to_all;
        const auto draw_counts = [&] {
            std::vector<std::uint64_t> counts(static_cast<std::size_t>(request.size));
            for (std::uint64_t& count : counts) count = random() % 1000;
            return counts;
        };
        if (with_counts) request.counts = draw_counts();
        request.root = static_cast<int>(random() % static_cast<unsigned>(request.size));
        const auto choice_of = [&](int rank) {
            Request own = request;
            own.rank = rank;
            own.in_place = random() % 2 == 0;
            if (to_all && with_counts) {
                own.counts = draw_counts();
                own.recv_counts = draw_counts();
            }
            return choose(own, 4, model, "auto", 0, Reach::messages);
        };
        const Choice first = choice_of(0);
        for (int rank = 1; rank < request.size; ++rank) {
            const Choice choice = choice_of(rank);
            check(choice.algorithm == first.algorithm && choice.chunk == first.chunk,
                  std::string(name(request.collective)) + ": ranks disagree");
        }
        check(!with_counts || first.algorithm->takes_counts, "does not take counts");
    }
});

const Test by_length(
    "choose: few messages for short vectors, few bytes and chunks for long ones", [] {
        const auto chosen = [](std::uint64_t bytes) {
            return choose({.collective = Collective::all_reduce, .size = 8, .count = bytes / 4}, 4,
                          model, "auto", 0, Reach::messages);
        };
        check_equal(chosen(8).algorithm->name, "recursive_doubling");
        check_equal(chosen(8).chunk, std::uint64_t{0});
        for (const std::uint64_t bytes : {std::uint64_t{16} << 20, std::uint64_t{8} << 30}) {
            const Choice choice = chosen(bytes);
            check(choice.algorithm->name == "ring" || choice.algorithm->name == "rabenseifner",
                  "got " + std::string(choice.algorithm->name));
            check(choice.chunk > 0 && choice.chunk * 4 <= std::uint64_t{1} << 20, "no such chunks");
        }
    });

const Test extrapolated("choose: a long call is predicted from two short ones, within 10%", [] {
    for (const std::string_view name : {"ring", "double_tree"}) {
        const Request shared{
            .collective = Collective::all_reduce, .size = 6, .count = std::uint64_t{16} << 20};
        for (const Candidate& candidate : candidates(shared, 4, model, Reach::messages)) {
            if (candidate.choice.algorithm->name != name) continue;
            std::vector<Schedule> schedules;
            Request request = shared;
            request.chunk = candidate.choice.chunk;
            for (request.rank = 0; request.rank < request.size; ++request.rank) {
                schedules.push_back(candidate.choice.algorithm->build(request));
            }
            const double walked = price(schedules, 4, model).seconds;
            check(std::abs(candidate.seconds - walked) < 0.1 * walked,
                  std::string(name) + ": " + std::to_string(candidate.seconds) + " instead of " +
                      std::to_string(walked));
        }
    }
});

const Test many_ranks("choose: more ranks than can be priced go by a rule of thumb", [] {
    struct Expected {
        Collective collective;
        std::string_view for_short, for_long;
    };
    constexpr std::array all = {
        Expected{Collective::all_reduce, "recursive_doubling", "rabenseifner"},
        Expected{Collective::reduce, "binomial", "binary_tree"},
        Expected{Collective::broadcast, "binomial", "scatter_all_gather"},
        Expected{Collective::reduce_scatter, "ring", "ring"},
        Expected{Collective::all_gather, "bruck", "ring"},
        Expected{Collective::gather, "binomial", "linear"},
        Expected{Collective::scatter, "binomial", "linear"},
        Expected{Collective::all_to_all, "bruck", "pairwise"},
        Expected{Collective::barrier, "dissemination", "dissemination"},
    };
    for (const Expected& expected : all) {
        const auto best = [&](std::uint64_t count) {
            return candidates({.collective = expected.collective, .size = 1000, .count = count}, 4,
                              model, Reach::messages)
                .front();
        };
        check_equal(best(10).choice.algorithm->name, expected.for_short);
        check_equal(best(1 << 20).choice.algorithm->name, expected.for_long);
        check(std::isnan(best(10).seconds), "nobody walked through 1000 ranks");
        check_equal(best(1 << 20).choice.chunk,
                    std::uint64_t{best(1 << 20).choice.algorithm->pipelined ? 16U << 10 : 0U},
                    "elements of 64 KiB");
    }
});

const Test several_nodes("choose: several nodes go by their layout, however many ranks", [] {
    CostModel far = model;
    far.signal = 1e-6;
    Request request{.collective = Collective::all_gather, .size = 8, .count = 1 << 14};
    request.nodes = far.nodes = {0, 0, 0, 1, 1, 1, 1, 1};
    check_equal(choose(request, 4, far, "auto", 0, Reach::stages).algorithm->name, "hierarchical");
    // Where messages between nodes cost no more than others, shared memory is not worth its turns.
    far.inter_node = far.intra_node = {.alpha = 0, .beta = 1e-15};
    check(choose(request, 4, far, "auto", 0, Reach::stages).algorithm->reach == Reach::messages,
          "messages that cost nothing are cheaper");

    request.size = 100;
    request.nodes.assign(100, 0);
    std::fill(request.nodes.begin() + 30, request.nodes.end(), 1);
    far.nodes = request.nodes;
    for (std::size_t i = 0; i < collective_names.size(); ++i) {
        request.collective = static_cast<Collective>(i);
        request.count = request.collective == Collective::barrier ? 0 : 1 << 14;
        check_equal(candidates(request, 4, far, Reach::stages).front().choice.algorithm->name,
                    "hierarchical");
    }

    // Ranks alone on their nodes have nobody to share with.
    for (std::size_t rank = 0; rank < request.nodes.size(); ++rank) {
        request.nodes[rank] = static_cast<int>(rank);
    }
    far.nodes = request.nodes;
    request.collective = Collective::all_reduce;
    request.count = 1 << 14;
    check_equal(candidates(request, 4, far, Reach::stages).front().choice.algorithm->name,
                "rabenseifner");
});

const Test by_name("choose: an algorithm and a chunk length may be given", [] {
    const Request request{.collective = Collective::all_reduce, .size = 4, .count = 1 << 20};
    Choice choice = choose(request, 4, model, "double_tree", 0, Reach::messages);
    check_equal(choice.algorithm->name, "double_tree");
    check(choice.chunk > 0, "not cut");
    check_equal(choose(request, 4, model, "double_tree", 4000, Reach::messages).chunk,
                std::uint64_t{1000});
    check_equal(choose(request, 4, model, "double_tree", 3, Reach::messages).chunk,
                std::uint64_t{1});
    choice = choose({.collective = Collective::barrier, .size = 4}, 1, model, "dissemination", 7,
                    Reach::messages);
    check_equal(choice.chunk, std::uint64_t{0}, "nothing to cut");
});

const Test by_the_kernel(
    "what the kernel copies is chosen for plain arrays, where that is cheap", [] {
        CostModel costs = model;
        costs.signal = 1e-6;
        costs.intra_node.alpha = 1;  // no messages
        const Request request{.collective = Collective::all_to_all, .size = 2, .count = 1 << 20};
        const auto chosen = [&](Reach reach) {
            return choose(request, 1, costs, "auto", 0, reach);
        };
        costs.cma = {.alpha = 1e-6, .beta = 1e-11};
        check_equal(chosen(Reach::arrays).algorithm->name, "direct");
        check_equal(chosen(Reach::stages).algorithm->name, "staged");
        costs.cma = {.alpha = 1e-3, .beta = 1e-11};
        check_equal(chosen(Reach::arrays).algorithm->name, "staged");
        check_equal(chosen(Reach::mapped).algorithm->name, "direct",
                    "the kernel has no part in it");
        const Request folded{.collective = Collective::all_reduce, .size = 2, .count = 1 << 20};
        const auto chunk = [&](Reach reach) {
            return choose(folded, 1, costs, "direct", 0, reach).chunk;
        };
        check(chunk(Reach::arrays) > chunk(Reach::mapped), "longer chunks, as each costs a call");
        const Request longer{.collective = Collective::all_to_all, .size = 8, .count = 1 << 20};
        costs.cma = {.alpha = 1e-9, .beta = 1e-13};
        check_equal(choose(longer, 1, costs, "auto", 0, Reach::arrays).algorithm->name, "staged",
                    "what leaves the caches goes past them from a stage");
        costs.cma = {.alpha = 1e-3, .beta = 1e-11};
        check_equal(within(costs, Reach::mapped).cma.alpha, 0.0);
        check_equal(within(costs, Reach::arrays).cma.alpha, 1e-3);
    });

const Test by_reach(
    "choose: the more ranks see of each other, the more they do without messages", [] {
        CostModel shared = model;
        shared.signal = 1e-6;
        const auto chosen = [&](std::uint64_t bytes, Reach reach) {
            return choose({.collective = Collective::all_reduce, .size = 8, .count = bytes / 4}, 4,
                          shared, "auto", 0, reach)
                .algorithm->name;
        };
        const std::uint64_t long_call = 8 << 20;
        check_equal(chosen(8, Reach::messages), "recursive_doubling");
        check_equal(chosen(8, Reach::stages), "one_shot");
        check_equal(chosen(8, Reach::mapped), "one_shot");
        check_equal(chosen(1 << 20, Reach::stages), "staged_ring");
        check_equal(chosen(long_call, Reach::stages), "staged_ring");
        check_equal(chosen(long_call, Reach::mapped), "direct");
    });

/// How much faster direct algorithms have to be, as far as is found out by signals that cost more
/// and more.
void check_least_gain(Collective collective, std::uint64_t count, double least) {
    bool close = false;
    bool far = false;
    for (double signal = 1e-8; signal < 1e-4; signal *= 1.02) {
        CostModel shared = model;
        shared.signal = signal;
        shared.intra_node.alpha = 1;  // no messages
        const std::vector<Candidate> all = candidates(
            {.collective = collective, .size = 8, .count = count}, 4, shared, Reach::mapped);
        const auto seconds = [&](std::string_view name) {
            return std::ranges::find_if(all,
                                        [&](const Candidate& candidate) {
                                            return candidate.choice.algorithm->name == name;
                                        })
                ->seconds;
        };
        const double gain = seconds("one_shot") / seconds("direct");
        if (gain < 1) break;
        check_equal(all.front().choice.algorithm->name, gain < least ? "one_shot" : "direct");
        close = close || gain < 1.5;
        far = far || gain > 1.5;
    }
    check(close && far, "nothing was weighed");
}

const Test not_for_a_little(
    "choose: ranks meet to see where arrays are for a gain that is worth a round of signals", [] {
        check_least_gain(Collective::all_reduce, 2 << 10, 1.5);
        check_least_gain(Collective::reduce, 8 << 10, 1.5);
    });

const Test most_are_registered(
    "choose: arrays that are registered if they are NumPy's are worth any gain", [] {
        check_least_gain(Collective::all_reduce, 8 << 10, 1);
        check_least_gain(Collective::reduce_scatter, 4 << 10, 1);
        check_least_gain(Collective::all_to_all, 1 << 10, 1);
        // Not the part that each rank gets.
        check_least_gain(Collective::reduce_scatter, 1 << 10, 1.5);
        // Just too short.
        check_least_gain(Collective::all_reduce, (4 << 10) - 1, 1.5);
        check_least_gain(Collective::all_reduce, (2 << 10) + 1, 1.5);
    });

const Test no_long_slots("choose: what outgrows its slots in the cache goes in turns", [] {
    for (const Reach reach : {Reach::stages, Reach::arrays, Reach::mapped}) {
        for (const Candidate& candidate :
             candidates({.collective = Collective::all_reduce, .size = 2, .count = 16 << 10}, 4,
                        model, reach)) {
            check(candidate.choice.algorithm->name != "one_shot", "64 KiB in slots");
        }
    }
});

const Test rings("choose: partial sums go round in stages", [] {
    const auto chosen = [&](std::uint64_t bytes, int size, Collective collective) {
        return choose({.collective = collective, .size = size, .count = bytes / 4}, 4, model,
                      "auto", 0, Reach::stages)
            .algorithm->name;
    };
    check_equal(chosen(2 << 20, 8, Collective::reduce), "staged_ring");
    for (const int size : {2, 8}) {
        for (const std::uint64_t bytes : {64 << 10, 2 << 20, 64 << 20}) {
            check_equal(chosen(bytes, size, Collective::all_reduce), "staged_ring");
        }
    }
});

const Test turns("choose: the turns of a staged call are long where signals cost much", [] {
    const Request request{
        .collective = Collective::broadcast, .size = 8, .count = std::uint64_t{16} << 20};
    const auto chunk_with = [&](double signal) {
        CostModel shared = model;
        shared.signal = signal;
        return choose(request, 1, shared, "staged", 0, Reach::stages).chunk;
    };
    check_equal(chunk_with(0), std::uint64_t{64} << 10, "free signals");
    check_equal(chunk_with(1e-3), std::uint64_t{1} << 20, "half of the stage");
});

const Test wishes("choose: a wish takes the place of auto where it can serve the call", [] {
    const auto chosen = [&](std::uint64_t count, std::string_view name, std::string_view wish) {
        return choose({.collective = Collective::all_reduce, .size = 4, .count = count}, 4, model,
                      name, 0, Reach::stages, wish)
            .algorithm->name;
    };
    check_equal(chosen(1, "auto", "ring"), "ring");
    check_equal(chosen(1, "auto", "direct"), "staged");
    check(chosen(1 << 20, "auto", "one_shot") != "one_shot", "it is too long for that");
    check_equal(chosen(1, "binomial", "ring"), "binomial", "the call has its own");
    check_throws<std::invalid_argument>([&] { (void)chosen(1, "auto", "telepathy"); },
                                        "'telepathy'");
});

const Test refusals("choose: what cannot be done is refused, with what can", [] {
    const Request request{.collective = Collective::all_gather, .size = 3, .count = 1};
    for (const std::string_view known : {"'telepathy'", "there are: ", "ring", "bruck"}) {
        check_throws<std::invalid_argument>(
            [&] { (void)choose(request, 4, model, "telepathy", 0, Reach::messages); }, known);
    }
    Request counted{.collective = Collective::all_to_all, .size = 2};
    counted.counts = {1, 2};
    counted.recv_counts = {1, 2};
    check_throws<std::invalid_argument>(
        [&] { (void)choose(counted, 4, model, "bruck", 0, Reach::messages); },
        "'bruck' does not take counts; use 'auto'");
    check_equal(choose(counted, 4, model, "auto", 0, Reach::messages).algorithm->name, "pairwise");
    counted.collective = Collective::all_reduce;
    check_throws<std::invalid_argument>(
        [&] { (void)choose(counted, 4, model, "auto", 0, Reach::messages); },
        "all_reduce does not take counts");
});

}  // namespace
}  // namespace pycoll::test::engine_choose
