// Rabenseifner: a reduce-scatter by recursive vector halving (in round k, partners whose numbers
// differ in bit k split the rest of the vector, so that the longest messages travel the least far),
// then the same rounds backwards as an all-gather, or as a gather to the root for reduce. Ranks
// beyond a power of two hand their part to a neighbour before, and get the result after.
//
// Cost: 2 log2 p alpha + 2(p-1)/p N beta + (p-1)/p N gamma; 2 alpha + 2N beta + N gamma more if p
// is no power of two (for reduce one message, N beta, less).
// Source: Thakur, Rabenseifner and Gropp 2005, Optimization of collective communication operations
// in MPICH, Int. J. High Perform. Comput. Appl. 19(1), section 4.5.
#include <array>
#include <ranges>
#include <vector>

#include "algorithms/families.hpp"
#include "algorithms/hypercube.hpp"
#include "schedule/builder.hpp"

namespace pycoll {
namespace {

using Fold = ScheduleBuilder::Fold;

/// A part of the vector, whatever buffer it is in.
struct Part {
    std::uint64_t offset;
    std::uint64_t count;

    [[nodiscard]] Slice in(Buffer buffer) const { return {buffer, offset, count}; }
};

/// What a node keeps and gives of what it kept before.
struct Round {
    int dimension;
    Part kept;
    Part given;
};

std::vector<Round> halves(const Hypercube& cube, std::uint64_t count) {
    std::vector<Round> rounds;
    Part rest{0, count};
    for (int k = 0; k < cube.dimensions(); ++k) {
        const std::uint64_t lower_count = rest.count - rest.count / 2;
        const Part lower{rest.offset, lower_count};
        const Part upper{rest.offset + lower_count, rest.count - lower_count};
        rest = cube.is_upper(k) ? upper : lower;
        rounds.push_back({k, rest, cube.is_upper(k) ? lower : upper});
    }
    return rounds;
}

/// The reduce-scatter. The sum of a part goes to `sum(part)`.
template <typename Place>
void halve(ScheduleBuilder& builder, const Hypercube& cube, const std::vector<Round>& rounds,
           const Part& whole, const Place& sum) {
    bool summed = false;
    if (cube.is_host()) {
        builder.recv_reduce(cube.guest(), sum(whole), whole.in(Buffer::input));
        summed = true;
    }
    for (const Round& round : rounds) {
        const int partner = cube.neighbour(round.dimension);
        const auto so_far = [&](const Part& part) {
            return summed ? sum(part) : part.in(Buffer::input);
        };
        builder.send(partner, so_far(round.given));
        builder.recv_reduce(partner, sum(round.kept), so_far(round.kept),
                            &round == &rounds.back() ? Fold::last : Fold::partial);
        summed = true;
    }
}

Schedule all_reduce(const Request& request) {
    ScheduleBuilder builder(request);
    const Hypercube cube{VirtualRanks(request)};
    const Part whole{0, request.count};
    const auto output = [](const Part& part) { return part.in(Buffer::output); };
    if (cube.is_guest()) {
        builder.send(cube.host(), whole.in(Buffer::input));
        builder.recv(cube.host(), output(whole));
        return std::move(builder).build();
    }
    if (request.size == 1) builder.copy(output(whole), whole.in(Buffer::input));
    const std::vector<Round> rounds = halves(cube, request.count);
    halve(builder, cube, rounds, whole, output);
    for (const Round& round : rounds | std::views::reverse) {
        builder.send(cube.neighbour(round.dimension), output(round.kept));
        builder.recv(cube.neighbour(round.dimension), output(round.given));
    }
    if (cube.is_host()) builder.send(cube.guest(), output(whole));
    return std::move(builder).build();
}

Schedule reduce(const Request& request) {
    ScheduleBuilder builder(request);
    // The root is virtual rank 0, hence node 0 and never a guest.
    const Hypercube cube{VirtualRanks(request)};
    const Part whole{0, request.count};
    if (cube.is_guest()) {
        builder.send(cube.host(), whole.in(Buffer::input));
        return std::move(builder).build();
    }
    const std::vector<Round> rounds = halves(cube, request.count);
    if (rounds.empty()) {
        builder.copy(whole.in(Buffer::output), whole.in(Buffer::input));
        return std::move(builder).build();
    }
    // The root sums in its output, the others in scratch for as much as they ever keep.
    const Part kept = cube.is_host() ? whole : rounds.front().kept;
    const Slice scratch = builder.scratch(request.is_root() ? 0 : kept.count);
    const auto sum = [&](const Part& part) {
        return request.is_root() ? part.in(Buffer::output)
                                 : scratch.part(part.offset - kept.offset, part.count);
    };
    halve(builder, cube, rounds, whole, sum);
    for (const Round& round : rounds | std::views::reverse) {
        const int partner = cube.neighbour(round.dimension);
        if (cube.is_upper(round.dimension)) {
            builder.send(partner, sum(round.kept));
            break;
        }
        builder.recv(partner, sum(round.given));
    }
    return std::move(builder).build();
}

constexpr std::string_view source = "Thakur, Rabenseifner and Gropp 2005, section 4.5";

constexpr std::array<Algorithm, 2> table = {{
    {.collective = Collective::all_reduce,
     .name = "rabenseifner",
     .cost = "2 log2 p alpha + 2(p-1)/p N beta + (p-1)/p N gamma",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = all_reduce},
    {.collective = Collective::reduce,
     .name = "rabenseifner",
     .cost = "2 log2 p alpha + 2(p-1)/p N beta + (p-1)/p N gamma",
     .source = source,
     .takes_counts = false,
     .pipelined = true,
     .build = reduce},
}};

}  // namespace

std::span<const Algorithm> rabenseifner_algorithms() { return table; }

}  // namespace pycoll
