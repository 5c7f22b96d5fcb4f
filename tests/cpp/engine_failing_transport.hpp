#pragma once

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "transport/transport.hpp"

namespace pycoll::test {

enum class Fault : std::uint8_t { none, send_throws, out_of_memory, poll_throws, message_fails };

/// Passes everything on to another transport, until a fault is switched on.
class FailingTransport final : public Transport {
public:
    FailingTransport(std::unique_ptr<Transport> inner, std::shared_ptr<std::atomic<Fault>> fault)
        : inner_(std::move(inner)), fault_(std::move(fault)) {}

    [[nodiscard]] int rank() const override { return inner_->rank(); }
    [[nodiscard]] int size() const override { return inner_->size(); }
    [[nodiscard]] int tag_count() const override { return inner_->tag_count(); }
    [[nodiscard]] std::string name() const override { return "failing"; }
    [[nodiscard]] bool any_thread() const override { return true; }

    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override {
        if (*fault_ == Fault::send_throws) throw std::runtime_error("the wire is cut");
        if (*fault_ == Fault::out_of_memory) throw std::bad_alloc();
        inner_->send(peer, tag, bytes, token);
    }
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override {
        inner_->recv(peer, tag, bytes, token);
    }
    void poll(std::vector<Completion>& completions) override {
        if (*fault_ == Fault::poll_throws) throw std::runtime_error("the card is gone");
        inner_->poll(completions);
        if (*fault_ == Fault::message_fails && !completions.empty()) {
            completions.front().error = "a bit has flipped";
        }
    }

private:
    std::unique_ptr<Transport> inner_;
    std::shared_ptr<std::atomic<Fault>> fault_;
};

}  // namespace pycoll::test
