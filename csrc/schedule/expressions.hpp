#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace pycoll {

/// Expressions over the ranks' contributions, each distinct one stored once, so that two elements
/// were computed alike (same operands, same order, same rounding points) exactly when their
/// expression numbers are equal.
class Expressions {
public:
    using Id = std::uint32_t;
    static constexpr Id undefined = 0;

    explicit Expressions(int ranks);

    /// What `rank` put in.
    [[nodiscard]] Id leaf(int rank) const { return static_cast<Id>(rank) + 1; }
    /// The left-to-right fold of at least two `operands` in one step, `finish`ed or not.
    [[nodiscard]] Id fold(std::span<const Id> operands, bool finish);

    /// Is every rank in it?
    [[nodiscard]] bool complete(Id id) const;
    /// Has it been through its last fold?
    [[nodiscard]] bool finished(Id id) const { return finished_[id]; }
    /// Do two expressions share a contribution?
    [[nodiscard]] bool overlap(Id a, Id b) const;

private:
    /// A fold of many operands is a chain of pairs. A pair is open while more operands follow: it
    /// has not been rounded yet, so (a + b) + c in one step is not a + b and then + c.
    enum class Pair : std::uint8_t { open, closed, finished };

    struct Key {
        Id left;
        Id right;
        Pair pair;

        bool operator==(const Key&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Key& key) const {
            const std::uint64_t packed = (std::uint64_t{key.left} << 32 | key.right) * 4 +
                                         static_cast<std::uint64_t>(key.pair);
            // Fibonacci hashing spreads neighbouring numbers over the table.
            return static_cast<std::size_t>(packed * 0x9e3779b97f4a7c15U >> 16);
        }
    };

    [[nodiscard]] Id join(Id left, Id right, Pair pair);
    [[nodiscard]] std::span<const std::uint64_t> contributors(Id id) const {
        return std::span(contributors_).subspan(id * words_, words_);
    }

    int ranks_;
    std::size_t words_;
    /// One bit per rank, `words_` words per expression.
    std::vector<std::uint64_t> contributors_;
    std::vector<bool> finished_;
    std::unordered_map<Key, Id, Hash> joined_;
};

}  // namespace pycoll
