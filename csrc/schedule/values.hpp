#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/expressions.hpp"

namespace pycoll {

/// Neighbouring elements with the same history: one expression over the contributions at the
/// indices `index`, `index` + 1, ... of the inputs.
struct Run {
    std::uint64_t count = 0;
    Expressions::Id expression = Expressions::undefined;
    std::uint64_t index = 0;

    /// The part without its first `skip` elements.
    [[nodiscard]] Run after(std::uint64_t skip) const {
        return {count - skip, expression, index + skip};
    }
    /// Would `next`, right behind it, go on in the same way?
    [[nodiscard]] bool continued_by(const Run& next) const {
        return next.expression == expression &&
               (expression == Expressions::undefined || next.index == index + count);
    }
};

/// One buffer of abstract values, kept as runs: as many as there are blocks and chunks, however
/// many elements these have.
class Values {
public:
    /// `size` elements that nobody has written.
    explicit Values(std::uint64_t size);

    /// Appends the runs of `count` elements from `offset` on to `runs`.
    void read(std::uint64_t offset, std::uint64_t count, std::vector<Run>& runs) const;
    /// Overwrites the elements from `offset` on.
    void write(std::uint64_t offset, std::span<const Run> runs);

private:
    /// The run that holds the element at `offset`.
    [[nodiscard]] std::size_t find(std::uint64_t offset) const;
    [[nodiscard]] std::uint64_t end(std::size_t run) const {
        return begins_[run] + runs_[run].count;
    }
    void append(const Run& run);

    std::vector<std::uint64_t> begins_;
    std::vector<Run> runs_;
    /// Scratch of write().
    std::vector<Run> fresh_;
};

}  // namespace pycoll
