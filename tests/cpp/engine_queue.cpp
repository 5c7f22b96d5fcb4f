// First in, first out.

#include <algorithm>
#include <deque>
#include <memory>
#include <random>

#include "check.hpp"
#include "engine/queue.hpp"

namespace pycoll::test::engine_queue {
namespace {

const Test order("queue: gives what a deque gives, however it is filled and emptied", [] {
    std::mt19937 random(1);
    Queue<int> queue;
    std::deque<int> expected;
    for (int i = 0; i < 20'000; ++i) {
        // Fills up and runs empty in turns.
        const bool is_filled = i / 500 % 2 == 0;
        if (expected.empty() || random() % 3 < (is_filled ? 2U : 1U)) {
            queue.push_back(i);
            expected.push_back(i);
            check_equal(queue.back(), i);
        } else {
            queue.pop_front();
            expected.pop_front();
        }
        check_equal(queue.size(), expected.size());
        check_equal(queue.empty(), expected.empty());
        check(std::ranges::equal(queue, expected), "another order");
        if (!expected.empty()) check_equal(queue.front(), expected.front());
    }
    queue.clear();
    check(queue.empty(), "cleared");
});

const Test release("queue: keeps nothing that has gone", [] {
    Queue<std::shared_ptr<int>> queue;
    const auto first = std::make_shared<int>(1);
    const auto second = std::make_shared<int>(2);
    queue.push_back(first);
    queue.push_back(second);
    queue.pop_front();
    check_equal(first.use_count(), 1L);
    check_equal(second.use_count(), 2L);
    queue.pop_front();
    check_equal(second.use_count(), 1L);
});

}  // namespace
}  // namespace pycoll::test::engine_queue
