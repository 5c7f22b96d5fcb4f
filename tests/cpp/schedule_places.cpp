#include "schedule_places.hpp"

#include <cstddef>

namespace pycoll::test {
namespace {

bool shares_memory(const Request& request) {
    return request.in_place && (!rooted(request.collective) || request.is_root());
}

}  // namespace

Slice input_place(const Request& request) {
    if (shares_memory(request)) {
        switch (request.collective) {
            case Collective::all_gather:
            case Collective::gather:
                return request.blocks().in(Buffer::output, request.rank);
            case Collective::all_reduce:
            case Collective::reduce:
            case Collective::broadcast:
                return output_place(request);
            default:
                break;
        }
    }
    return {Buffer::input, 0, request.input_count()};
}

Slice output_place(const Request& request) {
    if (shares_memory(request) && (request.collective == Collective::reduce_scatter ||
                                   request.collective == Collective::scatter)) {
        return request.blocks().in(Buffer::input, request.rank);
    }
    return {Buffer::output, 0, request.output_count()};
}

Slice real_place(const std::vector<Request>& requests, int rank, const Slice& slice) {
    if (slice.owner == Slice::own) return slice.of(rank);
    Slice place{slice.buffer, 0, 0};
    const Request& owner = requests[static_cast<std::size_t>(slice.owner)];
    if (slice.buffer == Buffer::input) place = input_place(owner);
    if (slice.buffer == Buffer::output) place = output_place(owner);
    return {place.buffer, place.offset + slice.offset, slice.count, slice.owner};
}

}  // namespace pycoll::test
