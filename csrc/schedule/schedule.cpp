#include "schedule/schedule.hpp"

#include <algorithm>

namespace pycoll {
namespace {

bool is_visible(const Slice& slice) {
    return slice.owner != Slice::own || slice.buffer == Buffer::stage;
}

}  // namespace

bool is_one_sided(const Step& step) {
    return synchronises(step.kind) || (writes(step.kind) && is_visible(step.dst)) ||
           std::ranges::any_of(step.srcs, is_visible);
}

}  // namespace pycoll
