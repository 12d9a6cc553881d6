#include "train/signals.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <utility>

namespace llm {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1};

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "needed in a signal handler");

std::array<struct sigaction, kSignals.size()> previous;
std::atomic<const char*> text{""};

void handle(int signal_number) {
  int none = 0;
  if (!received.compare_exchange_strong(none, signal_number)) _exit(128 + signal_number);
  const char* message = text;
  for (const auto& [part, size] :
       {std::pair<const char*, size_t>{"\n", 1}, {message, std::strlen(message)}, {"\n", 1}}) {
    if (write(STDERR_FILENO, part, size) < 0) return;  // nothing can be done here
  }
}

}  // namespace

StopSignals::StopSignals(const char* message) {
  received = 0;
  text = message;
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
