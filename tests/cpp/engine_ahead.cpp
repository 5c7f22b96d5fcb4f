// Ranks that need nothing of others go ahead of them: up to a number of calls, with the right data,
// and nobody misses that calls do not match.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "engine_pauses.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"
#include "sanitized.hpp"

namespace pycoll::test::engine_ahead {
namespace {

using enum Collective;

/// How often all wait for all when a call is new.
constexpr int first_runs = 2;
constexpr int most_ahead = static_cast<int>(SharedNode::most_ahead);

/// Others may still read what a rank whose call failed has given: it lives as long as the process.
void keep(std::shared_ptr<void> arrays) {
    static std::mutex guard;
    static std::vector<std::shared_ptr<void>> kept;
    const std::scoped_lock lock(guard);
    kept.push_back(std::move(arrays));
}

/// One call that a rank makes again and again, over arrays that outlive what fails.
class Repeated {
public:
    Repeated(Communicator& communicator, Call call) : communicator_(communicator) {
        call.input = arrays_->input.data();
        call.output = arrays_->output.data();
        prepared_ = communicator.prepare(call);
    }

    void operator()() const {
        Caller caller;
        try {
            communicator_.run(prepared_, arrays_->input.data(), arrays_->output.data(), caller);
        } catch (...) {
            keep(arrays_);
            throw;
        }
    }
    void times(int count) const {
        for (int i = 0; i < count; ++i) (*this)();
    }

private:
    class Caller final : public pycoll::Caller {};
    struct Arrays {
        std::array<int, 40'000> input{};
        std::array<int, 40'000> output{};
    };
    Communicator& communicator_;
    std::shared_ptr<Arrays> arrays_ = std::make_shared<Arrays>();
    std::shared_ptr<const PreparedCall> prepared_;
};

Call of(Collective collective, std::uint64_t count, int root = 0) {
    return {.collective = collective,
            .dtype = DType::i32,
            .root = root,
            .count = count,
            .algorithm = "one_shot"};
}

/// What others wait for a rank that never comes: long enough for those that do, sanitized or not.
constexpr auto missing_after = std::chrono::milliseconds(1000);

/// How many calls `rank` gets through after the first ones, when another rank makes no more.
void check_ahead(Call call, int size, int absent, int expected) {
    const Ranks ranks(size, {}, {.timeout = missing_after}, {size});
    on_ranks(size, [&](int rank) {
        const Repeated make(ranks[rank], call);
        make.times(first_runs);
        if (rank == absent) return;
        make.times(expected);
        check_throws<TimeoutError>(make, "waiting for rank " + std::to_string(absent) +
                                             " (last seen in call 2, " +
                                             std::string(name(call.collective)) + "(");
    });
}

const Test limit("ahead: who needs nothing of a rank gets some calls ahead of it, not more", [] {
    check_ahead(of(broadcast, 4), 2, 1, most_ahead);
    check_ahead(of(broadcast, 4, 1), 4, 3, most_ahead);
    check_ahead(of(scatter, 4, 1), 3, 0, most_ahead);
    check_ahead(of(reduce, 4), 2, 0, most_ahead);
    check_ahead(of(gather, 4, 2), 3, 2, most_ahead);
});

const Test needed("ahead: who needs something of a rank waits for it in the same call", [] {
    check_ahead(of(broadcast, 4, 1), 2, 1, 0);
    check_ahead(of(reduce, 4), 2, 1, 0);
    check_ahead({}, 3, 2, 0);
});

const Test long_ones("ahead: calls too long for that wait for all", [] {
    constexpr std::uint64_t most = SharedNode::ahead_bytes / sizeof(int);
    check_ahead(of(broadcast, most), 2, 1, most_ahead);
    check_ahead(of(broadcast, most + 1), 2, 1, 0);
    check_ahead(of(scatter, most / 2), 2, 1, most_ahead);
    check_ahead(of(scatter, most / 2 + 1), 2, 1, 0);
    check_ahead(of(gather, most + 1), 2, 0, 0);
});

const Test others_wait("ahead: calls of other kinds wait for those who are behind", [] {
    for (const bool is_async : {false, true}) {
        const Ranks ranks(2, {}, {.timeout = missing_after}, {2});
        on_ranks(2, [&](int rank) {
            const Repeated make(ranks[rank], of(broadcast, 4));
            make.times(first_runs);
            if (rank == 1) return;
            make.times(3);
            const auto array = std::make_shared<std::array<int, 8>>();
            Call call = of(is_async ? broadcast : all_reduce, 4);
            call.input = call.output = array->data();
            check_throws<TimeoutError>(
                [&] {
                    if (is_async) {
                        ranks[rank].start(call, array).wait();
                    } else {
                        ranks[rank].run(call, array);
                    }
                },
                "waiting for rank 1 (last seen in call 2, ");
        });
    }
});

const Test catches_up("ahead: who has run ahead is caught up with, and may go on", [] {
    constexpr int lead = most_ahead / 2;
    const Ranks ranks(3, {}, {}, {3});
    std::array<std::atomic<int>, 3> made{};
    on_ranks(3, [&](int rank) {
        const Repeated make(ranks[rank], of(broadcast, 4));
        make.times(first_runs);
        for (int i = 0; i < 5 * most_ahead; ++i) {
            // The others come when the root is ahead: as far as it gets again once it had to wait.
            while (rank > 0 && i % lead == 0 && made[0] < i + lead) {
                std::this_thread::yield();
            }
            make();
            ++made[static_cast<std::size_t>(rank)];
        }
    });
    for (const auto& count : made) check_equal(count.load(), 5 * most_ahead);
});

/// Calls of all kinds, with and without roots, each prepared once by every rank.
std::vector<SampleCall::Shape> mixed_calls(int size) {
    std::vector<SampleCall::Shape> all;
    for (const Collective collective : {broadcast, reduce, gather, scatter}) {
        for (int root = 0; root < size; ++root) {
            for (const std::uint64_t count : {0U, 5U, 700U}) {
                all.push_back(
                    {.collective = collective, .size = size, .count = count, .root = root});
            }
        }
    }
    all.push_back(
        {.collective = broadcast, .size = size, .count = 20'000, .algorithm = "one_shot"});
    all.push_back({.collective = broadcast, .size = size, .count = 90'000});
    all.push_back({.collective = reduce, .size = size, .count = 300, .algorithm = "ring"});
    all.back().algorithm = "binomial";
    for (const std::string algorithm : {"one_shot", "staged", "ring"}) {
        all.push_back(
            {.collective = all_reduce, .size = size, .count = 90, .algorithm = algorithm});
    }
    all.push_back({.collective = all_gather, .size = size, .count = 30, .registered = true});
    all.back().algorithm = "direct";
    all.push_back({.collective = barrier, .size = size});
    return all;
}

void run_mixed(int size, int rounds, unsigned seed) {
    const std::vector<SampleCall::Shape> shapes = mixed_calls(size);
    const Ranks ranks(size, {}, {}, {size});
    Pauses pauses(seed);
    on_ranks(size, [&](int rank) {
        const Pauses::Here here(pauses);
        std::vector<std::shared_ptr<const PreparedCall>> prepared;
        for (const SampleCall::Shape& shape : shapes) {
            prepared.push_back(ranks[rank].prepare(SampleCall(shape, rank).call()));
        }
        // The same on all ranks.
        std::mt19937 random(seed);
        class Caller final : public pycoll::Caller {};
        for (int round = 0; round < rounds; ++round) {
            // Often the same one several times, so that ranks get far apart.
            const std::size_t which = random() % shapes.size();
            const int times = 1 + static_cast<int>(random() % (2 * SharedNode::most_ahead));
            std::vector<SampleCall> calls;
            for (int i = 0; i < times; ++i) {
                SampleCall::Shape shape = shapes[which];
                shape.seed = static_cast<int>(random() % 1000);
                calls.emplace_back(shape, rank);
            }
            for (const SampleCall& made : calls) {
                Caller caller;
                ranks[rank].run(prepared[which], made.call().input, made.call().output, caller);
            }
            for (const SampleCall& made : calls) made.check();
        }
    });
}

const Test mixed("ahead: all kinds of calls mixed, with pauses anywhere, get the right data", [] {
    for (const int size : {2, 3, 5}) {
        run_mixed(size, is_sanitized ? 40 : 120, static_cast<unsigned>(size));
    }
});

/// After equal calls, one rank makes another one; all hear of it, whoever it is.
void check_mismatch(const Call& call, const Call& other, int size, int odd_one) {
    constexpr int equal = 5;
    const Ranks ranks(size, {}, {}, {size});
    on_ranks(size, [&](int rank) {
        const Repeated make(ranks[rank], call);
        make.times(equal);
        const std::string what = pycoll::describe(numbered(signature(call, 0), equal + 1)) +
                                 " by all but " + std::to_string(odd_one) + ", rank " +
                                 std::to_string(rank);
        try {
            if (rank == odd_one) Repeated(ranks[rank], other)();
            // Those who need nothing of it may have gone ahead before it came.
            make.times(most_ahead + 1);
        } catch (const CollectiveError& error) {
            const std::string text = error.what();
            const std::string called = "rank " + std::to_string(odd_one) + " called " +
                                       std::string(name(other.collective)) + "(";
            for (const std::string& part :
                 {called, " called " + std::string(name(call.collective)) + "(int32, ",
                  std::string("as call 6")}) {
                check(text.find(part) != std::string::npos,
                      what + ": '" + text + "' is without '" + part + "'");
            }
            check_throws<CollectiveError>(make, "make a new one");
            return;
        }
        fail(what + " heard of nothing", std::source_location::current());
    });
}

const Test mismatch("ahead: a call that does not match is an error on every rank, a little later",
                    [] {
                        const std::vector<int> sizes = {2, 3, is_sanitized ? 4 : 8};
                        for (const int size : sizes) {
                            for (const int odd_one : {0, 1, size - 1}) {
                                for (const Collective collective :
                                     {broadcast, reduce, gather, scatter}) {
                                    const Call call = of(collective, 4);
                                    check_mismatch(call, of(all_reduce, 4), size, odd_one);
                                    check_mismatch(call, of(collective, 5), size, odd_one);
                                    check_mismatch(call, of(collective, 4, 1), size, odd_one);
                                    check_mismatch(call, {}, size, odd_one);
                                }
                            }
                        }
                    });

}  // namespace
}  // namespace pycoll::test::engine_ahead
