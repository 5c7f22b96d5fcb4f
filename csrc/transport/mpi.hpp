#pragma once

#include <mpi.h>

#include <vector>

#include "transport/transport.hpp"

namespace pycoll {

/// MPI point-to-point messages on a communicator of their own, so that they never meet the
/// application's messages.
class MpiTransport final : public Transport {
public:
    /// The most bytes one MPI message carries: `int` counts end at 2^31 - 1.
    static constexpr std::size_t max_message_bytes = std::size_t{1} << 30;

    /// Takes over `comm`, on which nobody else may send point-to-point messages, and frees it in
    /// the end. Longer messages than `message_bytes`, the same on all ranks, are cut. Throws
    /// std::invalid_argument unless that is from 1 to max_message_bytes.
    explicit MpiTransport(MPI_Comm comm, std::size_t message_bytes = max_message_bytes);
    ~MpiTransport() override;

    [[nodiscard]] int rank() const override { return rank_; }
    [[nodiscard]] int size() const override { return size_; }
    [[nodiscard]] int tag_count() const override { return tag_count_; }
    [[nodiscard]] std::string name() const override { return "mpi"; }
    [[nodiscard]] bool any_thread() const override { return any_thread_; }
    /// If the library says that it was built so (MPIX_Query_cuda_support), or the environment
    /// variable PYCOLL_CUDA_AWARE is 1; not if it is 0.
    [[nodiscard]] bool takes_gpu_memory() const override;

    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override;
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override;
    void poll(std::vector<Completion>& completions) override;
    void progress() override;

private:
    /// One MPI request: a message, or one piece of a message that is too long for one.
    struct Piece {
        std::uint32_t message;
        int expected_bytes;
        bool is_recv;
    };
    struct Message {
        Token token;
        int peer;
        std::uint32_t pieces;
        bool failed;
    };

    template <typename Start>
    void post(int peer, std::size_t bytes, bool is_recv, Token token, Start&& start);
    std::uint32_t new_message(int peer, Token token, std::uint32_t pieces);
    [[nodiscard]] std::string receive_error(const Piece& piece, const MPI_Status& status, int code);

    MPI_Comm comm_ = MPI_COMM_NULL;
    std::size_t message_bytes_;
    int rank_ = 0;
    int size_ = 1;
    int tag_count_ = 0;
    bool any_thread_ = false;
    // Parallel arrays: MPI_Testsome wants the requests side by side.
    std::vector<MPI_Request> requests_;
    std::vector<Piece> pieces_;
    std::vector<Message> messages_;
    std::vector<std::uint32_t> free_messages_;
    std::vector<int> indices_;
    std::vector<MPI_Status> statuses_;
};

}  // namespace pycoll
