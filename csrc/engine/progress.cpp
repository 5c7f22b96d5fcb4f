#include "engine/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/communicator.hpp"

namespace pycoll {
namespace {

/// The communicators with operations outstanding, and the thread that moves them along while the
/// application computes.
class Progress {
public:
    void watch(const std::shared_ptr<Communicator>& communicator) {
        {
            const std::lock_guard lock(mutex_);
            const auto entry = std::ranges::find(watched_, communicator, &Watched::communicator);
            if (entry == watched_.end()) {
                watched_.push_back({communicator, ++stamp_});
            } else {
                entry->stamp = ++stamp_;
            }
            watched_count_.store(watched_.size(), std::memory_order_relaxed);
            if (!communicator->any_thread()) return;
            if (!thread_.joinable()) start();
        }
        wake_.notify_one();
    }

    [[nodiscard]] bool watches() const {
        return watched_count_.load(std::memory_order_relaxed) > 0;
    }

    void help() {
        if (watches()) round(Helper::waiting_thread);
    }

    void stop() {
        // A forked child has a copy of this, but not the thread, which it cannot join either.
        if (thread_of_ != 0 && thread_of_ != getpid()) return;
        std::vector<Watched> dropped;
        std::jthread ended;
        const std::lock_guard lock(mutex_);
        dropped.swap(watched_);
        ended.swap(thread_);
        watched_count_.store(0, std::memory_order_relaxed);
        // Destroyed in reverse, hence after the lock: the thread is told to stop and joined.
    }

private:
    struct Watched {
        /// Keeps it alive: operations whose handles were dropped still complete.
        std::shared_ptr<Communicator> communicator;
        /// Renewed by every watch(), so that work that arrives during a round is not forgotten.
        std::uint64_t stamp;
    };
    enum class Helper : bool { waiting_thread, own_thread };

    void start() {
        try {
            thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
            thread_of_ = getpid();
        } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
            // No more threads to be had: operations move while somebody waits, and the next
            // watch() tries again.
        }
    }

    void run(const std::stop_token& stop) {
        auto moved = Clock::now();
        while (true) {
            {
                std::unique_lock lock(mutex_);
                if (!needs_thread()) {
                    wake_.wait(lock, stop, [this] { return needs_thread(); });
                    moved = Clock::now();
                }
            }
            if (stop.stop_requested()) return;
            const auto now = Clock::now();
            if (round(Helper::own_thread)) moved = now;
            // A round takes a core from the application, and a chunk of a long message takes longer
            // than the shortest nap.
            std::this_thread::sleep_for(Patience::nap_after(now - moved));
        }
    }

    [[nodiscard]] bool needs_thread() const {
        return std::ranges::any_of(
            watched_, [](const Watched& entry) { return entry.communicator->any_thread(); });
    }

    /// True if anything moved.
    bool round(Helper helper) {
        // The last reference to a communicator must not go while the lock is held.
        std::vector<Watched> round;
        {
            const std::lock_guard lock(mutex_);
            round = watched_;
        }
        bool moved = false;
        // Leaves those on which nothing is outstanding.
        std::erase_if(round, [&](const Watched& entry) {
            if (helper == Helper::own_thread && !entry.communicator->any_thread()) return true;
            const Communicator::Help help = entry.communicator->help();
            moved |= help == Communicator::Help::moved;
            return help != Communicator::Help::idle;
        });
        if (round.empty()) return moved;
        const std::lock_guard lock(mutex_);
        for (const Watched& idle : round) {
            std::erase_if(watched_, [&](const Watched& entry) {
                return entry.communicator == idle.communicator && entry.stamp == idle.stamp;
            });
        }
        watched_count_.store(watched_.size(), std::memory_order_relaxed);
        return moved;
    }

    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::vector<Watched> watched_;
    std::atomic<std::size_t> watched_count_ = 0;
    std::uint64_t stamp_ = 0;
    std::jthread thread_;
    /// The process in which the thread was started; 0: it never was.
    std::atomic<pid_t> thread_of_ = 0;
};

Progress& progress() {
    // Never destroyed: a forked child could not join the thread. But it ends with the process.
    static Progress& instance = *new Progress();
    static const struct AtExit {
        ~AtExit() { instance.stop(); }
    } at_exit;
    return instance;
}

}  // namespace

void watch(const std::shared_ptr<Communicator>& communicator) { progress().watch(communicator); }

bool anything_is_watched() { return progress().watches(); }

void help_watched() { progress().help(); }

void stop_progress() { progress().stop(); }

}  // namespace pycoll
