// The engine's inner workings, on schedules written by hand and a transport that only takes notes.

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "check.hpp"
#include "engine/execution.hpp"

namespace pycoll::test::engine_execution {
namespace {

/// Notes what is posted; a message completes when the test says so.
class NotingTransport final : public Transport {
public:
    struct Posted {
        bool is_send;
        int peer;
        int tag;
        const std::byte* data;
        std::size_t bytes;
        Token token;
    };
    std::vector<Posted> posted;

    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return 4; }
    [[nodiscard]] int tag_count() const override { return 2; }
    [[nodiscard]] std::string name() const override { return "noting"; }
    [[nodiscard]] bool any_thread() const override { return true; }
    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override {
        posted.push_back({true, peer, tag, bytes.data(), bytes.size(), token});
    }
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override {
        posted.push_back({false, peer, tag, bytes.data(), bytes.size(), token});
    }
    void poll(std::vector<Completion>& /*completions*/) override {}

    /// Steps in the order in which they were posted.
    [[nodiscard]] std::vector<std::uint32_t> steps() const {
        std::vector<std::uint32_t> steps;
        for (const Posted& message : posted) steps.push_back(message.token.step);
        return steps;
    }
};

Step send_step(int peer, Slice src, std::vector<std::uint32_t> after = {}) {
    return {
        .kind = StepKind::send, .peer = peer, .dst = {}, .srcs = {src}, .after = std::move(after)};
}
Step recv_step(int peer, Slice dst, std::vector<std::uint32_t> after = {}) {
    return {
        .kind = StepKind::recv, .peer = peer, .dst = dst, .srcs = {}, .after = std::move(after)};
}

struct Bench {
    NotingTransport transport;
    BufferPool pool;
    std::atomic<std::uint64_t> sent_bytes = 0;
    const Execution::Means means{&transport, &pool, nullptr, &sent_bytes};
    Execution execution;

    void begin(std::vector<Step> steps, DType dtype, void* input, void* output,
               std::uint64_t scratch = 0) {
        const Schedule schedule{
            .rank = 0, .size = 4, .scratch_count = scratch, .steps = std::move(steps)};
        execution.prepare({.what = "test", .count = 1, .sequence = 1}, Clock::time_point::max(),
                          nullptr);
        execution.set_operands({input, output, dtype, ReduceOp::sum}, 7);
        execution.begin(std::make_shared<const Plan>(schedule, size_of(dtype)), means,
                        Execution::Entry::none);
    }
};

using Steps = std::vector<std::uint32_t>;

const Test window("execution: at most four messages of a channel are under way, in order", [] {
    Bench bench;
    std::array<std::byte, 8> output{};
    std::vector<Step> steps;
    for (std::uint64_t i = 0; i < 7; ++i) steps.push_back(recv_step(1, {Buffer::output, i, 1}));
    steps.push_back(recv_step(2, {Buffer::output, 7, 1}));
    bench.begin(std::move(steps), DType::u8, nullptr, output.data());
    check(bench.transport.steps() == Steps{0, 1, 2, 3, 7}, "the first four, and another channel");
    check_equal(bench.execution.waits_for(), "4 messages from rank 1, a message from rank 2");
    bench.execution.message_done(2);
    check(bench.transport.steps() == Steps{0, 1, 2, 3, 7, 4}, "one more for one that is done");
    check_equal(bench.transport.posted[5].tag, 7);
    for (const std::uint32_t step : {0U, 1U, 3U, 7U, 4U, 6U, 5U}) {
        check(!bench.execution.done(), "done too early");
        bench.execution.message_done(step);
    }
    check(bench.transport.steps() == Steps{0, 1, 2, 3, 7, 4, 5, 6}, "all");
    check(bench.execution.done(), "not done");
});

const Test program_order("execution: a message never overtakes one of its channel that waits", [] {
    Bench bench;
    std::array<std::byte, 2> buffer{};
    bench.begin({recv_step(1, {Buffer::output, 0, 1}), send_step(2, {Buffer::output, 0, 1}, {0}),
                 send_step(2, {Buffer::output, 1, 1}), send_step(3, {Buffer::output, 1, 1})},
                DType::u8, nullptr, buffer.data());
    check(bench.transport.steps() == Steps{0, 3}, "step 2 must wait for step 1");
    bench.execution.message_done(0);
    check(bench.transport.steps() == Steps{0, 3, 1, 2}, "both follow");
});

const Test receives_first("execution: receives are posted before the sends that provoke them", [] {
    Bench bench;
    std::array<std::byte, 2> buffer{};
    bench.begin({send_step(1, {Buffer::input, 0, 1}), recv_step(1, {Buffer::output, 0, 1})},
                DType::u8, buffer.data(), buffer.data() + 1);
    check(bench.transport.steps() == Steps{1, 0}, "the receive, then the send");
});

const Test very_long("execution: lengths and offsets beyond 2^31 elements and 2^32 bytes", [] {
    Bench bench;
    constexpr std::uint64_t count = (std::uint64_t{1} << 31) + 5;
    // Never touched: only the address counts.
    auto* const output = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 20);
    bench.begin(
        {recv_step(1, {Buffer::output, 0, count}), recv_step(1, {Buffer::output, count, count})},
        DType::f64, nullptr, output);
    check_equal(bench.transport.posted[1].bytes, std::size_t{8} * count);
    check(bench.transport.posted[1].data == output + 8 * count, "offset in bytes");
});

