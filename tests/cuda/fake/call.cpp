#include "call.hpp"

#include <algorithm>
#include <map>

#include "exported.hpp"

namespace fake_cuda {
namespace {

/// Those that programs need not create.
const auto legacy_stream = reinterpret_cast<pycoll::cuda::Stream>(1);
const auto stream_of_thread = reinterpret_cast<pycoll::cuda::Stream>(2);

int& capture_mode() {
    constexpr int global = 0;
    thread_local int mode = global;
    return mode;
}

}  // namespace

CurrentContexts& CurrentContexts::of_thread() {
    thread_local CurrentContexts contexts;
    return contexts;
}

std::pair<Call, Result> begin(const char* function) {
    Machine& machine = Machine::instance();
    std::unique_lock lock(machine.mutex);
    const Result injected = machine.faults.call(function);
    ContextState* const context = CurrentContexts::of_thread().top();
    if (context != nullptr && context->sticky == success && is_sticky(injected)) {
        context->sticky = injected;
    }
    return {Call{machine, std::move(lock), context}, injected};
}

bool disturbs_capture(const Call& call) {
    return capture_mode() != pycoll::cuda::capture_mode_relaxed &&
           std::ranges::any_of(call.context->streams, &Stream::capturing);
}

std::shared_ptr<Stream> find_stream(Call& call, pycoll::cuda::Stream handle) {
    ContextState& context = *call.context;
    if (handle == nullptr || handle == legacy_stream) {
        if (context.legacy == nullptr) context.legacy = call.machine.new_stream(context, false, 0);
        return context.legacy;
    }
    if (handle == stream_of_thread) {
        thread_local std::map<ContextState*, std::shared_ptr<Stream>> own;
        auto& stream = own[&context];
        if (stream == nullptr) {
            stream = call.machine.new_stream(context, true, 0);
            context.streams.push_back(stream);
        }
        return stream;
    }
    return call.machine.streams.find(handle);
}

std::pair<Result, Ending> put(Call& call, pycoll::cuda::Stream handle, Operation operation) {
    const std::shared_ptr<Stream> stream = find_stream(call, handle);
    if (stream == nullptr) return {invalid_handle, nullptr};
    if (stream->context.sticky != success) return {stream->context.sticky, nullptr};
    // Graphs are not played: whoever records one here would get nothing.
    if (stream->capturing) return {capture_unsupported, nullptr};
    stream->put(std::move(operation));
    return {success, stream->last()};
}

}  // namespace fake_cuda

using fake_cuda::Result;

EXPORTED Result cuThreadExchangeStreamCaptureMode(int* mode) {
    return fake_cuda::anywhere("cuThreadExchangeStreamCaptureMode", [&](fake_cuda::Call&) {
        if (mode == nullptr || *mode < 0 || *mode > pycoll::cuda::capture_mode_relaxed) {
            return fake_cuda::invalid_value;
        }
        std::swap(*mode, fake_cuda::capture_mode());
        return fake_cuda::success;
    });
}
