#include "train/signals.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>

namespace llm {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1};

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "needed in a signal handler");

std::array<struct sigaction, kSignals.size()> previous;

void handle(int signal_number) {
  int none = 0;
  if (!received.compare_exchange_strong(none, signal_number)) _exit(128 + signal_number);
  constexpr char kMessage[] = "\nstopping after this step and saving; once more ends at once\n";
  if (write(STDERR_FILENO, kMessage, sizeof kMessage - 1) < 0) return;  // nothing can be done here
}

}  // namespace

StopSignals::StopSignals() {
  received = 0;
  struct sigaction action = {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &previous[i]);
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous[i], nullptr);
}

bool StopSignals::requested() { return received != 0; }

const char* StopSignals::name() {
  switch (received) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "";
  }
}

}  // namespace llm
