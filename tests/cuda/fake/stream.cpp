#include "stream.hpp"

#include <sys/prctl.h>

#include <chrono>
#include <thread>
#include <utility>

#include "machine.hpp"

namespace fake_cuda {

Stream::Stream(Machine& machine, ContextState& of, bool is_blocking, int its_priority)
    : context(of),
      blocking(is_blocking),
      priority(its_priority),
      machine_(machine),
      timeline_(machine.new_timeline()),
      random_(settings().seed * 1000003 + timeline_) {}

void Stream::start() {
    std::thread([self = shared_from_this()] { self->work(); }).detach();
}

void Stream::close() {
    closed_ = true;
    changed_.notify_one();
}

void Stream::put(Operation operation) {
    // The legacy default stream and the blocking ones follow each other.
    if (context.legacy.get() == this) {
        for (const auto& other : context.streams) {
            if (other->blocking && other->last()) operation.after.push_back(other->last());
        }
        for (const Ending& departed : context.departed) operation.after.push_back(departed);
        context.departed.clear();
    } else if (blocking && context.legacy && context.legacy->last()) {
        operation.after.push_back(context.legacy->last());
    }
    operation.host = machine_.host;
    operation.ending = last_ = std::make_shared<Completion>();
    queue_.push_back(std::move(operation));
    changed_.notify_one();
}

void Stream::work() {
    // Else a short sleep takes 50 microseconds longer.
    prctl(PR_SET_TIMERSLACK, 1);
    std::unique_lock lock(machine_.mutex);
    while (true) {
        changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
        if (queue_.empty()) break;
        Operation& operation = queue_.front();
        for (const Ending& before : operation.after) {
            before->changed.wait(lock, [&] { return before->done; });
            clock_.join(before->clock);
        }
        clock_.join(*operation.host);
        if (context.sticky == success) perform(lock, operation);
        operation.ending->clock = clock_;
        operation.ending->done = true;
        operation.ending->changed.notify_all();
        queue_.pop_front();
    }
    std::erase_if(machine_.workers, [&](const auto& worker) { return worker.get() == this; });
}

void Stream::perform(std::unique_lock<std::mutex>& lock, Operation& operation) {
    machine_.enter_shared(operation.accesses, operation.what);
    lock.unlock();
    delay();
    lock.lock();
    if (operation.word) {
        while (!operation.word->reached(__atomic_load_n(operation.word->word, __ATOMIC_ACQUIRE)) &&
               context.sticky == success) {
            lock.unlock();
            std::this_thread::sleep_for(std::chrono::microseconds(20));
            lock.lock();
        }
        clock_.join(*machine_.host);
    }
    if (!operation.accesses.empty()) {
        clock_.advance(timeline_);
        machine_.touch(operation.accesses, timeline_, clock_, operation.what);
    }
    if (!operation.run) return;
    lock.unlock();
    Result result = success;
    {
        const std::lock_guard moving(machine_.data);
        result = operation.run();
    }
    lock.lock();
    machine_.leave_shared(operation.accesses);
    if (result != success && context.sticky == success) context.sticky = result;
}

void Stream::delay() {
    const std::uint64_t most = settings().max_delay_us;
    const std::uint64_t now = most == 0 ? 0 : random_() % (most + 1);
    if (now > 0) std::this_thread::sleep_for(std::chrono::microseconds(now));
}

}  // namespace fake_cuda
