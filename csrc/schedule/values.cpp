#include "schedule/values.hpp"

#include <algorithm>

namespace pycoll {

Values::Values(std::uint64_t size) {
    if (size == 0) return;
    begins_.push_back(0);
    runs_.push_back({.count = size});
}

std::size_t Values::find(std::uint64_t offset) const {
    const auto next = std::ranges::upper_bound(begins_, offset);
    return static_cast<std::size_t>(next - begins_.begin()) - 1;
}

void Values::read(std::uint64_t offset, std::uint64_t count, std::vector<Run>& runs) const {
    if (count == 0) return;
    std::size_t i = find(offset);
    std::uint64_t skip = offset - begins_[i];
    while (count > 0) {
        Run run = runs_[i++].after(skip);
        run.count = std::min(run.count, count);
        count -= run.count;
        skip = 0;
        runs.push_back(run);
    }
}

void Values::append(const Run& run) {
    if (!fresh_.empty() && fresh_.back().continued_by(run)) {
        fresh_.back().count += run.count;
    } else {
        fresh_.push_back(run);
    }
}

void Values::write(std::uint64_t offset, std::span<const Run> runs) {
    std::uint64_t count = 0;
    for (const Run& run : runs) count += run.count;
    if (count == 0) return;

    // Replace all runs that the slice touches, and its neighbours, which may join with it.
    std::size_t first = find(offset);
    std::size_t last = find(offset + count - 1);
    fresh_.clear();
    const std::uint64_t kept_before = offset - begins_[first];
    const std::uint64_t begin = first > 0 ? begins_[first - 1] : 0;
    if (first > 0) append(runs_[first - 1]);
    if (kept_before > 0) {
        append({kept_before, runs_[first].expression, runs_[first].index});
    }
    for (const Run& run : runs) append(run);
    if (const std::uint64_t kept_after = end(last) - (offset + count); kept_after > 0) {
        append(runs_[last].after(runs_[last].count - kept_after));
    }
    if (last + 1 < runs_.size()) append(runs_[++last]);
    if (first > 0) --first;

    const std::size_t old = last - first + 1;
    const auto at = static_cast<std::ptrdiff_t>(first);
    if (fresh_.size() > old) {
        runs_.insert(runs_.begin() + at, fresh_.size() - old, {});
        begins_.insert(begins_.begin() + at, fresh_.size() - old, 0);
    } else {
        const auto gone = static_cast<std::ptrdiff_t>(old - fresh_.size());
        runs_.erase(runs_.begin() + at, runs_.begin() + at + gone);
        begins_.erase(begins_.begin() + at, begins_.begin() + at + gone);
    }
    std::uint64_t position = begin;
    for (std::size_t i = 0; i < fresh_.size(); ++i) {
        runs_[first + i] = fresh_[i];
        begins_[first + i] = position;
        position += fresh_[i].count;
    }
}

}  // namespace pycoll
