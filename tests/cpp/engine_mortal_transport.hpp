#pragma once

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "transport/transport.hpp"

namespace pycoll::test {

/// Tells when it is destroyed, and may say that it takes one thread only.
class MortalTransport final : public Transport {
public:
    MortalTransport(std::unique_ptr<Transport> inner, std::promise<void> died, bool any_thread)
        : inner_(std::move(inner)), died_(std::move(died)), any_thread_(any_thread) {}
    ~MortalTransport() override { died_.set_value(); }

    [[nodiscard]] int rank() const override { return inner_->rank(); }
    [[nodiscard]] int size() const override { return inner_->size(); }
    [[nodiscard]] int tag_count() const override { return inner_->tag_count(); }
    [[nodiscard]] std::string name() const override { return "mortal"; }
    [[nodiscard]] bool any_thread() const override { return any_thread_; }
    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override {
        inner_->send(peer, tag, bytes, token);
    }
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override {
        inner_->recv(peer, tag, bytes, token);
    }
    void poll(std::vector<Completion>& completions) override { inner_->poll(completions); }

private:
    std::unique_ptr<Transport> inner_;
    std::promise<void> died_;
    bool any_thread_;
};

}  // namespace pycoll::test
