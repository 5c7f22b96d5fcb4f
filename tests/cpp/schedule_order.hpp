#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <valarray>
#include <vector>

#include "schedule/request.hpp"
#include "schedule/schedule.hpp"

namespace pycoll::test {

/// Which steps of all ranks come before which, by dependencies and by signals and their waits: the
/// plain transitive closure. Messages are left out: they order nothing in the memory of peers.
class Order {
public:
    explicit Order(const std::vector<Schedule>& schedules);

    /// All steps of all ranks are numbered through.
    [[nodiscard]] std::size_t number(std::size_t rank, std::size_t step) const {
        return first_[rank] + step;
    }
    [[nodiscard]] bool before(std::size_t a, std::size_t b) const {
        return ((reaches_[a][b / 64] >> (b % 64)) & 1) != 0;
    }

private:
    void add(std::size_t before, std::size_t after) {
        reaches_[before][after / 64] |= std::uint64_t{1} << (after % 64);
    }
    void add_signals(const std::vector<Schedule>& schedules, std::size_t from, std::size_t to);

    std::vector<std::size_t> first_;
    std::vector<std::valarray<std::uint64_t>> reaches_;
};

/// What a step does with some memory, which goes by its real name.
struct Access {
    std::size_t number;
    Slice memory;
    bool writes;
    std::size_t rank;
    std::size_t step;
};

/// All accesses of all ranks.
[[nodiscard]] std::vector<Access> accesses(const Order& order, const std::vector<Request>& requests,
                                           const std::vector<Schedule>& schedules);

/// Two accesses to the same memory in no fixed order, at least one of them writing.
[[nodiscard]] std::optional<std::string> find_race(const Order& order,
                                                   const std::vector<Access>& accesses);

}  // namespace pycoll::test
