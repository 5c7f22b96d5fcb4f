#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "check.hpp"
#include "transport/shared/node.hpp"

namespace pycoll::test::transport_stages {
namespace {

struct Range {
    std::size_t begin;
    std::size_t end;
};

/// Enters calls until each part of the stages has been used, and collects the parts of all ranks.
std::vector<Range> all_stages(int ranks, SharedNode::Area area, bool are_short, std::size_t bytes) {
    const std::size_t size = SharedNode::bytes(ranks);
    const auto aligned = [](std::byte* memory) {
        constexpr std::size_t page = 4096;
        return memory + (page - reinterpret_cast<std::uintptr_t>(memory) % page) % page;
    };
    const auto owner = std::make_shared<std::vector<std::byte>>(size + 4096);
    std::byte* const memory = aligned(owner->data());
    SharedNode node({owner, memory}, 0, std::vector<pid_t>(static_cast<std::size_t>(ranks), 1));
    std::vector<Range> found;
    for (std::uint64_t call = 1; call <= NodeSignals::contexts; ++call) {
        node.enter({call});
        const SharedNode::Stages stages = node.stages(area, are_short);
        for (int rank = 0; rank < ranks; ++rank) {
            const auto begin = static_cast<std::size_t>(stages.of(rank) - memory);
            check(begin % NodeSignals::cache_line == 0, "a stage shares a cache line");
            check(begin + bytes <= size, "a stage leaves the memory");
            found.push_back({begin, begin + bytes});
        }
    }
    return found;
}

bool overlap(const Range& a, const Range& b) { return a.begin < b.end && b.begin < a.end; }

const Test apart("stages of all ranks, calls and kinds lie apart", [] {
    using Area = SharedNode::Area;
    for (const int ranks : {1, 2, 3, 8}) {
        const auto count = static_cast<std::size_t>(ranks);
        const auto parts = {
            std::pair{all_stages(ranks, Area::by_turns, true, SharedNode::short_bytes), 2 * count},
            std::pair{all_stages(ranks, Area::ahead, true, SharedNode::short_bytes),
                      NodeSignals::contexts * count},
            std::pair{all_stages(ranks, Area::by_turns, false, SharedNode::slot_bytes), 2 * count},
            std::pair{all_stages(ranks, Area::ahead, false, SharedNode::ahead_bytes),
                      NodeSignals::contexts * count},
            std::pair{all_stages(ranks, Area::after_meeting, false, SharedNode::stage_bytes),
                      count}};
        std::vector<Range> different;
        for (auto [stages, expected] : parts) {
            std::ranges::sort(stages, {}, &Range::begin);
            const auto same = std::ranges::unique(stages, {}, &Range::begin);
            stages.erase(same.begin(), same.end());
            check_equal(stages.size(), expected);
            different.insert(different.end(), stages.begin(), stages.end());
        }
        std::ranges::sort(different, {}, &Range::begin);
        const auto both = std::ranges::adjacent_find(different, overlap);
        check(both == different.end(), "two stages overlap");
    }
});

const Test meeting("there are no short stages for calls in which all ranks meet first", [] {
    const auto stages = all_stages(2, SharedNode::Area::after_meeting, true, 1);
    const auto others = all_stages(2, SharedNode::Area::after_meeting, false, 1);
    check_equal(stages[0].begin, others[0].begin);
    check_equal(stages[1].begin, others[1].begin);
});

}  // namespace
}  // namespace pycoll::test::transport_stages
