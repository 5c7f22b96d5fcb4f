#pragma once

#include <unistd.h>

#include <array>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "engine/communicator.hpp"
#include "engine/neighbours.hpp"
#include "transport/threads.hpp"

namespace pycoll::test {

/// Runs body(rank) for every rank, each on a thread of its own; throws what the lowest rank threw.
inline void on_ranks(int size, const std::function<void(int)>& body) {
    std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
    {
        std::vector<std::jthread> threads;
        for (int rank = 0; rank < size; ++rank) {
            threads.emplace_back([&, rank] {
                try {
                    body(rank);
                } catch (...) {
                    failures[static_cast<std::size_t>(rank)] = std::current_exception();
                }
            });
        }
    }
    for (const auto& failure : failures) {
        if (failure) std::rethrow_exception(failure);
    }
}

/// How many ranks each node has, in order; none: nobody shares memory.
using Nodes = std::vector<int>;

/// Can ranks on such nodes use the algorithm?
inline bool is_possible(const Algorithm& algorithm, const Nodes& nodes) {
    if (algorithm.spans_nodes) return nodes.size() > 1;
    return algorithm.reach == Reach::messages || nodes.size() == 1;
}

/// The memory of one node, as a process would map it: whole pages of zeros.
inline std::shared_ptr<std::byte> node_memory(int ranks) {
    struct alignas(4096) Page {
        std::array<std::byte, 4096> bytes;
    };
    const auto pages =
        std::make_shared<std::vector<Page>>(SharedNode::bytes(ranks) / sizeof(Page) + 1);
    return {pages, pages->front().bytes.data()};
}

/// The communicators of ranks that are threads of this process.
class Ranks {
public:
    /// What is put around each rank's transport.
    using Wrap = std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>;

    explicit Ranks(int size, const ThreadGroup::Options& network = {},
                   Communicator::Options options = {}, const Nodes& nodes = {},
                   const Wrap& wrap = nullptr)
        : group_(size, network) {
        // More threads than cores, on most machines.
        options.oversubscribed = true;
        std::vector<std::unique_ptr<Neighbours>> neighbours(static_cast<std::size_t>(size));
        if (nodes.size() > 1) {
            for (std::size_t node = 0; node < nodes.size(); ++node) {
                options.nodes.insert(options.nodes.end(), static_cast<std::size_t>(nodes[node]),
                                     static_cast<int>(node));
            }
        }
        int first = 0;
        for (const int ranks : nodes) {
            const auto memory = node_memory(ranks);
            std::vector<int> numbers(static_cast<std::size_t>(ranks));
            std::iota(numbers.begin(), numbers.end(), first);
            const std::vector<pid_t> processes(numbers.size(), getpid());
            for (int local = 0; local < ranks; ++local) {
                neighbours[static_cast<std::size_t>(first + local)] = std::make_unique<Neighbours>(
                    std::make_unique<SharedNode>(memory, local, processes), numbers, size);
            }
            first += ranks;
        }
        for (int rank = 0; rank < size; ++rank) {
            std::unique_ptr<Transport> transport = group_.transport(rank);
            if (wrap) transport = wrap(std::move(transport));
            communicators_.push_back(std::make_shared<Communicator>(
                std::move(transport), options,
                std::move(neighbours[static_cast<std::size_t>(rank)])));
        }
    }

    [[nodiscard]] int size() const { return static_cast<int>(communicators_.size()); }
    [[nodiscard]] Communicator& operator[](int rank) const { return *shared(rank); }
    [[nodiscard]] const std::shared_ptr<Communicator>& shared(int rank) const {
        return communicators_[static_cast<std::size_t>(rank)];
    }

private:
    ThreadGroup group_;
    std::vector<std::shared_ptr<Communicator>> communicators_;
};

}  // namespace pycoll::test
