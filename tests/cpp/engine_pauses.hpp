#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace pycoll::test {

/// Stops threads wherever they happen to be, for a random time, again and again: between any two
/// steps of a schedule and in the middle of them, as a scheduler does on a bad day.
class Pauses {
public:
    explicit Pauses(unsigned seed) {
        struct sigaction action{};
        action.sa_handler = [](int) {
            const int before = errno;
            const timespec pause{.tv_sec = 0, .tv_nsec = nanoseconds.load()};
            nanosleep(&pause, nullptr);
            errno = before;
        };
        sigaction(SIGUSR1, &action, &before_);
        disturber_ = std::jthread([this, seed](const std::stop_token& stop) {
            std::mt19937 random(seed);
            while (!stop.stop_requested()) {
                const auto pause = static_cast<long>(random() % 100'000);
                {
                    const std::lock_guard lock(mutex_);
                    nanoseconds = pause;
                    if (!threads_.empty()) {
                        pthread_kill(threads_[random() % threads_.size()], SIGUSR1);
                    }
                }
                // Not before that pause is over, and as much again: the last thread that is left
                // gets all of them, and one that is interrupted without end never ends its own
                // sleep, either.
                std::this_thread::sleep_for(
                    std::chrono::nanoseconds(2 * pause + static_cast<long>(random() % 50'000)));
            }
        });
    }
    ~Pauses() {
        disturber_.request_stop();
        disturber_.join();
        sigaction(SIGUSR1, &before_, nullptr);
    }
    Pauses(const Pauses&) = delete;
    Pauses& operator=(const Pauses&) = delete;

    /// Has the calling thread disturbed for as long as this lives.
    class Here {
    public:
        explicit Here(Pauses& pauses) : pauses_(pauses) {
            const std::lock_guard lock(pauses_.mutex_);
            pauses_.threads_.push_back(pthread_self());
        }
        ~Here() {
            const std::lock_guard lock(pauses_.mutex_);
            std::erase(pauses_.threads_, pthread_self());
        }
        Here(const Here&) = delete;
        Here& operator=(const Here&) = delete;

    private:
        Pauses& pauses_;
    };

private:
    inline static std::atomic<long> nanoseconds = 0;

    std::mutex mutex_;
    std::vector<pthread_t> threads_;
    struct sigaction before_{};
    std::jthread disturber_;
};

}  // namespace pycoll::test
