#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/call.hpp"
#include "engine/caller.hpp"
#include "engine/errors.hpp"
#include "engine/execution.hpp"
#include "engine/gpu_side.hpp"
#include "engine/neighbours.hpp"
#include "engine/patience.hpp"
#include "engine/plan_cache.hpp"
#include "engine/prepared_call.hpp"
#include "engine/queue.hpp"
#include "engine/signature.hpp"
#include "engine/work.hpp"
#include "schedule/price.hpp"
#include "transport/transport.hpp"

namespace pycoll {

/// Runs collective calls over a transport. All members may be called from any thread; calls on
/// one communicator must be made in the same order on all ranks. To be owned by a shared_ptr.
///
/// One lock guards everything. Whoever waits polls the transport, and so does the progress thread
/// when nobody waits; an operation that completes is handed to its waiters by its done flag, which
/// they read without the lock. No array is released while the lock is held: that may take another
/// lock (Python's), whose holder may want this one.
class Communicator : public std::enable_shared_from_this<Communicator> {
public:
    struct Options {
        /// How long any operation may take before the communicator gives up on it.
        std::chrono::nanoseconds timeout = std::chrono::minutes(10);
        /// Do the ranks of this host outnumber its cores?
        bool oversubscribed = false;
        CostModel model = {};
        Wishes wishes = {};
        /// The number of each rank's node, where there are several and the ranks of each share
        /// memory; else empty.
        std::vector<int> nodes = {};
        /// Are ranks that share no memory to see, too, whether all make the same calls? Costs each
        /// rank a short message to every other one, and one from it, before every call.
        bool checks_calls = false;
        /// May the kernel copy between the arrays of the ranks of this node?
        bool copies_across = false;
        /// May ranks of one node see each other's GPUs, if they can?
        bool shares_gpus = true;
    };

    /// `neighbours` may be null where Options::nodes is empty: then ranks of one node do not share
    /// memory. Throws std::invalid_argument for a transport with fewer than two tags, and for
    /// neighbours that are not those of this rank's node.
    Communicator(std::unique_ptr<Transport> transport, const Options& options,
                 std::unique_ptr<Neighbours> neighbours = nullptr);
    ~Communicator();
    Communicator(const Communicator&) = delete;
    Communicator& operator=(const Communicator&) = delete;

    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return size_; }
    [[nodiscard]] const std::string& transport_name() const { return transport_name_; }
    /// May several threads call in at once? If not, the caller must see to it that none do, over
    /// all communicators of the process.
    [[nodiscard]] bool any_thread() const { return any_thread_; }
    /// User tags run from 0 up to, not including, this.
    [[nodiscard]] int user_tags() const { return tags_ - collective_tags_; }

    /// Works out all of a call on arrays of the host that is the same when it is made again. Throws
    /// std::invalid_argument. Nobody hears of it.
    [[nodiscard]] std::shared_ptr<const PreparedCall> prepare(const Call& call);
    /// Runs a call that was prepared here to its end, with arrays that it fits(), which live until
    /// then: see Caller for longer. The caller lets go of things at once, unless the call is short,
    /// sends no messages and is all there is to do; or else when it has to wait for long.
    void run(const std::shared_ptr<const PreparedCall>& call, const void* input, void* output,
             Caller& caller);

    /// Runs a call to its end. `keep_alive` holds the memory of the call: if it fails, messages
    /// under way may still write there, and it is never let go of.
    void run(const Call& call, std::shared_ptr<void> keep_alive = nullptr);
    /// Starts a call. `keep_alive` is let go of when the call is over and its handle has seen it
    /// (by the thread that asked) or is gone (by any thread); never, if it failed.
    [[nodiscard]] Work start(const Call& call, std::shared_ptr<void> keep_alive);

    [[nodiscard]] Work send(std::span<const std::byte> bytes, int peer, int tag,
                            std::shared_ptr<void> keep_alive,
                            const std::optional<OnGpu>& gpu = std::nullopt);
    [[nodiscard]] Work recv(std::span<std::byte> bytes, int peer, int tag,
                            std::shared_ptr<void> keep_alive,
                            const std::optional<OnGpu>& gpu = std::nullopt);

