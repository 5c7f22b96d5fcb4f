#include "algorithms/algorithms.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "algorithms/families.hpp"

namespace pycoll {
namespace {

std::vector<Algorithm> join() {
    std::vector<Algorithm> all;
    for (const auto family : {
             ring_algorithms(),
             double_tree_algorithms(),
             binary_tree_algorithms(),
             binomial_algorithms(),
             chain_algorithms(),
             recursive_doubling_algorithms(),
             recursive_halving_algorithms(),
             rabenseifner_algorithms(),
             scatter_all_gather_algorithms(),
             bruck_algorithms(),
             pairwise_algorithms(),
             linear_algorithms(),
             dissemination_algorithms(),
             one_shot_algorithms(),
             staged_algorithms(),
             staged_ring_algorithms(),
             direct_algorithms(),
             hierarchical_algorithms(),
             hierarchical_blocks_algorithms(),
         }) {
        all.insert(all.end(), family.begin(), family.end());
    }
    std::ranges::stable_sort(all, {}, &Algorithm::collective);
    return all;
}

}  // namespace

std::span<const Algorithm> algorithms() {
    static const std::vector<Algorithm> all = join();
    return all;
}

const Algorithm& find_algorithm(Collective collective, std::string_view name) {
    std::string known;
    for (const Algorithm& algorithm : algorithms()) {
        if (algorithm.collective != collective) continue;
        if (algorithm.name == name) return algorithm;
        known += (known.empty() ? "" : ", ") + std::string(algorithm.name);
    }
    throw std::invalid_argument(std::string(pycoll::name(collective)) + " has no algorithm '" +
                                std::string(name) + "'; there are: " + known);
}

}  // namespace pycoll
