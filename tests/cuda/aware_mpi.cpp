// Stands before MPI (LD_PRELOAD) and plays one that takes pointers to GPU memory: it hands the
// places on where the fake driver keeps it. Every message from or to memory that the driver knows
// is an access to it from Isend or Irecv on until Testsome has seen its end, for the driver's
// detector of races. With FAKE_CUDA_AWARE_MPI=0 it does only that.

#include <dlfcn.h>
#include <link.h>
#include <mpi.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/fake/fake_cuda.hpp"

namespace {

/// A function of a library that is loaded by now, whose file's name begins so; null for none. It
/// may have been loaded by dlopen(), so that its functions are none of the whole program's.
template <typename Function>
Function* find(std::string_view library, const char* name) {
    struct Search {
        std::string_view library;
        std::vector<std::string> paths;
    } search{library, {}};
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* data) {
            auto& wanted = *static_cast<Search*>(data);
            const std::string_view path(info->dlpi_name);
            const std::string_view file = path.substr(path.rfind('/') + 1);
            if (file.starts_with(wanted.library)) wanted.paths.emplace_back(path);
            return 0;
        },
        &search);
    for (const std::string& path : search.paths) {
        void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
        void* const function = handle == nullptr ? nullptr : dlsym(handle, name);
        if (function != nullptr) return reinterpret_cast<Function*>(function);
    }
    return nullptr;
}

/// The MPI's own function.
template <typename Function>
Function& of_mpi(const char* name) {
    auto* const function = find<Function>("libmpi", name);
    if (function == nullptr) {
        std::fprintf(stderr, "aware_mpi: there is no %s\n", name);
        std::abort();
    }
    return *function;
}

bool is_aware() {
    const char* const setting = std::getenv("FAKE_CUDA_AWARE_MPI");
    return setting == nullptr || std::strcmp(setting, "0") != 0;
}

/// What the driver offers beside CUDA; null members until it is loaded.
struct Driver {
    decltype(fake_cuda_alias)* alias;
    decltype(fake_cuda_access_begins)* begins;
    decltype(fake_cuda_access_ends)* ends;

    static Driver find_now() {
        constexpr std::string_view library = "libcuda.so.1";
        return {find<decltype(fake_cuda_alias)>(library, "fake_cuda_alias"),
                find<decltype(fake_cuda_access_begins)>(library, "fake_cuda_access_begins"),
                find<decltype(fake_cuda_access_ends)>(library, "fake_cuda_access_ends")};
    }
};

/// What is known of the messages that are under way.
struct Messages {
    std::mutex mutex;
    Driver driver = Driver::find_now();
    /// What the driver calls their accesses. Sends that were over at once may share a handle.
    std::multimap<MPI_Request, std::uint64_t> accesses;

    static Messages& instance() {
        static auto& messages = *new Messages();
        return messages;
    }
};

/// Starts a message by `start(buffer)`.
template <typename Buffer, typename Start>
int message(Buffer* buffer, int count, MPI_Datatype type, bool writes, MPI_Request* request,
            Start&& start) {
    Messages& messages = Messages::instance();
    const std::lock_guard lock(messages.mutex);
    Driver& driver = messages.driver;
    if (driver.alias == nullptr) driver = Driver::find_now();
    // Until it is loaded, there is no memory that it knows.
    if (driver.alias == nullptr) return start(buffer);
    int size = 0;
    of_mpi<decltype(PMPI_Type_size)>("PMPI_Type_size")(type, &size);
    const std::uint64_t access =
        driver.begins(buffer, static_cast<std::size_t>(count) * static_cast<std::size_t>(size),
                      writes, writes ? "a message that arrives" : "a message that is sent");
    Buffer* const place = is_aware() ? static_cast<Buffer*>(driver.alias(buffer)) : nullptr;
    const int result = start(place == nullptr ? buffer : place);
    if (access == 0) return result;
    if (result == MPI_SUCCESS) {
        messages.accesses.emplace(*request, access);
    } else {
        driver.ends(access);
    }
    return result;
}

}  // namespace

extern "C" {

int MPI_Isend(const void* buffer, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm,
              MPI_Request* request) {
    static auto& isend = of_mpi<decltype(PMPI_Isend)>("PMPI_Isend");
    return message(buffer, count, type, false, request, [&](const void* place) {
        return isend(place, count, type, peer, tag, comm, request);
    });
}

int MPI_Irecv(void* buffer, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm,
              MPI_Request* request) {
    static auto& irecv = of_mpi<decltype(PMPI_Irecv)>("PMPI_Irecv");
    return message(buffer, count, type, true, request, [&](void* place) {
        return irecv(place, count, type, peer, tag, comm, request);
    });
}

int MPI_Testsome(int count, MPI_Request* requests, int* done, int* indices, MPI_Status* statuses) {
    static auto& testsome = of_mpi<decltype(PMPI_Testsome)>("PMPI_Testsome");
    const std::vector<MPI_Request> before(requests, requests + count);
    const int result = testsome(count, requests, done, indices, statuses);
    Messages& messages = Messages::instance();
    const std::lock_guard lock(messages.mutex);
    if (messages.accesses.empty() || *done == MPI_UNDEFINED) return result;
    for (int i = 0; i < *done; ++i) {
        const MPI_Request request = before[static_cast<std::size_t>(indices[i])];
        // Which of those with this handle it is cannot be told. All are over, if there are several:
        // to end another one, of another communicator, would leave this one to race with what is
        // next.
        const auto [begin, end] = messages.accesses.equal_range(request);
        std::for_each(begin, end, [&](const auto& each) { messages.driver.ends(each.second); });
        messages.accesses.erase(begin, end);
    }
    return result;
}

int MPIX_Query_cuda_support() { return is_aware() ? 1 : 0; }
}
