#pragma once

#include <vector>

namespace pycoll {

/// Hockney's alpha-beta model of a link, extended by gamma for folding (Thakur, Rabenseifner and
/// Gropp 2005, section 3).
struct Link {
    double alpha = 0;  ///< seconds per message
    double beta = 0;   ///< seconds per byte
};

struct CostModel {
    Link intra_node;
    Link inter_node;
    double gamma = 0;  ///< seconds per byte folded
    double copy = 0;   ///< seconds per byte copied locally
    /// Seconds more per byte of memory that ranks share, and that a rank on another core has used
    /// last: it has to come from that core's caches. Every byte of a message inside a node does so
    /// twice.
    double fetch = 0;
    double signal = 0;  ///< seconds from a signal to the end of the wait for it
    /// Seconds more where ranks outnumber the cores, for each rank of a core: whoever waits for a
    /// signal sleeps, or goes on only when others have had their turn.
    double wake = 0;
    /// More for each copy from or to an array of a peer, where the kernel makes it (CMA); zero
    /// where those arrays are mapped. What a fold takes is copied before.
    Link cma = {};
    /// Do readers take over the lines of stages that they have read (host::take_lines_over)? Then
    /// all that is staged is faster than these costs say.
    bool takes_lines_over = false;
    /// Where the ranks of a node together read and write fewer bytes in a call for what they copy
    /// to their outputs, that is faster through the caches than past them; 0: as usual with such
    /// processors (host::most_cached).
    double cached = 0;
    /// Of a message between the GPU that it is for and the host that sends or receives it: for each
    /// end, which can move one each way while messages are on their way.
    Link staging = {};
    /// Seconds to start a copy or a fold.
    double launch = 0;
    /// The number of each rank's node; empty: all ranks share one node.
    std::vector<int> nodes = {};
    /// Cores per node; ranks that outnumber them take turns. 0: one core each.
    int cores_per_node = 0;

    /// Does the kernel copy from and to the arrays of peers?
    [[nodiscard]] bool has_cma() const { return cma.alpha > 0 || cma.beta > 0; }
};

}  // namespace pycoll
