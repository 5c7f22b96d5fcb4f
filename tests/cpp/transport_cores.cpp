// Where ranks were last seen.

#include <sched.h>

#include <memory>
#include <thread>
#include <vector>

#include "check.hpp"
#include "engine_ranks.hpp"
#include "transport/shared/cores.hpp"

namespace pycoll::test::transport_cores {
namespace {

/// The cores that this program may use.
std::vector<int> usable_cores() {
    cpu_set_t set;
    check(sched_getaffinity(0, sizeof(set), &set) == 0, "no affinity");
    std::vector<int> cores;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
    return cores;
}

/// Has a rank look where it is, on that core.
void look_on(int core, LastCores& rank) {
    bool is_there = false;
    std::thread([&] {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(core, &set);
        is_there = sched_setaffinity(0, sizeof(set), &set) == 0;
        rank.look();
    }).join();
    check(is_there, "cannot go to a core");
}

const Test seen("cores: ranks know who was on another core, and how many on theirs", [] {
    constexpr int size = 3;
    const std::vector<int> cores = usable_cores();
    const std::shared_ptr<std::byte> memory = node_memory(size);
    std::vector<LastCores> ranks;
    for (int rank = 0; rank < size; ++rank) ranks.emplace_back(memory.get(), rank, size);

    look_on(cores.front(), ranks[0]);
    check(!ranks[0].is_elsewhere(1), "nobody knows where rank 1 is");
    check_equal(ranks[0].here(), 1);

    look_on(cores.front(), ranks[1]);
    check(!ranks[0].is_elsewhere(1), "rank 1 is on the same core");
    check_equal(ranks[0].here(), 2);

    // Elsewhere there is only one core to be had.
    if (cores.size() < 2) return;
    look_on(cores.back(), ranks[2]);
    check(ranks[0].is_elsewhere(2), "rank 2 is on another core");
    check(ranks[2].is_elsewhere(0), "and rank 0, as rank 2 sees it");
    check_equal(ranks[0].here(), 2);
    check_equal(ranks[2].here(), 1);

    look_on(cores.back(), ranks[1]);
    check(ranks[0].is_elsewhere(1), "rank 1 has gone to another core");
    check_equal(ranks[2].here(), 2);
});

const Test bytes("cores: whole cache lines", [] {
    check_equal(LastCores::bytes(1), std::size_t{64});
    check_equal(LastCores::bytes(16), std::size_t{64});
    check_equal(LastCores::bytes(17), std::size_t{128});
});

}  // namespace
}  // namespace pycoll::test::transport_cores
