#include "bindings/collective_call.hpp"

#include <limits>
#include <string>
#include <utility>

#include "bindings/arguments.hpp"
#include "bindings/placement.hpp"
#include "bindings/stream_argument.hpp"
#include "device/cuda/kernels.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

bool has_input(Collective collective, bool is_root) {
    if (collective == Collective::broadcast || collective == Collective::scatter) return is_root;
    return collective != Collective::barrier;
}

bool has_output(Collective collective, bool is_root) {
    if (collective == Collective::reduce || collective == Collective::gather) return is_root;
    return collective != Collective::barrier;
}

/// The views of the arrays that this rank has to pass, and where they lie.
std::optional<OnGpu> view_arrays(const CollectiveArguments& arguments, Collective collective,
                                 bool is_root, const char* out, Communicator& communicator,
                                 Arrays& arrays) {
    const auto stream = stream_argument(arguments.stream);
    const auto view = [&](py::handle array, const char* argument, bool is_new) {
        if (array.is_none()) {
            throw py::type_error("'" + std::string(argument) +
                                 "' is missing; this rank must pass an array");
        }
        return view_array(array, argument, is_new ? std::nullopt : stream);
    };
    const bool reads = has_input(collective, is_root);
    const bool writes = has_output(collective, is_root);
    if (reads) arrays.input = view(arguments.input, "array", false);
    if (!writes) return place_of({{"array", arrays.input}}, stream, communicator);
    const bool same = arguments.input.is(arguments.output);
    arrays.output =
        reads && same ? arrays.input : view(arguments.output, out, arguments.output_is_new);
    // The root of a broadcast only reads its array.
    const bool written = !same || collective != Collective::broadcast;
    if (written && !arrays.output.writable) {
        throw py::value_error("'" + std::string(out) + "' is read-only; pass a writable array");
    }
    if (reads && arrays.input.dtype != arrays.output.dtype) {
        throw py::type_error("'" + std::string(out) + "' is " +
                             std::string(name(arrays.output.dtype)) + ", but 'array' is " +
                             std::string(name(arrays.input.dtype)) + "; pass one of that dtype");
    }
    if (!reads) return place_of({{out, arrays.output}}, stream, communicator);
    return place_of({{"array", arrays.input}, {out, arrays.output}}, stream, communicator);
}

void require_supported(ReduceOp op, DType dtype) {
    if (supports(op, dtype)) return;
    std::string supported;
    for (std::size_t i = 0; i < reduce_op_names.size(); ++i) {
        if (!supports(static_cast<ReduceOp>(i), dtype)) continue;
        supported += (supported.empty() ? "" : ", ") + std::string(reduce_op_names[i]);
    }
    throw py::value_error("'op' is '" + std::string(name(op)) +
                          "', which is not defined for dtype " + std::string(name(dtype)) +
                          "; pass one of " + supported);
}

void require_kernels(const std::optional<OnGpu>& gpu) {
    if (!gpu || !cuda::kernel_image().empty()) return;
    throw py::type_error(
        "'array' lies on a GPU, and this build of pycoll has no kernels for GPUs; install it again "
        "where there is a CUDA toolkit (nvcc), see docs/gpu.md");
}

/// The count of a call, from whichever array has it.
std::uint64_t count_of(Collective collective, const Arrays& arrays, std::uint64_t size,
                       bool without_counts) {
    switch (collective) {
        case Collective::all_reduce:
        case Collective::reduce:
        case Collective::all_gather:
        case Collective::gather:
            return arrays.input.count;
        case Collective::broadcast:
        case Collective::reduce_scatter:
        case Collective::scatter:
            return arrays.output.count;
        case Collective::all_to_all:
            if (arrays.input.count % size != 0 && without_counts) {
                throw py::value_error("'array' has " + std::to_string(arrays.input.count) +
                                      " elements, which " + std::to_string(size) +
                                      " ranks cannot share evenly; pad it, or use all_to_all_v");
            }
            return arrays.input.count / size;
        case Collective::barrier:
            break;
    }
    return 0;
}

void require_count(const ArrayView& view, std::uint64_t needed, const char* argument) {
    if (view.count == needed) return;
    throw py::value_error("'" + std::string(argument) + "' has " + std::to_string(view.count) +
                          " elements; pass one of " + std::to_string(needed));
}

}  // namespace

std::shared_ptr<Arrays> shared_arrays() {
    return {new Arrays, [](Arrays* arrays) {
                const py::gil_scoped_acquire gil;
                delete arrays;
            }};
}

Call collective_call(Collective collective, Communicator& communicator,
                     CollectiveArguments arguments, Arrays& arrays) {
    const int rank = communicator.rank();
    const int size = communicator.size();
    Call call{.collective = collective, .root = arguments.root};
    const std::string op = text_argument(arguments.op, "op");
    const auto parsed = parse_reduce_op(op);
    if (!parsed) {
        throw py::value_error("'op' is '" + op +
                              "'; pass sum, prod, min, max, avg, band, bor or bxor");
    }
    call.op = *parsed;
    call.algorithm = text_argument(arguments.algorithm, "algorithm");
    call.chunk_bytes = static_cast<std::uint64_t>(integer_argument(
        arguments.chunk_bytes, "chunk_bytes", 0, std::numeric_limits<std::int64_t>::max()));
    if (collective == Collective::barrier) return call;

    const bool is_root = rank == call.root;
    // The name by which the caller knows the array that is written.
    const char* const out =
        collective == Collective::broadcast || arguments.input.is(arguments.output) ? "array"
                                                                                    : "out";
    call.gpu = view_arrays(arguments, collective, is_root, out, communicator, arrays);
    call.dtype = has_input(collective, is_root) ? arrays.input.dtype : arrays.output.dtype;
    if (reduces(collective)) {
        require_supported(call.op, call.dtype);
        require_kernels(call.gpu);
    }
    call.count = count_of(collective, arrays, static_cast<std::uint64_t>(size), !arguments.counts);
    call.input = arrays.input.data;
    call.output = arrays.output.data;
    if (arguments.counts) call.counts = *std::move(arguments.counts);
    if (arguments.recv_counts) call.recv_counts = *std::move(arguments.recv_counts);

    const Request request{.collective = collective,
                          .rank = rank,
                          .size = size,
                          .count = call.count,
                          .root = call.root,
                          .counts = call.counts,
                          .recv_counts = call.recv_counts};
    check(request);
    require_count(arrays.input, request.input_count(), "array");
    require_count(arrays.output, request.output_count(), out);
    return call;
}

}  // namespace pycoll
