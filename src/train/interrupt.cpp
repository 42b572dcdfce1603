#include "peft/train/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace peft {
namespace {

volatile std::sig_atomic_t g_requested = 0;

extern "C" void on_signal(int signal) {
  if (g_requested != 0 && signal == SIGINT) {  // a person who asks twice does not want to wait
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_requested = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  g_requested = 0;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) std::signal(signal, on_signal);
}

InterruptGuard::~InterruptGuard() {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) std::signal(signal, SIG_DFL);
}

bool InterruptGuard::requested() { return g_requested != 0; }

}  // namespace peft