    /// Which algorithm a call would use, with its chunk in bytes, if the arrays of all ranks are
    /// registered, and if they are not.
    [[nodiscard]] std::pair<std::string, std::uint64_t> chosen(const Call& call, bool registered);

    /// The GPU that operations have used; nothing before the first one.
    [[nodiscard]] std::optional<int> gpu();

    /// Bytes of all messages that this rank has sent: what went through shared memory is not in it.
    [[nodiscard]] std::uint64_t sent_bytes() const {
        return sent_bytes_.load(std::memory_order_relaxed);
    }

    /// Refuses calls from now on, waits for what is outstanding and gives the transport back.
    void close();
    [[nodiscard]] bool closed() const { return closed_.load(std::memory_order_relaxed); }

    enum class Help : std::uint8_t { idle, waiting, moved };
    /// Moves things along, unless a thread that waits here does so already. Never blocks. `idle`
    /// when nothing is outstanding.
    [[nodiscard]] Help help();

private:
    friend class Work;
    friend std::vector<std::size_t> wait_some(std::span<const Work> works,
                                              std::optional<std::chrono::nanoseconds> timeout);
    using Lock = std::unique_lock<std::mutex>;
    using Condition = bool (Communicator::*)() const;
    using Executions = std::vector<std::shared_ptr<Execution>>;
    /// What the lock must not be held for: dropping the last references to executions that keep
    /// arrays.
    using Garbage = std::vector<std::shared_ptr<Execution>>;

    [[nodiscard]] std::shared_ptr<Execution> begin(const Call& call,
                                                   std::shared_ptr<void> keep_alive);
    [[nodiscard]] Work message(StepKind kind, std::size_t bytes, int peer, int tag,
                               const Execution::Operands& operands,
                               std::shared_ptr<void> keep_alive, const std::optional<OnGpu>& gpu);
    /// Begins with `how(execution)`.
    template <typename How>
    [[nodiscard]] std::shared_ptr<Execution> launch(const Execution::Label& label,
                                                    const Execution::Operands& operands, int tag,
                                                    std::unique_ptr<GpuRun> gpu,
                                                    std::shared_ptr<void> keep_alive, How&& how);
    /// Throws CudaError, and std::invalid_argument for another GPU than that of earlier operations.
    void use_gpu(int ordinal);
    /// Sees to it that all ranks know of each other's GPUs. They are about to make the same call.
    void get_introduced(const Call& call, Lock& lock);
    [[nodiscard]] std::unique_ptr<GpuRun> prepare_gpu(
        const OnGpu& where, std::initializer_list<std::shared_ptr<const Plan>> plans, Lock& lock);
    void offer_gpu(Lock& lock);
    [[nodiscard]] bool nobody_gets_introduced() const { return !gets_introduced_; }
    /// A collective call on its way in. Where ranks share a node, or check their calls by messages,
    /// they enter calls one after the other, and see whether they have made the same one.
    struct Entry {
        enum class Stage : std::uint8_t {
            queued,
            checking,     ///< all ranks show each other what they call
            comparing,    ///< their counts do not fit: they show each other which
            holding,      ///< neighbours may be too far behind
            meeting,      ///< the ranks of the node wait for each other
            introducing,  ///< all ranks show each other what they have of their GPUs
            confirming,   ///< and whether they can see that
            running,      ///< the plan of the call is under way
        };
        std::shared_ptr<Execution> execution;
        /// Null for what only goes before the first call on GPUs, by which ranks learn of them.
        std::shared_ptr<const PreparedCall> call;
        SharedNode::Post post;
        SharedNode::Place input;
        SharedNode::Place output;
        Stage stage = Stage::queued;
        /// For neighbours that were too far behind?
        bool has_waited = false;

