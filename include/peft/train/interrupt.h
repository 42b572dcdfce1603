#pragma once
/// SIGTERM, SIGINT and SIGUSR1 ask a training program to save and stop (exit code 75). A second SIGINT ends it at once.

namespace peft {

/// Handlers are installed for the life of the outermost object. One thread makes and ends all of them.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  static bool requested();
};

}  // namespace peft
