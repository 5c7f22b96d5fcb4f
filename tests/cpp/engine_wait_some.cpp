// Waiting for whichever of several operations comes first.

#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "engine_ranks.hpp"

namespace pycoll::test::engine_wait_some {
namespace {

using std::chrono::milliseconds;
using Bytes = std::array<std::byte, 4>;
using Positions = std::vector<std::size_t>;

Work receive(Communicator& communicator, int peer, int tag = 0) {
    const auto bytes = std::make_shared<Bytes>();
    return communicator.recv(*bytes, peer, tag, bytes);
}

void send(Communicator& communicator, int peer, int tag = 0) {
    const auto bytes = std::make_shared<Bytes>();
    communicator.send(*bytes, peer, tag, bytes).wait();
}

const Test first_come("engine: wait_some returns those that have come, in order", [] {
    const Ranks ranks(4);
    std::vector<Work> works;
    for (const int peer : {1, 2, 3}) works.push_back(receive(ranks[0], peer));
    send(ranks[2], 0);
    check(wait_some(works) == Positions{1});
    check(wait_some(works) == Positions{1}, "what is over is over at once");
    send(ranks[3], 0);
    works[2].wait();
    check(wait_some(works) == Positions({1, 2}));
    send(ranks[1], 0);
    works[0].wait();
    check(wait_some(works) == Positions({0, 1, 2}));
});

const Test server("engine: wait_some serves several ranks that come when they like", [] {
    constexpr int messages = 50;
    const Ranks ranks(4, {.rendezvous = 1});
    on_ranks(4, [&](int rank) {
        if (rank > 0) {
            for (int i = 0; i < messages; ++i) send(ranks[rank], 0);
            return;
        }
        std::vector<Work> works;
        std::vector<int> served(3);
        for (const int peer : {1, 2, 3}) works.push_back(receive(ranks[0], peer));
        std::vector<int> peers = {1, 2, 3};
        while (!works.empty()) {
            const Positions done = wait_some(works);
            for (std::size_t n = done.size(); n-- > 0;) {
                const std::size_t i = done[n];
                const int peer = peers[i];
                if (++served[static_cast<std::size_t>(peer - 1)] < messages) {
                    works[i] = receive(ranks[0], peer);
                    continue;
                }
                works.erase(works.begin() + static_cast<std::ptrdiff_t>(i));
                peers.erase(peers.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
        check(served == std::vector<int>(3, messages));
    });
});

const Test in_vain("engine: wait_some ends in time, and may be repeated", [] {
    const Ranks ranks(3);
    const std::vector<Work> works = {receive(ranks[0], 1, 7), receive(ranks[0], 2)};
    check_throws<TimeoutError>(
        [&] { (void)wait_some(works, milliseconds(5)); },
        "rank 0: none of 2 operations done after 0.005 s; the first, recv from rank 1 with tag 7 "
        "(4 bytes), waits for a message from rank 1");
    send(ranks[2], 0);
    check(wait_some(works, milliseconds(10000)) == Positions{1});
    send(ranks[1], 0, 7);
});

const Test deadline("engine: wait_some fails when the communicator gives up", [] {
    const Ranks ranks(2, {}, {.timeout = milliseconds(20)});
    const std::vector<Work> works = {receive(ranks[0], 1)};
    check_throws<TimeoutError>([&] { (void)wait_some(works); },
                               "gave up after 0.02 s, waiting for a message from rank 1");
});

const Test refused("engine: wait_some needs works, of one communicator", [] {
    const Ranks ranks(2);
    const Ranks others(2);
    check_throws<std::invalid_argument>([] { (void)wait_some({}); }, "nothing to wait for");
    const std::vector<Work> works = {receive(ranks[0], 1), receive(others[0], 1)};
    check_throws<std::invalid_argument>([&] { (void)wait_some(works); }, "several communicators");
    send(ranks[1], 0);
    send(others[1], 0);
});

}  // namespace
}  // namespace pycoll::test::engine_wait_some
