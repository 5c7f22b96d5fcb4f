#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pycoll {

enum class Collective : std::uint8_t {
    all_reduce,
    reduce,
    broadcast,
    reduce_scatter,
    all_gather,
    gather,
    scatter,
    all_to_all,
    barrier,
};

inline constexpr std::array<std::string_view, 9> collective_names = {
    "all_reduce", "reduce",  "broadcast",  "reduce_scatter", "all_gather",
    "gather",     "scatter", "all_to_all", "barrier",
};

[[nodiscard]] constexpr std::string_view name(Collective collective) {
    return collective_names[static_cast<std::size_t>(collective)];
}

[[nodiscard]] constexpr std::optional<Collective> parse_collective(std::string_view text) {
    for (std::size_t i = 0; i < collective_names.size(); ++i) {
        if (collective_names[i] == text) return static_cast<Collective>(i);
    }
    return std::nullopt;
}

/// Does the collective fold contributions of several ranks into one?
[[nodiscard]] constexpr bool reduces(Collective collective) {
    return collective == Collective::all_reduce || collective == Collective::reduce ||
           collective == Collective::reduce_scatter;
}

/// Does one rank play a special part?
[[nodiscard]] constexpr bool rooted(Collective collective) {
    return collective == Collective::reduce || collective == Collective::broadcast ||
           collective == Collective::gather || collective == Collective::scatter;
}

}  // namespace pycoll