const Test no_steps("execution: nothing to do is done at once", [] {
    Bench bench;
    bench.begin({}, DType::f32, nullptr, nullptr);
    check(bench.execution.done(), "not done");
    bench.execution.check();
});

const Test reused("execution: one that had scratch memory may run again without", [] {
    Bench bench;
    std::array<float, 4> input = {1, 2, 3, 4};
    std::array<float, 4> output{};
    const Slice scratch{Buffer::scratch, 0, 4};
    const std::vector<Step> through_scratch = {
        {.kind = StepKind::copy, .dst = scratch, .srcs = {{Buffer::input, 0, 4}}, .after = {}},
        {.kind = StepKind::copy, .dst = {Buffer::output, 0, 4}, .srcs = {scratch}, .after = {0}}};
    for (int round = 0; round < 3; ++round) {
        output = {};
        bench.begin(through_scratch, DType::f32, input.data(), output.data(), 4);
        check(bench.execution.done() && output == input, "copied through scratch");
        bench.begin({}, DType::f32, nullptr, nullptr);
    }
});

const Test folds("execution: a message to be folded arrives in a stage of its own", [] {
    Bench bench;
    std::array<float, 2> input = {1, 2};
    std::array<float, 2> output{};
    bench.begin({{.kind = StepKind::recv_reduce,
                  .finish = true,
                  .message_first = true,
                  .peer = 1,
                  .dst = {Buffer::output, 0, 2},
                  .srcs = {{Buffer::input, 0, 2}},
                  .after = {}}},
                DType::f32, input.data(), output.data());
    const auto& message = bench.transport.posted.at(0);
    check(message.data != reinterpret_cast<std::byte*>(output.data()), "not in the output");
    const std::array<float, 2> sent = {10, 20};
    std::memcpy(const_cast<std::byte*>(message.data), sent.data(), sizeof sent);
    bench.execution.message_done(0);
    check(output == std::array<float, 2>{11, 22}, "folded");
    check(input == std::array<float, 2>{1, 2}, "the input has changed");
});

const Test reuses_memory("buffer pool: hands out aligned memory, again, up to a limit", [] {
    BufferPool pool;
    check(pool.take(0).data() == nullptr, "nothing for nothing");
    BufferPool::Block block = pool.take(5000);
    check(block.size() >= 5000, "too small");
    check_equal(reinterpret_cast<std::uintptr_t>(block.data()) % MemorySource::alignment,
                std::uintptr_t{0});
    std::byte* const memory = block.data();
    pool.give_back(std::move(block));
    pool.give_back({});
    check(pool.take(4000).data() != memory, "another size");
    check(pool.take(5001).data() == memory, "the same again");
});

}  // namespace
}  // namespace pycoll::test::engine_execution
