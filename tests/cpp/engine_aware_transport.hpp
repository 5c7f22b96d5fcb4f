#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/fake/fake_cuda.hpp"
#include "transport/transport.hpp"

namespace pycoll::test {

/// Takes messages in the memory of fake GPUs, as a CUDA-aware MPI does, and tells the driver when
/// it reads and writes there: who else touches that meanwhile is found out.
class AwareTransport final : public Transport {
public:
    explicit AwareTransport(std::unique_ptr<Transport> inner) : inner_(std::move(inner)) {}

    [[nodiscard]] int rank() const override { return inner_->rank(); }
    [[nodiscard]] int size() const override { return inner_->size(); }
    [[nodiscard]] int tag_count() const override { return inner_->tag_count(); }
    [[nodiscard]] std::string name() const override { return "aware"; }
    [[nodiscard]] bool any_thread() const override { return true; }
    [[nodiscard]] bool takes_gpu_memory() const override { return true; }

    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override {
        begin(token, bytes, false);
        inner_->send(peer, tag, {seen(bytes.data()), bytes.size()}, token);
    }
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override {
        begin(token, bytes, true);
        inner_->recv(peer, tag, {seen(bytes.data()), bytes.size()}, token);
    }
    void poll(std::vector<Completion>& completions) override {
        const std::size_t before = completions.size();
        inner_->poll(completions);
        for (std::size_t i = before; i < completions.size(); ++i) {
            const Token& token = completions[i].token;
            const auto access = accesses_.find({token.owner, token.step});
            if (access == accesses_.end()) continue;
            fake_cuda_access_ends(access->second);
            accesses_.erase(access);
        }
    }

private:
    static std::byte* seen(const std::byte* memory) {
        void* const alias = fake_cuda_alias(memory);
        return alias != nullptr ? static_cast<std::byte*>(alias) : const_cast<std::byte*>(memory);
    }
    void begin(const Token& token, std::span<const std::byte> bytes, bool writes) {
        if (bytes.empty() || fake_cuda_alias(bytes.data()) == nullptr) return;
        accesses_[{token.owner, token.step}] =
            fake_cuda_access_begins(bytes.data(), bytes.size(), writes ? 1 : 0, "a message");
    }

    std::unique_ptr<Transport> inner_;
    std::map<std::pair<void*, std::uint32_t>, std::uint64_t> accesses_;
};

}  // namespace pycoll::test
