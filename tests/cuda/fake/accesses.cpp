#include "accesses.hpp"

#include <algorithm>

namespace fake_cuda {
namespace {

bool overlap(const Access& a, const Access& b) {
    return a.begin < b.begin + b.bytes && b.begin < a.begin + a.bytes;
}

bool covers(const Access& outer, const Access& inner) {
    return outer.begin <= inner.begin && inner.begin + inner.bytes <= outer.begin + outer.bytes;
}

}  // namespace

What Accesses::add(const Access& access, Timeline timeline, const Clock& clock, const What& what) {
    What race;
    // What came before, and touched no more than this does, is spoken for by this: whatever races
    // with it races with this one as well, or comes after it.
    std::erase_if(past_, [&](const Past& past) {
        const bool before = past.tick <= clock.at(past.timeline);
        if (!before && overlap(past.access, access) && (past.access.writes || access.writes)) {
            race = past.what;
        }
        return before && covers(access, past.access) && (access.writes || !past.access.writes);
    });
    past_.push_back({access, timeline, clock.at(timeline), what});
    return race;
}

void Accesses::forget(const std::vector<const Clock*>& known_to_all) {
    std::erase_if(past_, [&](const Past& past) {
        return std::ranges::all_of(known_to_all, [&](const Clock* clock) {
            return past.tick <= clock->at(past.timeline);
        });
    });
}

}  // namespace fake_cuda
