#include "schedule/crowding.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>

namespace pycoll {

Crowding::Crowding(std::size_t ranks, const CostModel& model) : places_(ranks) {
    if (!model.nodes.empty() && model.nodes.size() != ranks) {
        throw std::invalid_argument("the cost model has " + std::to_string(model.nodes.size()) +
                                    " ranks on its nodes, the call " + std::to_string(ranks));
    }
    std::map<int, std::vector<int>> nodes;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
        nodes[model.nodes.empty() ? 0 : model.nodes[rank]].push_back(static_cast<int>(rank));
    }
    for (const auto& [node, members] : nodes) {
        const std::size_t cores =
            model.cores_per_node > 0 ? at(model.cores_per_node) : members.size();
        const double slowdown =
            std::max(1.0, static_cast<double>(members.size()) / static_cast<double>(cores));
        const double waiting = slowdown * (model.signal + (slowdown > 1 ? model.wake : 0));
        for (std::size_t local = 0; local < members.size(); ++local) {
            places_[at(members[local])] = {.node = node,
                                           .first_on_core = members[local % cores],
                                           .slowdown = slowdown,
                                           .has_cores = std::min(cores, members.size()) > 1,
                                           .waiting = members.size() > 1 ? waiting : 0};
        }
    }
}

}  // namespace pycoll
