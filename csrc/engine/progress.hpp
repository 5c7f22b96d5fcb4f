#pragma once

#include <memory>

namespace pycoll {

class Communicator;

/// Has everybody who waits, and a thread of its own where the transport allows it, look after a
/// communicator until nothing is outstanding on it. The thread is started when it is first needed
/// and sleeps when it is not.
void watch(const std::shared_ptr<Communicator>& communicator);

/// Is there any communicator that is watched? What is outstanding there may be moved along by all
/// who wait.
[[nodiscard]] bool anything_is_watched();

/// Moves all watched communicators along, once. For threads that wait: what they wait for may
/// depend on a peer that waits for something on another communicator first.
void help_watched();

/// Ends the progress thread; must be called before the process's MPI or interpreter ends. A later
/// watch() starts it again.
void stop_progress();

}  // namespace pycoll
