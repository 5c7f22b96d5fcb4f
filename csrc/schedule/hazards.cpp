#include "schedule/hazards.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

#include "schedule/print.hpp"

namespace pycoll {
namespace {

/// Which steps come before which, through any chain of dependencies.
class Ancestors {
public:
    explicit Ancestors(const Schedule& schedule)
        : words_((schedule.steps.size() + 63) / 64), bits_(words_ * schedule.steps.size()) {
        for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
            std::uint64_t* mine = row(i);
            for (const std::uint32_t before : schedule.steps[i].after) {
                const std::uint64_t* theirs = row(before);
                // Steps depend on earlier ones only, so their row ends at their own number.
                for (std::size_t w = 0; w <= before / 64; ++w) mine[w] |= theirs[w];
                mine[before / 64] |= std::uint64_t{1} << (before % 64);
            }
        }
    }

    [[nodiscard]] bool ordered(std::uint32_t a, std::uint32_t b) const {
        const auto [first, second] = std::minmax(a, b);
        return (bits_[second * words_ + first / 64] >> (first % 64) & 1) != 0;
    }

private:
    std::uint64_t* row(std::uint32_t step) { return bits_.data() + step * words_; }

    std::size_t words_;
    std::vector<std::uint64_t> bits_;
};

struct Access {
    Slice slice;
    std::uint32_t step;
    bool writes;
};

}  // namespace

std::optional<std::string> find_hazard(const Schedule& schedule,
                                       std::span<const Placement> places) {
    std::vector<Access> accesses;
    const auto real = [&](const Slice& slice) {
        // A rank's own memory goes by its real name already.
        if (slice.owner == Slice::own) return slice;
        return places[static_cast<std::size_t>(slice.owner)].real(slice);
    };
    for (std::uint32_t i = 0; i < schedule.steps.size(); ++i) {
        const Step& step = schedule.steps[i];
        for (const Slice& src : step.srcs) accesses.push_back({real(src), i, false});
        if (writes(step.kind)) accesses.push_back({real(step.dst), i, true});
    }
    std::ranges::sort(accesses, {}, [](const Access& access) {
        return std::tuple(access.slice.owner, access.slice.buffer, access.slice.offset);
    });

    const Ancestors ancestors(schedule);
    for (std::size_t i = 0; i < accesses.size(); ++i) {
        for (std::size_t j = i + 1; j < accesses.size(); ++j) {
            const Access& a = accesses[i];
            const Access& b = accesses[j];
            if (!a.slice.overlaps(b.slice)) break;
            if (a.step == b.step) {
                // A step may update a slice in place, but not one that merely overlaps.
                if ((a.writes || b.writes) && a.slice != b.slice) {
                    return "step " + std::to_string(a.step) + " (" +
                           to_string(schedule.steps[a.step]) + ") overwrites what it reads";
                }
                continue;
            }
            if ((a.writes || b.writes) && !ancestors.ordered(a.step, b.step)) {
                const auto [first, second] = std::minmax(a.step, b.step);
                return "steps " + std::to_string(first) + " (" + to_string(schedule.steps[first]) +
                       ") and " + std::to_string(second) + " (" +
                       to_string(schedule.steps[second]) +
                       ") touch the same elements in no fixed order";
            }
        }
    }
    return std::nullopt;
}

}  // namespace pycoll
