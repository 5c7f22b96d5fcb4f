#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "algorithms_call.hpp"
#include "check.hpp"
#include "schedule/price.hpp"

namespace pycoll::test::price_traffic {
namespace {

using Number = std::uint64_t;

Number log2_up(Number p) { return std::bit_width(p - 1); }

Price traffic(Collective collective, std::string_view name, int size, Number count, int root = 0) {
    const Algorithm& algorithm = find_algorithm(collective, name);
    return price(whole_call(algorithm, {.size = size, .count = count, .root = root}).schedules, 4,
                 {});
}

/// What a paper says that the busiest rank sends and folds, in messages and elements.
void check_busiest(Collective collective, std::string_view name, int size, Number count,
                   Number messages, Number sent, Number folded) {
    const Price found = traffic(collective, name, size, count);
    const std::string what = std::string(pycoll::name(collective)) + " " + std::string(name) +
                             ", size " + std::to_string(size);
    check_equal(found.messages, messages, what + ", messages");
    check_equal(found.bytes_sent, 4 * sent, what + ", bytes sent");
    check_equal(found.bytes_folded, 4 * folded, what + ", bytes folded");
}

void check_total(Collective collective, std::string_view name, int size, Number count,
                 Number elements, int root = 0) {
    check_equal(traffic(collective, name, size, count, root).total_bytes, 4 * elements,
                std::string(pycoll::name(collective)) + " " + std::string(name) + ", size " +
                    std::to_string(size) + ", root " + std::to_string(root) + ", total bytes");
}

const Test any_size("traffic equals the formulas for any number of ranks", [] {
    for (int size = 2; size <= 20; ++size) {
        const auto p = static_cast<Number>(size);
        const Number log = log2_up(p);
        const Number block = 6;
        const Number whole = p * block;
        const Number others = (p - 1) * block;
        check_busiest(Collective::all_reduce, "ring", size, whole, 2 * (p - 1), 2 * others, others);
        check_busiest(Collective::reduce_scatter, "ring", size, block, p - 1, others, others);
        check_busiest(Collective::reduce_scatter, "pairwise", size, block, p - 1, others, others);
        check_busiest(Collective::all_gather, "ring", size, block, p - 1, others, 0);
        check_busiest(Collective::all_gather, "bruck", size, block, log, others, 0);
        check_busiest(Collective::all_to_all, "pairwise", size, block, p - 1, others, 0);
        // Block i takes a hop for every binary digit of i.
        Number hops = 0;
        for (Number i = 1; i < p; ++i) hops += static_cast<Number>(std::popcount(i));
        check_busiest(Collective::all_to_all, "bruck", size, block, log, hops * block, 0);
        check_busiest(Collective::barrier, "dissemination", size, 0, log, log, 0);
        // The root of a binomial tree has a child for every bit.
        check_busiest(Collective::broadcast, "binomial", size, whole, log, log * whole, 0);
        check_busiest(Collective::reduce, "binomial", size, whole, 1, whole, log * whole);
        check_busiest(Collective::broadcast, "chain", size, whole, 1, whole, 0);
        check_busiest(Collective::reduce, "chain", size, whole, 1, whole, whole);
        check_busiest(Collective::scatter, "linear", size, block, p - 1, others, 0);
        check_busiest(Collective::gather, "linear", size, block, 1, block, 0);
    }
});

const Test powers_of_two("traffic equals the formulas for powers of two", [] {
    for (int size = 2; size <= 64; size *= 2) {
        const auto p = static_cast<Number>(size);
        const Number log = log2_up(p);
        const Number block = 6;
        const Number whole = p * block;
        const Number others = (p - 1) * block;
        check_busiest(Collective::all_reduce, "rabenseifner", size, whole, 2 * log, 2 * others,
                      others);
        check_busiest(Collective::all_reduce, "recursive_doubling", size, whole, log, log * whole,
                      log * whole);
        check_busiest(Collective::reduce_scatter, "recursive_halving", size, block, log, others,
                      others);
        check_busiest(Collective::all_gather, "recursive_doubling", size, block, log, others, 0);
        check_busiest(Collective::scatter, "binomial", size, block, log, others, 0);
        check_busiest(Collective::gather, "binomial", size, block, 1, whole / 2, 0);
    }
});

const Test trees("every tree sends the vector once per rank, up or down", [] {
    for (int size = 1; size <= 33; ++size) {
        const Number all_but_root = static_cast<Number>(size - 1) * 12;
        for (const int root : {0, size / 2, size - 1}) {
            for (const Algorithm& algorithm : algorithms()) {
                const bool is_tree = algorithm.name.ends_with("tree") ||
                                     algorithm.name == "binomial" || algorithm.name == "chain";
                if (!is_tree) continue;
                if (algorithm.collective == Collective::reduce ||
                    algorithm.collective == Collective::broadcast) {
                    check_total(algorithm.collective, algorithm.name, size, 12, all_but_root, root);
                } else if (algorithm.collective == Collective::all_reduce) {
                    check_total(algorithm.collective, algorithm.name, size, 12, 2 * all_but_root);
                }
            }
        }
    }
});

const Test two_trees("a double tree has nobody send more than the vector per direction", [] {
    for (int size = 2; size <= 64; ++size) {
        check(traffic(Collective::broadcast, "double_tree", size, 100).bytes_sent <= 400,
              "broadcast, size " + std::to_string(size));
        check(traffic(Collective::reduce, "double_tree", size, 100).bytes_sent <= 400,
              "reduce, size " + std::to_string(size));
        check(traffic(Collective::all_reduce, "double_tree", size, 100).bytes_sent <= 800,
              "all_reduce, size " + std::to_string(size));
    }
});

const Test no_double_delivery("scatter and all-gather send nobody what it has", [] {
    for (int size = 1; size <= 33; ++size) {
        // Each rank but the root receives each part just once, and the root nothing.
        const auto p = static_cast<Number>(size);
        Number scattered = 0;
        for (Number v = 1; v < p; ++v) scattered += std::min(v & -v, p - v);
        Number held = p;
        for (Number v = 1; v < p; ++v) held += std::min(v & -v, p - v);
        check_total(Collective::broadcast, "scatter_all_gather", size, p, scattered + p * p - held);
        check_equal(scattered + p * p - held, p * (p - 1), "parts received");
    }
});

const Test extra_ranks("ranks beyond a power of two cost the vector once in and once out", [] {
    const Number whole = 64;
    for (const int size : {3, 5, 6, 7, 9, 12, 17}) {
        const auto power = std::bit_floor(static_cast<Number>(size));
        const Number extra = 2 * (static_cast<Number>(size) - power) * whole;
        check_total(Collective::all_reduce, "rabenseifner", size, whole,
                    2 * (power - 1) * whole + extra);
        check_total(Collective::all_reduce, "recursive_doubling", size, whole,
                    power * log2_up(power) * whole + extra);
    }
});

}  // namespace
}  // namespace pycoll::test::price_traffic
