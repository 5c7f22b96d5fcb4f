#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <utility>

#include "machine.hpp"

namespace fake_cuda {

/// Streams have priorities from here to 0, the lowest.
inline constexpr int highest_priority = -5;

/// The contexts that a thread has made current, one over the other. Nothing is done at the end of
/// the thread: the main one may call the driver while the process ends, when that is over.
class CurrentContexts {
public:
    static CurrentContexts& of_thread();

    /// False when there are too many.
    [[nodiscard]] bool push(ContextState* context) {
        if (count_ == contexts_.size()) return false;
        contexts_[count_++] = context;
        return true;
    }
    void pop() { --count_; }
    /// Null for none.
    [[nodiscard]] ContextState* top() const { return count_ > 0 ? contexts_[count_ - 1] : nullptr; }

private:
    std::array<ContextState*, 64> contexts_ = {};
    std::size_t count_ = 0;
};

/// A call of the program, in progress.
struct Call {
    Machine& machine;
    std::unique_lock<std::mutex> lock;
    /// The one that is current; null for none.
    ContextState* context;
};

/// Starts a call, counts it, and says whether it is to fail by injection.
[[nodiscard]] std::pair<Call, Result> begin(const char* function);

/// A call that is always possible.
template <typename Body>
Result anywhere(const char* function, Body&& body) {
    auto [call, injected] = begin(function);
    return injected != success ? injected : body(call);
}

/// A call that needs the driver to be initialised.
template <typename Body>
Result initialized(const char* function, Body&& body) {
    return anywhere(function, [&](Call& call) -> Result {
        return call.machine.initialized ? body(call) : not_initialized;
    });
}

/// A call that needs a current context, which has had no error that sticks.
template <typename Body>
Result in_context(const char* function, Body&& body) {
    return initialized(function, [&](Call& call) -> Result {
        if (call.context == nullptr) return invalid_context;
        return call.context->sticky != success ? call.context->sticky : body(call);
    });
}

/// A call that frees something: it does so also after an error that sticks, and returns that then.
template <typename Body>
Result releasing(const char* function, Body&& body) {
    return initialized(function, [&](Call& call) -> Result {
        if (call.context == nullptr) return invalid_context;
        const Result result = body(call);
        return call.context->sticky != success ? call.context->sticky : result;
    });
}

/// Is a graph being recorded, so that this thread must not do what would disturb it?
[[nodiscard]] bool disturbs_capture(const Call& call);

/// The stream of a handle: a created one, or a default stream of the current context. Null for
/// none.
[[nodiscard]] std::shared_ptr<Stream> find_stream(Call& call, pycoll::cuda::Stream handle);

/// Puts something on a stream. Gives its end.
[[nodiscard]] std::pair<Result, Ending> put(Call& call, pycoll::cuda::Stream handle,
                                            Operation operation);

}  // namespace fake_cuda
