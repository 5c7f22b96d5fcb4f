// What a rank does with arrays of peers that it does not see: the kernel copies from and to them.

#include <algorithm>
#include <cerrno>
#include <span>
#include <string>
#include <system_error>

#include "device/host/reduce.hpp"
#include "engine/errors.hpp"
#include "engine/execution.hpp"
#include "transport/shared/cma.hpp"

namespace pycoll {
namespace {

/// Throws CollectiveError, naming whose array it is, when `copy` throws std::system_error.
template <typename Copy>
void naming(int rank, const void* own, std::size_t bytes, Copy&& copy) {
    try {
        copy();
    } catch (const std::system_error& error) {
        const bool is_missing = error.code().value() == EFAULT;
        const bool is_own = is_missing && !cma::is_reached(own, bytes);
        throw CollectiveError("the kernel cannot copy from or to the array of " +
                              (is_own ? "this rank" : "rank " + std::to_string(rank)) + " (" +
                              error.code().message() + "); " +
                              (is_missing ? "if it is memory of a device, set PYCOLL_CMA=0"
                                          : "has that rank ended?"));
    }
}

}  // namespace

void Execution::read_across(const Plan::Place& from, void* into, std::size_t bytes) {
    naming(Plan::owner(from.base), into, bytes,
           [&] { cma::read(processes_[from.base], at(from), into, bytes); });
}

void Execution::write_across(const Plan::Place& into, const void* from, std::size_t bytes) {
    naming(Plan::owner(into.base), from, bytes,
           [&] { cma::write(processes_[into.base], at(into), from, bytes); });
}

std::byte* Execution::landing(std::size_t bytes) {
    if (landing_.size() < bytes) {
        means_->pool->give_back(std::move(landing_));
        landing_ = means_->pool->take(bytes);
    }
    return landing_.data();
}

/// What the step before has read in the same place, it need not read again: a broadcast copies the
/// root's array to one rank after the other.
void Execution::copy_across(const Plan::PlanStep& step) {
    const Plan::Place& from = plan_->places()[step.srcs];
    const bool is_written = is_across(step.dst);
    if (!is_across(from)) return write_across(step.dst, at(from), bytes(step));
    const bool is_here = last_read_ != nullptr && last_read_ + 1 == &step &&
                         last_read_->count == step.count &&
                         plan_->places()[last_read_->srcs] == from;
    if (!is_here || !is_written) {
        std::byte* const into = is_written ? landing(bytes(step)) : at(step.dst);
        read_across(from, into, bytes(step));
        read_to_ = into;
    }
    if (is_written) write_across(step.dst, read_to_, bytes(step));
    last_read_ = &step;
}

void Execution::fold_across(const Plan::PlanStep& step, std::uint32_t copies) {
    const std::size_t length = bytes(step);
    const std::span sources =
        std::span(plan_->places()).subspan(step.srcs, step.srcs_end - step.srcs);
    const auto arriving = static_cast<std::size_t>(
        std::ranges::count_if(sources, [&](const auto& from) { return is_across(from); }));
    // And the result, if no array of this process gets it.
    std::byte* free = landing((arriving + 1) * length);
    const auto taken = [&] {
        std::byte* const place = free;
        free += length;
        return place;
    };
    sources_.clear();
    for (const Plan::Place& from : sources) {
        if (!is_across(from)) {
            sources_.push_back(at(from));
            continue;
        }
        std::byte* const arrived = taken();
        read_across(from, arrived, length);
        sources_.push_back(arrived);
    }
    const std::span written(&step, 1 + copies);
    destinations_.clear();
    for (const Plan::PlanStep& to : written) {
        if (!is_across(to.dst)) destinations_.push_back(at(to.dst));
    }
    if (destinations_.empty()) destinations_.push_back(taken());
    host::reduce_many(operands_.dtype, operands_.op, destinations_, sources_, step.count,
                      static_cast<std::size_t>(plan_->size()), step.finish);
    for (const Plan::PlanStep& to : written) {
        if (is_across(to.dst)) write_across(to.dst, destinations_[0], length);
    }
}

}  // namespace pycoll
