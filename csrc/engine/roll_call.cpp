#include "engine/roll_call.hpp"

#include <utility>

#include "schedule/builder.hpp"

namespace pycoll {

Schedule roll_call(int rank, int size, std::uint64_t words) {
    const Request request{.collective = Collective::all_gather,
                          .rank = rank,
                          .size = size,
                          .count = words,
                          .in_place = true};
    ScheduleBuilder builder(request);
    const Blocks blocks = request.blocks();
    // Each starts with another one, so that not all write to the same rank at once.
    for (int k = 1; k < size; ++k) {
        const int from = (rank + size - k) % size;
        builder.recv(from, blocks.in(Buffer::output, from));
        builder.send((rank + k) % size, {Buffer::input, 0, words});
    }
    return std::move(builder).build();
}

}  // namespace pycoll
