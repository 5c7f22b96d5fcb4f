#include "bindings/collective_call.hpp"

#include <limits>
#include <string>
#include <utility>

#include "bindings/arguments.hpp"

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

/// The views of the arrays that this rank has to pass.
void view_arrays(const CollectiveArguments& arguments, Collective collective, bool is_root,
                 const char* out, Arrays& arrays) {
    const auto view = [](py::handle array, const char* argument) {
        if (array.is_none()) {
            throw py::type_error("'" + std::string(argument) +
                                 "' is missing; this rank must pass an array");
        }
        return view_array(array, argument);
    };
    const bool reads = has_input(collective, is_root);
    const bool writes = has_output(collective, is_root);
    if (reads) arrays.input = view(arguments.input, "array");
    if (!writes) return;
    const bool same = arguments.input.is(arguments.output);
    arrays.output = reads && same ? arrays.input : view(arguments.output, out);
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

Call collective_call(Collective collective, int rank, int size, CollectiveArguments arguments,
                     Arrays& arrays) {
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
    view_arrays(arguments, collective, is_root, out, arrays);
    call.dtype = has_input(collective, is_root) ? arrays.input.dtype : arrays.output.dtype;
    if (reduces(collective)) require_supported(call.op, call.dtype);
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
