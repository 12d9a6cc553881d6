#include "train/workspace.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "infer/decoder.h"

namespace llm {
namespace {

// Larger than any model; only ever "allocated" on the planning backend.
constexpr int64_t kEndless = int64_t{1} << 60;

Batch empty_batch(const BatchShape& shape) {
  Batch result{shape.batch, shape.length, {}, {}, {}};
  const auto rows = static_cast<size_t>(shape.batch);
  const auto tokens = static_cast<size_t>(shape.batch * shape.length);
  result.tokens.resize(tokens);
  result.targets.resize(tokens);
  result.sample_ids.resize(rows);
  if (shape.packed_sequences > 0) {
    result.positions.resize(tokens);
    result.sequence_offsets = {0, static_cast<int32_t>(tokens)};
  }
  if (shape.labels) {
    result.labels.resize(rows);
    result.lengths.assign(rows, 1);
  }
  return result;
}

// Planning needs 8 bytes per token of a micro-batch, training far more. And beyond a PiB, sizes
// would leave 64 bits before anything else stops them.
void refuse_absurd_sizes(const Backend& real, const TrainOptions& options) {
  const ModelConfig& model = options.model;
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const double tokens = number(options.batch) * number(options.length);
  const double per_token =
      number(model.layers) * (8 * number(model.channels) + 2 * number(model.hidden)) +
      2 * number(model.vocab_size);
  const double bytes = 16 * number(parameter_count(model)) + 4 * tokens * per_token;
  constexpr double kMost = 1024.0 * 1024 * 1024 * 1024 * 1024;
  if (bytes < kMost && 64 * tokens < number(real.memory_available())) return;
  throw Error(ErrorKind::memory, real.name(),
              fmt::format("training needs about {}, {} are free",
                          format_bytes(static_cast<int64_t>(std::min(bytes, 9e18))),
                          format_bytes(real.memory_available())),
              "use a smaller --batch or --length or a smaller model");
}

// Saving brings one tensor at a time to the host, unless it is there already; transposing and
// writing take a few pieces of a MiB.
int64_t staging_bytes(const Gpt& model, bool is_host) {
  constexpr int64_t kPieces = int64_t{4} << 20;
  int64_t largest = 0;
  for (const Parameter& parameter : model.parameters().parameters()) {
    largest = std::max(largest, parameter.size() * 4);
  }
  return is_host ? kPieces : largest + kPieces;
}

// Adds what a decoder takes; scratch is shared with training.
void plan_sampling(MemoryPlan& plan, const Backend& real, const TrainOptions& options,
                   int64_t sequences) {
  constexpr const char* kScratch = "scratch";
  MemoryByPurpose with_model, model_only;
  const auto backend = make_plan_backend(real, with_model);
  Gpt model(*backend, options.model, {.dtype = options.compute_dtype()});
  model_only = with_model;
  const Decoder decoder(model, sequences, options.model.context);
  for (const auto& [purpose, count] : with_model) {
    if (purpose != kScratch) plan.bytes["sampling"] += count - model_only[purpose];
  }
  const int64_t scratch = std::max(with_model[kScratch], plan.scratch());
  if (scratch > 0) plan.bytes[kScratch] = scratch;
}

}  // namespace

int64_t MemoryPlan::scratch() const {
  const auto found = bytes.find("scratch");
  return found == bytes.end() ? 0 : found->second;
}

int64_t MemoryPlan::total() const {
  int64_t sum = 0;
  for (const auto& [purpose, count] : bytes) sum += count;
  return sum;
}

MemoryPlan plan_memory(const Backend& real, Objective& objective, const TrainOptions& options,
                       const Workload& workload) {
  refuse_absurd_sizes(real, options);
  MemoryPlan plan;
  const auto backend = make_plan_backend(real, plan.bytes);
  const auto comm = make_single_comm();
  Workspace workspace(*backend, *comm, objective, options, kEndless, workload);
  const Batch empty = empty_batch(workload.batch_shape(options));
  workspace.step.enqueue(StepRequest{}, std::span(&empty, 1));
  {
    const ArenaScope scope(workspace.arena);
    const Tensor loss = workspace.arena.take(DType::f32, {1});
    objective.evaluate(loss, workspace.model, workspace.arena, workspace.step.buffers().device());
  }
  plan.bytes["activations"] = workspace.arena.high_water();
  if (options.sample_every > 0) plan_sampling(plan, real, options, workload.sampled_sequences);
  if (real.own_memory() > 0) plan.bytes["libraries"] = real.own_memory();
  MemoryByPurpose& on_host = real.is_host() ? plan.bytes : plan.host_bytes;
  on_host["checkpoint staging"] = staging_bytes(workspace.model, real.is_host());
  on_host["program"] = resident_bytes();
  return plan;
}

int64_t resident_bytes() {
  // Kernel documentation, proc(5): the second number of statm is the resident set in pages.
  const std::string text = read_text_file("/proc/self/statm", 1 << 12);
  const size_t begin = text.find(' ') + 1;
  int64_t pages = 0;
  std::from_chars(text.data() + begin, text.data() + text.size(), pages);
  return pages * sysconf(_SC_PAGESIZE);
}

int64_t peak_resident_bytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace llm
