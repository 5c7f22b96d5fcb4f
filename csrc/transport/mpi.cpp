#include "transport/mpi.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string_view>

namespace pycoll {
namespace {

std::string error_text(int code) {
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(code, text.data(), &length);
    return {text.data(), static_cast<std::size_t>(length)};
}

void require(int code, const char* what) {
    if (code != MPI_SUCCESS) {
        throw std::runtime_error(std::string(what) + " failed: " + error_text(code));
    }
}

}  // namespace

MpiTransport::MpiTransport(MPI_Comm comm, std::size_t message_bytes)
    : comm_(comm), message_bytes_(message_bytes) {
    if (message_bytes < 1 || message_bytes > max_message_bytes) {
        throw std::invalid_argument("message_bytes is " + std::to_string(message_bytes) +
                                    "; it must be from 1 to " + std::to_string(max_message_bytes));
    }
    // Failures come back as codes; MPI's default would end the job.
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    int* upper_bound = nullptr;
    int found = 0;
    MPI_Comm_get_attr(comm_, MPI_TAG_UB, static_cast<void*>(&upper_bound), &found);
    // The standard promises at least 32767 (MPI 4.1, 9.1.2). 2^30 is plenty.
    tag_count_ = found != 0 ? std::min(*upper_bound, 1 << 30) : 32767;
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    any_thread_ = level == MPI_THREAD_MULTIPLE;
}

MpiTransport::~MpiTransport() {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized != 0) return;
    // MPI itself frees the communicator once messages still under way have completed.
    MPI_Comm_free(&comm_);
}

bool MpiTransport::takes_gpu_memory() const {
    if (const char* const wish = std::getenv("PYCOLL_CUDA_AWARE"); wish != nullptr) {
        const std::string_view text = wish;
        if (text == "1" || text == "0") return text == "1";
        if (!text.empty()) {
            throw std::invalid_argument("PYCOLL_CUDA_AWARE is '" + std::string(text) +
                                        "'; it must be 0 or 1");
        }
    }
    // An extension of Open MPI and MPICH: others do not have it.
    void* const query = dlsym(RTLD_DEFAULT, "MPIX_Query_cuda_support");
    return query != nullptr && reinterpret_cast<int (*)()>(query)() == 1;
}

std::uint32_t MpiTransport::new_message(int peer, Token token, std::uint32_t pieces) {
    if (free_messages_.empty()) {
        messages_.push_back({token, peer, pieces, false});
        return static_cast<std::uint32_t>(messages_.size() - 1);
    }
    const std::uint32_t slot = free_messages_.back();
    free_messages_.pop_back();
    messages_[slot] = {token, peer, pieces, false};
    return slot;
}

template <typename Start>
void MpiTransport::post(int peer, std::size_t bytes, bool is_recv, Token token, Start&& start) {
    // The last piece is shorter than the others, if need be empty: then lengths that differ between
    // the two ends always show.
    const std::size_t pieces = bytes / message_bytes_ + 1;
    const std::uint32_t message = new_message(peer, token, static_cast<std::uint32_t>(pieces));
    for (std::size_t i = 0; i < pieces; ++i) {
        const std::size_t offset = i * message_bytes_;
        const int length = static_cast<int>(std::min(bytes - offset, message_bytes_));
        MPI_Request request = MPI_REQUEST_NULL;
        require(start(offset, length, &request), is_recv ? "MPI_Irecv" : "MPI_Isend");
        requests_.push_back(request);
        pieces_.push_back({message, length, is_recv});
    }
}

void MpiTransport::send(int peer, int tag, std::span<const std::byte> bytes, Token token) {
    post(peer, bytes.size(), false, token,
         [&](std::size_t offset, int length, MPI_Request* request) {
             return MPI_Isend(bytes.data() + offset, length, MPI_BYTE, peer, tag, comm_, request);
         });
}

void MpiTransport::recv(int peer, int tag, std::span<std::byte> bytes, Token token) {
    post(peer, bytes.size(), true, token,
         [&](std::size_t offset, int length, MPI_Request* request) {
             return MPI_Irecv(bytes.data() + offset, length, MPI_BYTE, peer, tag, comm_, request);
         });
}

std::string MpiTransport::receive_error(const Piece& piece, const MPI_Status& status, int code) {
    int error_class = MPI_SUCCESS;
    if (code != MPI_SUCCESS) MPI_Error_class(code, &error_class);
    int received = piece.expected_bytes;
    if (code == MPI_SUCCESS) MPI_Get_count(&status, MPI_BYTE, &received);
    if (error_class == MPI_ERR_TRUNCATE || received != piece.expected_bytes) {
        const int peer = messages_[piece.message].peer;
        return "rank " + std::to_string(peer) + " sent " +
               (error_class == MPI_ERR_TRUNCATE ? "more" : "fewer") + " than the expected " +
               std::to_string(piece.expected_bytes) +
               " bytes; all ranks must make the same calls in the same order, with the same "
               "counts and data types";
    }
    return code == MPI_SUCCESS ? std::string() : error_text(code);
}

void MpiTransport::progress() {
    // Any call that looks for messages does; nobody sends any that this one would find.
    int found = 0;
    require(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, &found, MPI_STATUS_IGNORE),
            "MPI_Iprobe");
}

void MpiTransport::poll(std::vector<Completion>& completions) {
    if (requests_.empty()) return;
    const auto count = static_cast<int>(requests_.size());
    indices_.resize(requests_.size());
    statuses_.resize(requests_.size());
    int done = 0;
    const int code =
        MPI_Testsome(count, requests_.data(), &done, indices_.data(), statuses_.data());
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
        int error_class = MPI_SUCCESS;
        MPI_Error_class(code, &error_class);
        if (error_class != MPI_ERR_IN_STATUS) require(code, "MPI_Testsome");
    }
    if (done == MPI_UNDEFINED || done == 0) return;

    for (int i = 0; i < done; ++i) {
        const auto at = static_cast<std::size_t>(indices_[static_cast<std::size_t>(i)]);
        const MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
        const Piece& piece = pieces_[at];
        Message& message = messages_[piece.message];
        // MPI sets the error field of a status only when the call says that some status has one.
        const int failure = code == MPI_SUCCESS ? MPI_SUCCESS : status.MPI_ERROR;
        if (!message.failed) {
            std::string error;
            if (piece.is_recv) {
                error = receive_error(piece, status, failure);
            } else if (failure != MPI_SUCCESS) {
                error = error_text(failure);
            }
            message.failed = !error.empty();
            // At once: the pieces that are left may never come.
            if (message.failed) completions.push_back({message.token, std::move(error)});
        }
        if (--message.pieces == 0) {
            if (!message.failed) completions.push_back({message.token, {}});
            free_messages_.push_back(piece.message);
        }
    }
    // Fill the holes from the back, highest index first, so that no hole is moved.
    std::sort(indices_.begin(), indices_.begin() + done, std::greater<>());
    for (int i = 0; i < done; ++i) {
        const auto at = static_cast<std::size_t>(indices_[static_cast<std::size_t>(i)]);
        requests_[at] = requests_.back();
        pieces_[at] = pieces_.back();
        requests_.pop_back();
        pieces_.pop_back();
    }
}

}  // namespace pycoll
