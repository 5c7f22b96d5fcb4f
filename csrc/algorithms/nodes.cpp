#include "algorithms/nodes.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace pycoll {

Nodes::Nodes(const Request& request) {
    std::map<int, std::vector<int>> by_number;
    for (int rank = 0; rank < request.size; ++rank) {
        by_number[request.nodes.empty() ? 0 : request.nodes[at(rank)]].push_back(rank);
    }
    const auto index_in = [](const std::vector<int>& ranks, int rank) {
        return static_cast<int>(std::ranges::find(ranks, rank) - ranks.begin());
    };
    for (auto& [number, ranks] : by_number) {
        const int node = size();
        const int count = static_cast<int>(ranks.size());
        if (const int local = index_in(ranks, request.rank); local < count) {
            own_ = node;
            local_ = local;
        }
        if (const int local = index_in(ranks, request.root); local < count) {
            root_ = node;
            local_root_ = local;
        }
        fewest_ = node == 0 ? count : std::min(fewest_, count);
        most_ = std::max(most_, count);
        nodes_.push_back(std::move(ranks));
    }
}

Schedule phase(const Request& request, std::string_view algorithm) {
    return find_algorithm(request.collective, algorithm).build(request);
}

Schedule on_one_node(Request request) {
    request.nodes.clear();
    return phase(request, "staged");
}

}  // namespace pycoll
