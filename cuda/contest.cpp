#include "cuda/contest.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cuda/cuda_check.h"

namespace llm::cuda {
namespace {

// The first look: one batch of about so long, in one graph.
constexpr double kBatchSeconds = 0.5e-3;
constexpr int kLaunchesMost = 32;
constexpr double kTooSlow = 1.3;  // against the best at first look: not looked at again

// Rounds begin untimed, until the clock has settled at what the power limit allows. After a change
// of algorithm that takes 50 ms and more; less was seen to be 5 % wrong.
struct Rounds {
  int count;
  double settle, timed;  // seconds, at most
};
constexpr size_t kSecondLook = 12;  // candidates
constexpr Rounds kSecondRounds = {3, 0, 4e-3};
constexpr size_t kFinalists = 3;
constexpr Rounds kFinalRounds = {3, 40e-3, 30e-3};
constexpr int kRoundLaunches = 200;  // at most: short ones do not load the GPU anyway

template <typename Handle, cudaError_t (*destroy)(Handle)>
struct Destroy {
  void operator()(Handle handle) const { destroy(handle); }
};
template <typename Handle, cudaError_t (*destroy)(Handle)>
using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle, destroy>>;
using Graph = Owner<cudaGraph_t, cudaGraphDestroy>;
using ExecutableGraph = Owner<cudaGraphExec_t, cudaGraphExecDestroy>;
using TimingEvent = Owner<cudaEvent_t, cudaEventDestroy>;

TimingEvent make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate");
  return TimingEvent(event);
}

// `count` launches as one graph; null where the candidate cannot be launched.
ExecutableGraph record(const Contest::Launch& launch, int count, cudaStream_t stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  bool launched = true;
  try {
    for (int i = 0; i < count; ++i) launch();
  } catch (const Error&) {
    launched = false;
  }
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
  const Graph owner(graph);
  if (!launched || ended != cudaSuccess) {
    cudaGetLastError();  // the failed capture
    return nullptr;
  }
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  return ExecutableGraph(executable);
}

class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream)
      : stream_(stream), begin_(make_event()), end_(make_event()) {}

  // Of all replays together.
  double seconds(cudaGraphExec_t graph, int replays) {
    check(cudaEventRecord(begin_.get(), stream_), "cudaEventRecord");
    for (int i = 0; i < replays; ++i) check(cudaGraphLaunch(graph, stream_), "cudaGraphLaunch");
    check(cudaEventRecord(end_.get(), stream_), "cudaEventRecord");
    check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }

 private:
  cudaStream_t stream_;
  TimingEvent begin_, end_;
};

struct Contestant {
  size_t number;
  int launches;  // in the graph
  ExecutableGraph graph;
  double seconds;  // of one launch
};

// The first look: a launch to load the kernel, then one batch of about kBatchSeconds.
std::optional<Contestant> first_look(size_t number, const Contest::Launch& launch,
                                     double best_seconds, Stopwatch& watch, cudaStream_t stream) {
  Contestant contestant{number, 1, record(launch, 1, stream), 0};
  if (contestant.graph == nullptr) return std::nullopt;
  watch.seconds(contestant.graph.get(), 1);
  contestant.seconds = watch.seconds(contestant.graph.get(), 1);
  if (contestant.seconds > 2 * best_seconds + 20e-6) return std::nullopt;
  contestant.launches = std::clamp(
      static_cast<int>(kBatchSeconds / std::max(contestant.seconds, 1e-6)), 1, kLaunchesMost);
  if (contestant.launches > 1) {
    contestant.graph = record(launch, contestant.launches, stream);
    if (contestant.graph == nullptr) return std::nullopt;
    watch.seconds(contestant.graph.get(), 1);
    contestant.seconds = watch.seconds(contestant.graph.get(), 1) / contestant.launches;
  }
  return contestant;
}

// All in turn; the median of the rounds counts.
void compete(std::vector<Contestant>& contestants, const Rounds& rounds, Stopwatch& watch) {
  std::vector<std::vector<double>> times(contestants.size());
  for (int round = 0; round < rounds.count; ++round) {
    for (size_t i = 0; i < contestants.size(); ++i) {
      const Contestant& contestant = contestants[i];
      const double batch = contestant.seconds * contestant.launches;
      const auto replays = [&](double seconds) {
        const double wanted = std::min(seconds, kRoundLaunches * contestant.seconds);
        return static_cast<int>(std::lround(wanted / batch));
      };
      if (rounds.settle > 0) watch.seconds(contestant.graph.get(), replays(rounds.settle));
      const int timed = std::max(1, replays(rounds.timed));
      times[i].push_back(watch.seconds(contestant.graph.get(), timed) /
                         (timed * contestant.launches));
    }
  }
  for (size_t i = 0; i < contestants.size(); ++i) {
    const auto median = times[i].begin() + rounds.count / 2;
    std::nth_element(times[i].begin(), median, times[i].end());
    contestants[i].seconds = *median;
  }
}

void sort_by_time(std::vector<Contestant>& contestants) {
  std::stable_sort(contestants.begin(), contestants.end(),
                   [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
}

}  // namespace

struct Contest::State {
  explicit State(cudaStream_t of) : stream(of), watch(of) {}
  cudaStream_t stream;
  Stopwatch watch;
  std::vector<Contestant> contestants;
  size_t entered = 0;
  double best_seconds = 1e30;
};

Contest::Contest(cudaStream_t stream) : state_(std::make_unique<State>(stream)) {}
Contest::~Contest() = default;

void Contest::enter(const Launch& launch) {
  State& state = *state_;
  auto contestant =
      first_look(state.entered++, launch, state.best_seconds, state.watch, state.stream);
  if (!contestant) return;
  state.best_seconds = std::min(state.best_seconds, contestant->seconds);
  state.contestants.push_back(std::move(*contestant));
}

std::optional<double> Contest::seconds(size_t number) const {
  for (const Contestant& contestant : state_->contestants) {
    if (contestant.number == number) return contestant.seconds;
  }
  return std::nullopt;
}

double Contest::best_seconds() const {
  return state_->contestants.empty() ? 0 : state_->best_seconds;
}

std::optional<Contest::Winner> Contest::decide(const std::function<bool(size_t)>& repeatable) {
  std::vector<Contestant> quick = std::move(state_->contestants);
  state_->contestants.clear();
  sort_by_time(quick);
  std::vector<Contestant> rest;  // slow, but what is quick may turn out not to be repeatable
  while (quick.size() > kSecondLook ||
         (!quick.empty() && quick.back().seconds > kTooSlow * quick[0].seconds)) {
    rest.insert(rest.begin(), std::move(quick.back()));
    quick.pop_back();
  }
  if (quick.size() > 1) compete(quick, kSecondRounds, state_->watch);
  sort_by_time(quick);
  std::vector<Contestant> finalists;
  for (Contestant& contestant : quick) {
    if (finalists.size() == kFinalists) break;
    if (repeatable(contestant.number)) finalists.push_back(std::move(contestant));
  }
  for (Contestant& contestant : rest) {
    if (!finalists.empty()) break;
    if (repeatable(contestant.number)) finalists.push_back(std::move(contestant));
  }
  if (finalists.empty()) return std::nullopt;
  if (finalists.size() > 1) compete(finalists, kFinalRounds, state_->watch);
  sort_by_time(finalists);
  return Winner{finalists[0].number, finalists[0].seconds};
}

}  // namespace llm::cuda
