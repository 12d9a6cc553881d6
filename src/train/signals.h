// Requests to stop: SIGINT, SIGTERM and SIGUSR1 (what schedulers send before a job's time is up).
#pragma once

namespace llm {

// While it exists, the first such signal is remembered and a second one ends the process at once.
class StopSignals {
 public:
  // message: what the first signal prints; lives as long as the object.
  explicit StopSignals(
      const char* message = "stopping after this step and saving; once more ends at once");
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  static bool requested();
  static const char* name();  // of the signal that came, "" if none
};

}  // namespace llm
