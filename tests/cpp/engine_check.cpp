// Calls that all ranks show each other by messages before they run (Options::checks_calls): what
// differs is an error on every rank, on whatever nodes, before any of the data is on its way.

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "engine/roll_call.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"
#include "sanitized.hpp"
#include "schedule/verify.hpp"

namespace pycoll::test::engine_check {
namespace {

/// Messages that are late, and two tags: one for all collectives.
constexpr ThreadGroup::Options bad_day = {.max_delay_polls = 4, .tag_count = 2};
constexpr Communicator::Options checking = {.checks_calls = true};

/// Layouts of 5 ranks; without nodes, nobody shares memory.
const std::vector<Nodes> layouts = {{}, {1, 4}, {2, 1, 2}};

const Test proven("check: a roll call is an all-gather", [] {
    for (const int size : {2, 3, 8, 33}) {
        std::vector<Request> requests;
        std::vector<Schedule> schedules;
        for (int rank = 0; rank < size; ++rank) {
            requests.push_back({.collective = Collective::all_gather,
                                .rank = rank,
                                .size = size,
                                .count = 8,
                                .in_place = true});
            schedules.push_back(roll_call(rank, size, 8));
        }
        check_equal(verify(requests, schedules).value_or(""), std::string());
    }
});

const Test right("check: calls that match, several under way, come to the right results", [] {
    using enum Collective;
    for (const Nodes& nodes : layouts) {
        const Ranks ranks(5, {.max_delay_polls = 4}, checking, nodes);
        on_ranks(5, [&](int rank) {
            std::vector<std::shared_ptr<SampleCall>> samples;
            std::vector<Work> works;
            for (const Collective collective :
                 {all_reduce, barrier, all_to_all, broadcast, all_gather, reduce, all_to_all}) {
                const bool with_counts = collective == all_to_all && works.size() > 3;
                samples.push_back(std::make_shared<SampleCall>(
                    SampleCall::Shape{.collective = collective,
                                      .size = 5,
                                      .count = collective == barrier ? 0U : 70U,
                                      .with_counts = with_counts},
                    rank));
                works.push_back(ranks[rank].start(samples.back()->call(), samples.back()));
            }
            for (std::size_t i = 0; i < works.size(); ++i) {
                works[i].wait();
                samples[i]->check();
            }
        });
    }
});

struct Arrays {
    std::array<float, 400> input{};
    std::array<float, 400> output{};
};

/// Runs a call over arrays that are long enough and outlive what fails.
void run(Communicator& communicator, Call call) {
    const auto arrays = std::make_shared<Arrays>();
    call.input = arrays->input.data();
    call.output = arrays->output.data();
    communicator.run(call, arrays);
}

Call sum_of(std::uint64_t count) {
    return {.collective = Collective::all_reduce, .dtype = DType::f32, .count = count};
}

const Test differ("check: every rank hears of the one that differs, and sends no data", [] {
    for (const Nodes& nodes : layouts) {
        for (int odd = 0; odd < 5; odd += is_sanitized ? 4 : 1) {
            const Ranks ranks(5, bad_day, checking, nodes);
            on_ranks(5, [&](int rank) {
                run(ranks[rank], {});
                run(ranks[rank], sum_of(3));
                const std::uint64_t before = ranks[rank].sent_bytes();
                check_throws<CollectiveError>(
                    [&] { run(ranks[rank], sum_of(rank == odd ? 200 : 100)); },
                    "rank " + std::to_string(odd) + " called all_reduce(float32, " +
                        (odd == rank ? "200, sum); all ranks must make the same calls"
                                     : "200, sum) as call 3, rank " + std::to_string(rank) +
                                           " called all_reduce(float32, 100, sum);"));
                check_equal(ranks[rank].sent_bytes() - before, std::uint64_t{4 * 64});
            });
        }
    }
});

const Test misfit("check: counts of an all_to_all that do not fit are named alike everywhere", [] {
    for (const Nodes& nodes : {Nodes{}, Nodes{1, 4}, Nodes{5}}) {
        // On one node nobody has to ask for it.
        const Communicator::Options options = {.checks_calls = nodes.size() != 1};
        const Ranks ranks(5, bad_day, options, nodes);
        on_ranks(5, [&](int rank) {
            Call call = {
                .collective = Collective::all_to_all,
                .dtype = DType::f32,
                .counts = {1, 2, 3, 4, 5},
                .recv_counts = std::vector<std::uint64_t>(5, static_cast<std::uint64_t>(rank) + 1)};
            run(ranks[rank], call);
            // As much in all, but elsewhere.
            if (rank == 3) call.counts = {1, 3, 2, 4, 5};
            check_throws<CollectiveError>([&] { run(ranks[rank], call); },
                                          "rank 3 called all_to_all(float32, 3 for rank 1) as call "
                                          "2, rank 1 called all_to_all(float32, 2 from rank 3);");
        });
    }
});

const Test missing("check: all that are missing are named, with their last call", [] {
    // Long enough for those that come.
    const Communicator::Options options = {.timeout = std::chrono::milliseconds(1000),
                                           .checks_calls = true};
    for (const Nodes& nodes : layouts) {
        const Ranks ranks(5, {}, options, nodes);
        on_ranks(5, [&](int rank) {
            run(ranks[rank], sum_of(3));
            if (rank == 1 || rank == 4) return;
            check_throws<TimeoutError>([&] { run(ranks[rank], {}); },
                                       "waiting for rank 1 (last seen in call 1, "
                                       "all_reduce(float32, 3, sum)), rank 4 (last seen in call 1");
        });
    }
});

}  // namespace
}  // namespace pycoll::test::engine_check
