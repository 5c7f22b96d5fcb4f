#pragma once

#include <span>

#include "schedule/builder.hpp"

namespace pycoll {

/// dst = srcs[0] (+) srcs[1] (+) ..., the contributions of all ranks: the only fold there is.
inline void fold_all(ScheduleBuilder& builder, const Slice& dst, std::span<const Slice> srcs) {
    if (srcs.size() == 1) {
        builder.copy(dst, srcs[0]);
    } else {
        builder.reduce(dst, srcs, ScheduleBuilder::Fold::last);
    }
}

}  // namespace pycoll
