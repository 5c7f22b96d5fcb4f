#include "transport/threads.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

namespace pycoll {

/// What lies between the ranks. One lock for all: whoever completes a match copies the message.
class ThreadGroup::Network {
public:
    Network(int size, const Options& options)
        : size_(size),
          options_(options),
          random_(options.seed),
          done_(static_cast<std::size_t>(size)) {}

    [[nodiscard]] int size() const { return size_; }
    [[nodiscard]] int tag_count() const { return options_.tag_count; }

    void send(int from, int to, int tag, std::span<const std::byte> bytes, Token token) {
        const std::lock_guard lock(mutex_);
        const Key key{from, to, tag};
        Sent& sent = mailboxes_[key].sent.emplace_back();
        sent.token = token;
        sent.waits = std::bernoulli_distribution(options_.rendezvous)(random_);
        if (sent.waits) {
            sent.bytes = bytes;
        } else {
            sent.buffered.assign(bytes.begin(), bytes.end());
            sent.bytes = sent.buffered;
            finish(from, token, {});
        }
        match(key);
    }

    void recv(int to, int from, int tag, std::span<std::byte> bytes, Token token) {
        const std::lock_guard lock(mutex_);
        const Key key{from, to, tag};
        mailboxes_[key].posted.push_back({bytes, token});
        match(key);
    }

    void poll(int rank, std::vector<Completion>& completions) {
        const std::lock_guard lock(mutex_);
        std::erase_if(done_[static_cast<std::size_t>(rank)], [&](Done& entry) {
            if (entry.polls_left-- > 0) return false;
            completions.push_back(std::move(entry.completion));
            return true;
        });
    }

private:
    struct Sent {
        std::vector<std::byte> buffered;
        std::span<const std::byte> bytes;
        Token token;
        bool waits = false;
    };
    struct Posted {
        std::span<std::byte> bytes;
        Token token;
    };
    struct Done {
        Completion completion;
        int polls_left;
    };
    using Key = std::tuple<int, int, int>;  // from, to, tag
    struct Mailbox {
        std::deque<Sent> sent;
        std::deque<Posted> posted;
    };

    void match(const Key& key) {
        const auto found = mailboxes_.find(key);
        auto& [sent, posted] = found->second;
        while (!sent.empty() && !posted.empty()) {
            const auto [from, to, tag] = key;
            const Sent& source = sent.front();
            const Posted& target = posted.front();
            std::string error;
            if (source.bytes.size() == target.bytes.size()) {
                std::ranges::copy(source.bytes, target.bytes.begin());
            } else {
                error = "rank " + std::to_string(from) + " sent " +
                        std::to_string(source.bytes.size()) + " instead of the expected " +
                        std::to_string(target.bytes.size()) + " bytes";
            }
            if (source.waits) finish(from, source.token, {});
            finish(to, target.token, std::move(error));
            sent.pop_front();
            posted.pop_front();
        }
        if (sent.empty() && posted.empty()) mailboxes_.erase(found);
    }

    void finish(int rank, Token token, std::string error) {
        const int delay = std::uniform_int_distribution(0, options_.max_delay_polls)(random_);
        done_[static_cast<std::size_t>(rank)].push_back({{token, std::move(error)}, delay});
    }

    const int size_;
    const Options options_;
    std::mutex mutex_;
    std::mt19937_64 random_;
    std::map<Key, Mailbox> mailboxes_;
    std::vector<std::vector<Done>> done_;
};

class ThreadGroup::Endpoint final : public Transport {
public:
    Endpoint(std::shared_ptr<Network> network, int rank)
        : network_(std::move(network)), rank_(rank) {}

    [[nodiscard]] int rank() const override { return rank_; }
    [[nodiscard]] int size() const override { return network_->size(); }
    [[nodiscard]] int tag_count() const override { return network_->tag_count(); }
    [[nodiscard]] std::string name() const override { return "threads"; }
    [[nodiscard]] bool any_thread() const override { return true; }

    void send(int peer, int tag, std::span<const std::byte> bytes, Token token) override {
        network_->send(rank_, peer, tag, bytes, token);
    }
    void recv(int peer, int tag, std::span<std::byte> bytes, Token token) override {
        network_->recv(rank_, peer, tag, bytes, token);
    }
    void poll(std::vector<Completion>& completions) override { network_->poll(rank_, completions); }

private:
    std::shared_ptr<Network> network_;
    int rank_;
};

ThreadGroup::ThreadGroup(int size, const Options& options)
    : network_(std::make_shared<Network>(size, options)) {}

std::unique_ptr<Transport> ThreadGroup::transport(int rank) const {
    return std::make_unique<Endpoint>(network_, rank);
}

}  // namespace pycoll
