// The transport between threads keeps the promises of a transport.

#include <array>
#include <numeric>

#include "check.hpp"
#include "transport/threads.hpp"

namespace pycoll::test::transport_threads {
namespace {

using Bytes = std::array<std::byte, 4>;

Bytes bytes_of(int value) {
    Bytes bytes{};
    bytes.fill(static_cast<std::byte>(value));
    return bytes;
}

/// Polls until `count` messages have completed; their steps and errors, in that order.
std::vector<Completion> completed(Transport& transport, std::size_t count) {
    std::vector<Completion> completions;
    while (completions.size() < count) transport.poll(completions);
    return completions;
}

struct Pair {
    explicit Pair(const ThreadGroup::Options& options) : group(2, options) {}
    ThreadGroup group;
    std::unique_ptr<Transport> a = group.transport(0);
    std::unique_ptr<Transport> b = group.transport(1);
};

const Test in_order("threads transport: messages of a channel arrive in order, others when asked",
                    [] {
                        for (const double rendezvous : {0.0, 0.5, 1.0}) {
                            Pair pair({.seed = 7, .max_delay_polls = 4, .rendezvous = rendezvous});
                            std::array<Bytes, 20> sent;
                            std::array<Bytes, 20> received;
                            for (int i = 0; i < 20; ++i) {
                                const auto at = static_cast<std::uint32_t>(i);
                                sent[at] = bytes_of(i);
                                pair.a->send(1, i % 2, sent[at], {nullptr, at});
                            }
                            for (const int tag : {1, 0}) {
                                for (std::uint32_t i = 0; i < 20; i += 2) {
                                    const std::uint32_t at = i + static_cast<std::uint32_t>(tag);
                                    pair.b->recv(0, tag, received[at], {nullptr, at});
                                }
                            }
                            check_equal(completed(*pair.a, 20).size(), 20U);
                            check_equal(completed(*pair.b, 20).size(), 20U);
                            check(received == sent, "mixed up");
                        }
                    });

const Test waits("threads transport: a send waits for its receiver, or does not", [] {
    const Bytes sent = bytes_of(5);
    Bytes received{};
    Pair buffered({.rendezvous = 0});
    buffered.a->send(1, 0, sent, {nullptr, 3});
    check_equal(completed(*buffered.a, 1).at(0).token.step, 3U);

    Pair waiting({.rendezvous = 1});
    waiting.a->send(1, 0, sent, {nullptr, 3});
    std::vector<Completion> none;
    waiting.a->poll(none);
    check(none.empty(), "did not wait");
    waiting.b->recv(0, 0, received, {nullptr, 4});
    check_equal(completed(*waiting.a, 1).at(0).token.step, 3U);
    check(received == sent, "arrived");
});

const Test wrong_length("threads transport: another length is an error of the receiver", [] {
    Pair pair({.rendezvous = 0});
    std::array<std::byte, 6> more{};
    Bytes received = bytes_of(1);
    pair.a->send(1, 0, more, {nullptr, 0});
    pair.b->recv(0, 0, received, {nullptr, 0});
    check_equal(completed(*pair.b, 1).at(0).error, "rank 0 sent 6 instead of the expected 4 bytes");
    check(completed(*pair.a, 1).at(0).error.empty(), "an error of the sender");
    check(received == bytes_of(1), "half a message");
});

const Test nothing("threads transport: a message of no bytes is a message", [] {
    Pair pair({});
    pair.b->recv(0, 0, {}, {nullptr, 1});
    pair.a->send(1, 0, {}, {nullptr, 2});
    check_equal(completed(*pair.b, 1).at(0).token.step, 1U);
    check_equal(completed(*pair.a, 1).at(0).token.step, 2U);
});

}  // namespace
}  // namespace pycoll::test::transport_threads
