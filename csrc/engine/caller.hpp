#pragma once

namespace pycoll {

/// The thread that makes a call and waits for its end, as far as the engine has to do with it.
class Caller {
public:
    Caller() = default;
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;

    /// The wait may take long: lets go of what other threads of the program may want meanwhile (of
    /// Python's lock). To be called any number of times, and before any wait for a lock of the
    /// engine, whose holder may want it. Never blocks.
    virtual void let_go() {}

    /// Set when peers may have heard of the call. If it fails from then on, messages that are under
    /// way may still be written to its arrays, which must never be let go of.
    bool has_begun = false;

protected:
    ~Caller() = default;
};

}  // namespace pycoll
