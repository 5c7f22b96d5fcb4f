#pragma once

#include <cstddef>
#include <vector>

#include "schedule/cost_model.hpp"

namespace pycoll {

/// How the ranks of a call share nodes, and those of each node its cores: in turns, where they
/// outnumber them.
class Crowding {
public:
    /// Throws std::invalid_argument for a model of another number of ranks.
    Crowding(std::size_t ranks, const CostModel& model);

    [[nodiscard]] bool share_node(int a, int b) const {
        return places_[at(a)].node == places_[at(b)].node;
    }
    /// So many times as long does it take a rank to get its turn.
    [[nodiscard]] double slowdown(int rank) const { return places_[at(rank)].slowdown; }
    /// The first of the ranks that share a core with this one.
    [[nodiscard]] int first_on_core(int rank) const { return places_[at(rank)].first_on_core; }
    /// Have the ranks of its node more than one core?
    [[nodiscard]] bool has_cores(int rank) const { return places_[at(rank)].has_cores; }
    /// Seconds from a signal to the end of a rank's wait for it; 0 if nobody could signal it.
    [[nodiscard]] double waiting(int rank) const { return places_[at(rank)].waiting; }

private:
    struct Place {
        int node = 0;
        int first_on_core = 0;
        double slowdown = 1;
        bool has_cores = false;
        double waiting = 0;
    };

    static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

    std::vector<Place> places_;
};

}  // namespace pycoll
