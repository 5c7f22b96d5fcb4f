#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "engine/communicator.hpp"
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

/// The communicators of ranks that are threads of this process.
class Ranks {
public:
    explicit Ranks(int size, const ThreadGroup::Options& network = {},
                   Communicator::Options options = {})
        : group_(size, network) {
        // More threads than cores, on most machines.
        options.oversubscribed = true;
        for (int rank = 0; rank < size; ++rank) {
            communicators_.push_back(
                std::make_shared<Communicator>(group_.transport(rank), options));
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
