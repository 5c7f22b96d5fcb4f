#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pycoll {

/// Names a message to whoever posted it.
struct Token {
    void* owner = nullptr;
    std::uint32_t step = 0;
};

struct Completion {
    Token token;
    /// Empty when the message went through.
    std::string error;
};

/// Moves bytes between the ranks of one communicator. Messages with the same sender, receiver and
/// tag arrive in the order in which they were posted.
///
/// Not thread-safe: one thread at a time calls into a transport.
class Transport {
public:
    Transport() = default;
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;
    virtual ~Transport() = default;

    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;
    /// Tags run from 0 up to, not including, this.
    [[nodiscard]] virtual int tag_count() const = 0;
    [[nodiscard]] virtual std::string name() const = 0;
    /// May any thread call in at any time (one at a time), so that a progress thread can help?
    [[nodiscard]] virtual bool any_thread() const = 0;

    /// May the bytes of messages lie in the memory of a GPU?
    [[nodiscard]] virtual bool takes_gpu_memory() const { return false; }

    /// Start a message. The bytes must stay put until poll() returns the token.
    virtual void send(int peer, int tag, std::span<const std::byte> bytes, Token token) = 0;
    virtual void recv(int peer, int tag, std::span<std::byte> bytes, Token token) = 0;

    /// Appends the messages that have completed since the last call. Never blocks.
    virtual void poll(std::vector<Completion>& completions) = 0;

    /// Lets the library beneath move along what others want of this process, though nothing is
    /// outstanding here. Never blocks.
    virtual void progress() {}
};

}  // namespace pycoll
