#include <algorithm>
#include <cstdio>

#include "call.hpp"
#include "exported.hpp"

using namespace fake_cuda;
using pycoll::cuda::Event;
using StreamHandle = pycoll::cuda::Stream;

namespace {

/// How programs that wait for a word say what for: cuda.h's CU_STREAM_WAIT_VALUE_*, without the
/// flag that asks for a flush. Empty for what there is not.
std::function<bool(std::uint32_t)> comparison(std::uint32_t value, unsigned flags) {
    constexpr unsigned flush = 1U << 30;
    switch (flags & ~flush) {
        case 0:  // at least, cyclically
            return [value](std::uint32_t word) {
                return static_cast<std::int32_t>(word - value) >= 0;
            };
        case 1:
            return [value](std::uint32_t word) { return word == value; };
        case 2:
            return [value](std::uint32_t word) { return (word & value) != 0; };
        case 3:
            return [value](std::uint32_t word) { return ~(word | value) != 0; };
        default:
            return {};
    }
}

}  // namespace

EXPORTED Result cuStreamCreateWithPriority(StreamHandle* handle, unsigned flags, int priority) {
    return in_context("cuStreamCreateWithPriority", [&](Call& call) {
        if (handle == nullptr || flags > pycoll::cuda::stream_non_blocking) return invalid_value;
        const bool blocking = flags != pycoll::cuda::stream_non_blocking;
        const auto stream = call.machine.new_stream(*call.context, blocking,
                                                    std::clamp(priority, highest_priority, 0));
        call.context->streams.push_back(stream);
        *handle = call.machine.streams.add(stream);
        return success;
    });
}

EXPORTED Result cuStreamDestroy_v2(StreamHandle handle) {
    return releasing("cuStreamDestroy_v2", [&](Call& call) {
        const auto stream = call.machine.streams.remove(handle);
        if (stream == nullptr) return invalid_handle;
        std::erase(stream->context.streams, stream);
        if (!stream->is_idle()) stream->context.departed.push_back(stream->last());
        stream->close();
        return success;
    });
}

EXPORTED Result cuStreamSynchronize(StreamHandle handle) {
    return in_context("cuStreamSynchronize", [&](Call& call) {
        const auto stream = find_stream(call, handle);
        if (stream == nullptr) return invalid_handle;
        if (stream->capturing || disturbs_capture(call)) return capture_unsupported;
        call.machine.wait_for(call.lock, stream->last());
        return stream->context.sticky;
    });
}

EXPORTED Result cuStreamGetPriority(StreamHandle handle, int* priority) {
    return in_context("cuStreamGetPriority", [&](Call& call) {
        const auto stream = find_stream(call, handle);
        if (stream == nullptr) return invalid_handle;
        if (priority == nullptr) return invalid_value;
        *priority = stream->priority;
        return success;
    });
}

EXPORTED Result cuStreamIsCapturing(StreamHandle handle, int* status) {
    return in_context("cuStreamIsCapturing", [&](Call& call) {
        const auto stream = find_stream(call, handle);
        if (stream == nullptr) return invalid_handle;
        if (status == nullptr) return invalid_value;
        *status = stream->capturing ? 1 : pycoll::cuda::capture_none;
        return success;
    });
}

EXPORTED Result cuStreamWaitEvent(StreamHandle handle, Event event_handle, unsigned flags) {
    return in_context("cuStreamWaitEvent", [&](Call& call) {
        const auto event = call.machine.events.find(event_handle);
        if (event == nullptr) return invalid_handle;
        if (flags != 0) return invalid_value;
        Operation operation{.what = std::make_shared<const std::string>("wait for an event")};
        const bool dropped = call.machine.faults.strikes(Plant::drop_wait_event);
        if (event->recorded && !dropped) operation.after.push_back(event->recorded);
        return put(call, handle, std::move(operation)).first;
    });
}

EXPORTED Result cuStreamWaitValue32_v2(StreamHandle handle, Address address, std::uint32_t value,
                                       unsigned flags) {
    return in_context("cuStreamWaitValue32_v2", [&](Call& call) {
        auto reached = comparison(value, flags);
        const Allocation* const memory = find_allocation(call.machine.allocations, address);
        if (!reached || memory == nullptr || address % sizeof(std::uint32_t) != 0) {
            return invalid_value;
        }
        const auto* const word =
            reinterpret_cast<std::uint32_t*>(memory->alias + (address - memory->begin));
        return put(call, handle,
                   {.what = std::make_shared<const std::string>("wait for a word"),
                    .word = WordWait{word, std::move(reached)}})
            .first;
    });
}

EXPORTED Result cuEventCreate(Event* handle, unsigned flags) {
    return in_context("cuEventCreate", [&](Call& call) {
        constexpr unsigned all_flags = 7;
        if (handle == nullptr || flags > all_flags) return invalid_value;
        *handle = call.machine.events.add(
            std::make_shared<EventState>(EventState{.context = call.context}));
        return success;
    });
}

EXPORTED Result cuEventDestroy_v2(Event handle) {
    return releasing("cuEventDestroy_v2", [&](Call& call) {
        return call.machine.events.remove(handle) == nullptr ? invalid_handle : success;
    });
}

EXPORTED Result cuEventRecord(Event handle, StreamHandle stream_handle) {
    return in_context("cuEventRecord", [&](Call& call) {
        const auto event = call.machine.events.find(handle);
        const auto stream = find_stream(call, stream_handle);
        if (event == nullptr || stream == nullptr || event->context != &stream->context) {
            return invalid_handle;
        }
        const auto [result, ending] =
            put(call, stream_handle,
                {.what = std::make_shared<const std::string>("record of an event")});
        if (result == success) event->recorded = ending;
        return result;
    });
}

EXPORTED Result cuEventQuery(Event handle) {
    return in_context("cuEventQuery", [&](Call& call) {
        const auto event = call.machine.events.find(handle);
        if (event == nullptr) return invalid_handle;
        if (disturbs_capture(call)) return capture_unsupported;
        if (event->context->sticky != success) return event->context->sticky;
        if (event->recorded == nullptr) return success;
        if (event->recorded->done) {
            call.machine.host_learns(event->recorded->clock);
            return success;
        }
        return call.machine.faults.strikes(Plant::early_event) ? success : not_ready;
    });
}
