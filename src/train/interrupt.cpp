#include "peft/train/interrupt.h"

#include <array>
#include <csignal>

namespace peft {
namespace {

constexpr std::array kSignals{SIGTERM, SIGINT, SIGUSR1};

volatile std::sig_atomic_t g_requested = 0;
int g_guards = 0;

extern "C" void on_signal(int signal) {
  if (g_requested != 0 && signal == SIGINT) {  // a person who asks twice does not want to wait
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_requested = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  if (g_guards++ > 0) return;
  g_requested = 0;
  for (const int signal : kSignals) std::signal(signal, on_signal);
}

InterruptGuard::~InterruptGuard() {
  if (--g_guards > 0) return;
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

bool InterruptGuard::requested() { return g_requested != 0; }

}  // namespace peft