        [[nodiscard]] bool introduces_gpus() const { return call == nullptr; }
        [[nodiscard]] bool has_own_counts() const {
            return call != nullptr && !call->counts.empty();
        }
    };
    [[nodiscard]] Request request_of(const Call& call) const;
    /// With the lock.
    [[nodiscard]] std::shared_ptr<const PreparedCall> prepare(const Request& request,
                                                              const Call& call);
    /// Starts a call with its arrays there.
    [[nodiscard]] std::shared_ptr<Execution> enter(std::shared_ptr<const PreparedCall> call,
                                                   const void* input, void* output,
                                                   std::unique_ptr<GpuRun> gpu,
                                                   std::shared_ptr<void> keep_alive);
    /// True if anything moved.
    bool advance_entries();
    /// From one stage to the next. Throws CollectiveError when not all have made the same call.
    void go_on(Entry& entry);
    void show(const Entry& entry, std::span<const std::uint64_t> words);
    void show_counts(Entry& entry);
    void enter_node(Entry& entry);
    void look_for_owed();
    [[nodiscard]] Awaited awaited(const Entry& entry) const;
    [[nodiscard]] static bool takes_turns(const PreparedCall& call);
    [[nodiscard]] static std::uint64_t most_behind(const Entry& entry);
    /// How many calls others may be behind without a look at how many they are. For that is to
    /// fetch lines that they are about to write: not in every call.
    static constexpr std::uint64_t most_unseen = SharedNode::most_ahead / 2;
    [[nodiscard]] bool may_enter(Entry& entry);
    [[nodiscard]] static bool may_run_ahead(const PreparedCall& call);
    [[nodiscard]] Execution::Entry entry_of(const PreparedCall& call) const;
    void introduce_gpu(Entry& entry);
    void look_at_gpus(Entry& entry);
    void agree_on_gpus(Entry& entry);
    [[nodiscard]] const std::shared_ptr<const Plan>& plan_after_meeting(const Entry& entry) const;
    /// What ranks see of each other, at best; and if some array is not registered.
    [[nodiscard]] Reach reach() const;
    [[nodiscard]] Reach private_reach() const;
    [[nodiscard]] bool next_tag_is_free() const;
    /// Of the collective call with that number.
    [[nodiscard]] int tag_of(std::uint64_t sequence) const {
        return static_cast<int>(sequence % static_cast<std::uint64_t>(collective_tags_));
    }
    [[nodiscard]] bool nothing_is_outstanding() const { return active_.empty(); }
    void require_usable() const;

    /// Starts messages whose turn it is: those to be sent from a GPU, or received there, may have
    /// to wait for what comes before them, and none with the same peer and direction overtakes
    /// them. True if any started.
    bool start_messages(const Execution*& culprit);
    /// True if anything moved.
    bool poll_gpu(const Execution*& culprit);

    // Waiting, without the lock.
    void wait(Execution& execution, std::optional<std::chrono::nanoseconds> timeout);
    [[nodiscard]] std::vector<std::size_t> wait_some(
        std::span<Execution* const> executions, std::optional<std::chrono::nanoseconds> timeout);
    [[nodiscard]] bool test(Execution& execution);
    void order(Execution& execution, cuda::Stream stream);
    /// One look of a thread that waits, and a pause if nothing moved.
    void attend(Patience& patience);
    void pause(Patience& patience);
    /// Until what it waits for may have come, or the time is over.
    void sleep(std::chrono::nanoseconds longest);
    /// Takes the right to sleep until signals that are waited for have come. With the lock.
    [[nodiscard]] bool prepare_sleep();
    /// True if anything moved.
    bool try_progress();
    /// Waits, unlocking meanwhile, until `over`.
    void wait_until(Lock& lock, Condition over);

