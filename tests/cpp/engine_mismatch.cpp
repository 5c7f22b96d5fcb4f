// Calls that do not match, between ranks that share memory: an error on every rank that names both
// calls, and a call that somebody does not make: an error on those who wait that names the missing.
//
// Deadlines here end waits for peers that never answer: a slow machine cannot make them answer.

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "engine_ranks.hpp"
#include "sanitized.hpp"

namespace pycoll::test::engine_mismatch {
namespace {

using std::chrono::milliseconds;

/// Calls over arrays that are long enough for all of them, which outlive what fails.
class Caller {
public:
    explicit Caller(Communicator& communicator) : communicator_(communicator) {}

    void operator()(Call call) const {
        call.input = arrays_->input.data();
        call.output = arrays_->output.data();
        communicator_.run(call, arrays_);
    }

private:
    struct Arrays {
        std::array<double, 800> input{};
        std::array<double, 800> output{};
    };
    Communicator& communicator_;
    std::shared_ptr<Arrays> arrays_ = std::make_shared<Arrays>();
};

/// What most ranks call, what one of them calls, and how errors name the two.
struct Odd {
    std::string name;
    std::vector<Call> most;
    std::vector<Call> one;
    std::string most_text;
    std::string one_text;
};

Call of(Collective collective, std::uint64_t count, int root = 0) {
    return {.collective = collective, .dtype = DType::f32, .root = root, .count = count};
}

Call with(Call call, DType dtype, ReduceOp op = ReduceOp::sum) {
    call.dtype = dtype;
    call.op = op;
    return call;
}

Call by(Call call, std::string algorithm, std::uint64_t chunk_bytes = 0) {
    call.algorithm = std::move(algorithm);
    call.chunk_bytes = chunk_bytes;
    return call;
}

/// With counts of which one is 9.
Call with_counts(Collective collective, int size, std::size_t nine) {
    Call call = of(collective, 0);
    call.counts.assign(static_cast<std::size_t>(size), 3);
    call.counts[nine] = 9;
    return call;
}

std::vector<Odd> kinds(int size) {
    using enum Collective;
    const Call sum = of(all_reduce, 100);
    const Call wait = {.collective = barrier};
    const std::string sum_text = "all_reduce(float32, 100, sum)";
    std::vector<Odd> all = {
        {"collective", {sum}, {of(broadcast, 100)}, sum_text, "broadcast(float32, 100, root 0)"},
        {"reduce for all_reduce",
         {sum},
         {of(reduce, 100)},
         sum_text,
         "reduce(float32, 100, sum, root 0)"},
        {"all_gather for gather",
         {of(gather, 10)},
         {of(all_gather, 10)},
         "gather(float32, 10, root 0)",
         "all_gather(float32, 10)"},
        {"all_to_all for reduce_scatter",
         {of(reduce_scatter, 10)},
         {of(all_to_all, 10)},
         "reduce_scatter(float32, 10, sum)",
         "all_to_all(float32, 10)"},
        {"barrier for all_reduce", {sum}, {wait}, sum_text, "barrier()"},
        {"all_reduce for barrier", {wait}, {sum}, "barrier()", sum_text},
        {"one element more",
         {sum},
         {of(all_reduce, 101)},
         sum_text,
         "all_reduce(float32, 101, sum)"},
        {"nothing", {sum}, {of(all_reduce, 0)}, sum_text, "all_reduce(float32, 0, sum)"},
        {"a short one for a long one",
         {of(broadcast, 300)},
         {of(broadcast, 1)},
         "broadcast(float32, 300, root 0)",
         "broadcast(float32, 1, root 0)"},
        {"count of scatter",
         {of(scatter, 10)},
         {of(scatter, 20)},
         "scatter(float32, 10, root 0)",
         "scatter(float32, 20, root 0)"},
        {"dtype of the same size",
         {sum},
         {with(sum, DType::i32)},
         sum_text,
         "all_reduce(int32, 100, sum)"},
        {"dtype of another size",
         {sum},
         {with(sum, DType::f64)},
         sum_text,
         "all_reduce(float64, 100, sum)"},
        {"dtype of the same bytes",
         {of(all_gather, 10)},
         {with(of(all_gather, 5), DType::f64)},
         "all_gather(float32, 10)",
         "all_gather(float64, 5)"},
        {"op",
         {sum},
         {with(sum, DType::f32, ReduceOp::max)},
         sum_text,
         "all_reduce(float32, 100, max)"},
        {"op of reduce_scatter",
         {of(reduce_scatter, 10)},
         {with(of(reduce_scatter, 10), DType::f32, ReduceOp::avg)},
         "reduce_scatter(float32, 10, sum)",
         "reduce_scatter(float32, 10, avg)"},
        {"root of broadcast",
         {of(broadcast, 100)},
         {of(broadcast, 100, 1)},
         "broadcast(float32, 100, root 0)",
         "broadcast(float32, 100, root 1)"},
        {"root of reduce",
         {of(reduce, 100, 1)},
         {of(reduce, 100)},
         "reduce(float32, 100, sum, root 1)",
         "reduce(float32, 100, sum, root 0)"},
        {"root of gather",
         {of(gather, 10)},
         {of(gather, 10, 1)},
         "gather(float32, 10, root 0)",
         "gather(float32, 10, root 1)"},
        {"algorithm",
         {by(sum, "ring")},
         {by(sum, "one_shot")},
         "all_reduce(float32, 100, sum, algorithm ring)",
         "all_reduce(float32, 100, sum, algorithm one_shot)"},
        {"algorithm and auto",
         {sum},
         {by(sum, "direct")},
         "all_reduce(float32, 100, sum, algorithm auto)",
         "all_reduce(float32, 100, sum, algorithm direct)"},
        {"chunk_bytes",
         {by(sum, "staged", 64)},
         {by(sum, "staged", 128)},
         "all_reduce(float32, 100, sum, chunk_bytes 64)",
         "all_reduce(float32, 100, sum, chunk_bytes 128)"},
        {"counts",
         {with_counts(all_gather, size, 0)},
         {with_counts(all_gather, size, 1)},
         "all_gather(float32, 0, with other counts)",
         "all_gather(float32, 0, with other counts)"},
        {"counts and none",
         {of(reduce_scatter, 3)},
         {with_counts(reduce_scatter, size, 0)},
         "reduce_scatter(float32, 3, sum, without counts)",
         "reduce_scatter(float32, 0, sum, with other counts)"},
        {"one call fewer", {wait, sum, wait}, {wait, wait}, sum_text, "barrier()"},
        {"one call more", {sum, wait}, {sum, sum, wait}, "barrier()", sum_text},
        {"another order", {wait, sum}, {sum, wait}, "barrier()", sum_text},
        {"another length, by messages",
         {by(sum, "ring")},
         {by(of(all_reduce, 99), "ring")},
         sum_text,
         "all_reduce(float32, 99, sum)"},
    };
    return all;
}

const Test named("mismatch: 27 kinds on 2 to 8 ranks are errors on every rank that name both", [] {
    for (int size = 2; size <= (is_sanitized ? 3 : 8); ++size) {
        int number = 0;
        for (const Odd& odd : kinds(size)) {
            const int odd_one = number++ % size;
            const Ranks ranks(size, {}, {}, {size});
            on_ranks(size, [&](int rank) {
                const Caller call(ranks[rank]);
                const auto make_all = [&] {
                    for (const Call& each : rank == odd_one ? odd.one : odd.most) call(each);
                };
                try {
                    make_all();
                } catch (const CollectiveError& error) {
                    const std::string text = error.what();
                    for (const std::string& part :
                         {"rank " + std::to_string(rank) + ": ",
                          "rank " + std::to_string(odd_one) + " called ", odd.most_text,
                          odd.one_text, std::string("make the same calls in the same order")}) {
                        check(text.find(part) != std::string::npos,
                              odd.name + ": '" + text + "' is without '" + part + "'");
                    }
                    check_throws<CollectiveError>([&] { call(Call{}); }, "make a new one");
                    return;
                }
                fail(odd.name + ": rank " + std::to_string(rank) + " of " + std::to_string(size) +
                         " heard of nothing",
                     std::source_location::current());
            });
        }
    }
});

const Test on_other_nodes("mismatch: ranks of another node hear of it, or give up", [] {
    const Ranks ranks(4, {}, {.timeout = milliseconds(200)}, {2, 2});
    on_ranks(4, [&](int rank) {
        const Caller call(ranks[rank]);
        check_throws<CollectiveError>([&] { call(of(Collective::all_reduce, rank == 0 ? 9 : 8)); },
                                      "rank " + std::to_string(rank) + ": all_reduce (call 1: ");
    });
});

/// What others wait for a rank that never comes: long enough for those that do, sanitized or not.
constexpr auto missing_after = milliseconds(1000);
const std::string seconds = "1 s";

/// Everybody makes `before`; then all but some make another call, which these never make.
void check_missing(int size, const std::vector<int>& missing, const std::vector<Call>& before,
                   const Call& last, const std::string& text) {
    const Ranks ranks(size, {}, {.timeout = missing_after}, {size});
    on_ranks(size, [&](int rank) {
        const Caller call(ranks[rank]);
        for (const Call& each : before) call(each);
        if (std::ranges::count(missing, rank) > 0) return;
        check_throws<TimeoutError>([&] { call(last); },
                                   "gave up after " + seconds + ", waiting for " + text);
    });
}

const Test never_seen("mismatch: a rank that makes no call at all is named", [] {
    for (const std::string algorithm : {"one_shot", "staged", "direct", "ring"}) {
        for (const int size : {2, 5}) {
            check_missing(size, {1}, {}, by(of(Collective::all_reduce, 100), algorithm),
                          "rank 1 (which has made no call yet)");
        }
    }
});

const Test last_seen("mismatch: a rank that has stopped is named with its last call", [] {
    for (const int size : {2, 3, 8}) {
        check_missing(size, {size - 1}, {{}, of(Collective::broadcast, 7, 1)},
                      of(Collective::all_reduce, 100),
                      "rank " + std::to_string(size - 1) +
                          " (last seen in call 2, broadcast(float32, 7, root 1))");
    }
});

const Test two_missing("mismatch: all that are missing are named", [] {
    check_missing(
        4, {1, 2}, {{}}, of(Collective::all_gather, 10),
        "rank 1 (last seen in call 1, barrier()), rank 2 (last seen in call 1, barrier())");
});

const Test behind_it("mismatch: calls that wait behind one that is stuck say so", [] {
    const Ranks ranks(2, {}, {}, {2});
    const auto arrays = std::make_shared<std::array<float, 20>>();
    Call call = of(Collective::all_reduce, 10);
    call.input = arrays->data();
    call.output = arrays->data() + 10;
    Work first = ranks[0].start(call, arrays);
    Work second = ranks[0].start(call, arrays);
    check_throws<TimeoutError>(
        [&] { second.wait(milliseconds(0)); },
        "it waits for the calls before it, of which all_reduce (call 1: 10 x float32) waits for "
        "rank 1 (which has made no call yet)");
    const Caller other(ranks[1]);
    on_ranks(2, [&](int rank) {
        if (rank == 1) {
            other(of(Collective::all_reduce, 10));
            other(of(Collective::all_reduce, 10));
        } else {
            second.wait();
            first.wait();
        }
    });
});

const Test all_outstanding("mismatch: all calls outstanding fail; other communicators go on", [] {
    const Ranks ranks(2, {}, {}, {2});
    const Ranks others(2, {}, {}, {2});
    on_ranks(2, [&](int rank) {
        const auto arrays = std::make_shared<std::array<float, 20>>();
        Call call = of(Collective::all_reduce, rank == 0 ? 10 : 9);
        call.input = arrays->data();
        call.output = arrays->data() + 10;
        // Whoever comes last may hear of it at once.
        check_throws<CollectiveError>(
            [&] {
                Work first = ranks[rank].start(call, arrays);
                Work second = ranks[rank].start(call, arrays);
                check_throws<CollectiveError>([&] { second.wait(); }, "make the same calls");
                first.wait();
            },
            "make the same calls in the same order");
        const Caller other(others[rank]);
        other(of(Collective::all_reduce, 10));
    });
});

const Test killed("mismatch: a communicator that is destroyed while peers wait is missing", [] {
    Ranks ranks(3, {}, {.timeout = missing_after}, {3});
    on_ranks(3, [&](int rank) {
        const Caller call(ranks[rank]);
        call({});
        if (rank == 2) {
            ranks[rank].close();
            return;
        }
        check_throws<TimeoutError>([&] { call(of(Collective::reduce, 10)); },
                                   "rank 2 (last seen in call 1, barrier())");
    });
});

const Test earlier("mismatch: a call that went well before a mismatched one has gone well", [] {
    for (int i = 0; i < 20; ++i) {
        const Ranks ranks(2, {}, {}, {2});
        const auto array = std::make_shared<std::array<double, 100>>();
        const auto other = std::make_shared<std::array<double, 100>>();
        const auto start = [&](int rank, std::uint64_t count) {
            Call call = by(of(Collective::all_reduce, count), "one_shot");
            call.input = call.output = rank == 0 ? array->data() : other->data();
            return ranks[rank].start(call, rank == 0 ? array : other);
        };
        Work first = start(0, 8);
        Work of_peer = start(1, 8);
        // Whoever looks now may see both.
        Work wrong = start(1, 9);
        check_throws<CollectiveError>([&] { start(0, 8).wait(); }, "call 2");
        check_throws<CollectiveError>([&] { wrong.wait(); }, "call 2");
        first.wait();
        of_peer.wait();
    }
});

}  // namespace
}  // namespace pycoll::test::engine_mismatch
