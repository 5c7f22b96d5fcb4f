#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clock.hpp"
#include "results.hpp"

namespace fake_cuda {

/// Bytes that something reads or writes.
struct Access {
    Address begin;
    std::size_t bytes;
    bool writes;
};

/// What does it, for reports: "copy of 64 bytes on stream 0x2003".
using What = std::shared_ptr<const std::string>;

/// What has been done lately to the bytes of one allocation; finds races.
///
/// Two accesses of which one writes race unless one comes before the other: by the order of a
/// stream, by events, by what the host waited for.
class Accesses {
public:
    /// Something reads or writes these bytes, as the `clock.at(timeline)`th on its timeline, and
    /// with all that `clock` knows before it. Returns what it races with; null for nothing.
    [[nodiscard]] What add(const Access& access, Timeline timeline, const Clock& clock,
                           const What& what);

    /// How much there is to look through.
    [[nodiscard]] std::size_t size() const { return past_.size(); }
    /// Forgets what everything still to come knows of: each of the clocks does.
    void forget(const std::vector<const Clock*>& known_to_all);

private:
    struct Past {
        Access access;
        Timeline timeline;
        std::uint64_t tick;
        What what;
    };

    std::vector<Past> past_;
};

}  // namespace fake_cuda