    // With the lock.
    [[nodiscard]] bool is_brief(const PreparedCall& call) const;
    [[nodiscard]] bool enters_at_once(const PreparedCall& call) const;
    /// Runs a call as far as it comes without a long wait. Nobody knows of it but this thread,
    /// until join_others(). True if it is over.
    [[nodiscard]] bool run_at_once(const std::shared_ptr<const PreparedCall>& call,
                                   const void* input, void* output);
    /// Waits while it may not take long. True if it is over.
    [[nodiscard]] bool ends_soon(Execution& execution) const;
    /// The same without letting others have the core.
    [[nodiscard]] bool spin(Execution& execution) const;
    /// From here on, what run_at_once() has begun is one of those that are outstanding.
    std::shared_ptr<Execution> join_others(const std::shared_ptr<const PreparedCall>& call);
    [[nodiscard]] static Execution::Label label_of(const PreparedCall& call,
                                                   std::uint64_t sequence);
    [[nodiscard]] Clock::time_point deadline() const;
    /// Waits for the end of a run of a prepared call, and lets others have the lock then. Throws
    /// what it failed with.
    void see_through(const PreparedCall& call, std::shared_ptr<Execution> execution, Lock&& given,
                     Caller& caller);
    /// Until it is done. With the lock, but for the pauses between looks; the caller lets go before
    /// it waits for the lock.
    void wait_pausing(const Execution& execution, Lock& lock, Garbage& garbage, Caller& caller);
    /// Takes what the transport has completed and gives up on what is past its deadline.
    bool progress(Garbage& garbage);
    void retire(Garbage& garbage);
    /// Fails everything outstanding and refuses every later call. `culprit` may be null.
    void break_off(const Execution* culprit, const Failure& failure);
    [[nodiscard]] std::string waits_for(const Execution& execution) const;
    /// Those that have not come to the call that is entering, and where they were last seen.
    [[nodiscard]] std::string missing_ranks(const Entry& entry) const;
    [[nodiscard]] std::string who() const { return "rank " + std::to_string(rank_) + ": "; }

    const Options options_;
    const int rank_;
    const int size_;
    const bool any_thread_;
    const int tags_;
    const int collective_tags_;
    const std::string transport_name_;

    std::atomic<bool> closed_ = false;
    /// Threads waiting here.
    std::atomic<int> attending_ = 0;
    std::atomic<bool> long_waits_ = false;
    /// What the call at the front waits for.
    std::atomic<Awaited> awaited_ = Awaited::other;
    std::atomic<std::uint64_t> sent_bytes_ = 0;

    std::mutex mutex_;
    std::unique_ptr<Transport> transport_;
    /// Threads that sleep on its doorbell keep it.
    std::shared_ptr<Neighbours> neighbours_;
    /// Do all ranks show each other what they call, as they do not all share a node?
    const bool shows_calls_;
    /// The last call that all ranks have shown; nothing at the start.
    std::optional<SharedNode::Post> last_shown_;
    std::vector<SharedNode::Post> posts_;
    BufferPool pool_;
    const Execution::Means means_;
    PlanCache plans_;
    /// From the first operation on a GPU on.
    std::shared_ptr<GpuSide> gpu_;
    /// Calls wait meanwhile.
    bool gets_introduced_ = false;
    /// While ranks get introduced.
    std::unique_ptr<GpuNode> offered_;
    struct WaitingMessage {
        StepKind kind;
        int peer;
        std::shared_ptr<Execution> execution;
        /// Null once it has begun: then it is on its way to where it can be sent.
        std::shared_ptr<const Plan> plan;
    };
    std::deque<WaitingMessage> messages_;
    /// What is outstanding, in the order in which it was started, hence of the deadlines.
    Executions active_;
    /// Those of them that are on their way in, the first of which is entering.
    Queue<Entry> entries_;
    /// Calls that ran ahead since this rank last slept, and waited for nobody.
    std::uint64_t calls_at_once_ = 0;
    /// Given up on: their memory may still be written by messages under way.
    Executions abandoned_;
    /// Of calls that are over, for those to come.
    std::vector<std::shared_ptr<Execution>> spare_;
    std::vector<Completion> completions_;
    std::uint64_t sequence_ = 0;
    std::string broken_;
};

}  // namespace pycoll
