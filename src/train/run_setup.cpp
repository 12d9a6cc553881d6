#include "train/run_setup.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "train/checkpoint.h"

namespace llm {

int64_t prepare_folder(RunFolder& folder, const RunDescription& now, bool resume,
                       const std::function<void()>& write_more) {
  if (!resume) {
    folder.require_new();
    folder.open();
    folder.clear_log();
    if (write_more) write_more();
    folder.write_description(now);
    return -1;
  }
  folder.open();
  const auto checkpoint = find_newest_good_checkpoint(folder.checkpoints(), /*set_aside=*/true);
  if (!checkpoint) {
    fail_input(folder.path().string(), "nothing to resume: no good checkpoint in it",
               "the run did not get as far as saving step 0; remove the folder or choose another, "
               "and begin without --resume");
  }
  const fs::path state_path = *checkpoint / "train_state.json";
  const int64_t step = with_hint("remove this checkpoint to go on from the one before", [&] {
    return parse_train_state(read_text_file(state_path, 1 << 20), state_path.string()).step;
  });
  if (step > now.options.steps) {  // before anything is changed
    fail_usage("--steps",
               fmt::format("{}, but the run has done {} already", now.options.steps, step));
  }
  folder.cut_log(step);
  const RunDescription before = folder.read_description();
  RunDescription run = now;
  if (run.device != before.device || run.ranks != before.ranks) {
    log_warning(
        fmt::format("the run began on {} x {}, this is {} x {}: results agree to rounding, "
                    "not to the bit",
                    before.ranks, before.device, run.ranks, run.device));
  }
  run.resumes.push_back(Json{{"step", step},
                             {"command", run.command},
                             {"device", run.device},
                             {"threads", run.threads},
                             {"ranks", run.ranks}});
  // The run is described as it began; only options that may change are those of now.
  run.version = before.version;
  run.command = before.command;
  run.device = before.device;
  run.threads = before.threads;
  run.ranks = before.ranks;
  folder.write_description(run);
  return step;
}

TrainState resumed_state(const fs::path& checkpoint, const TrainOptions& options,
                         Workspace& workspace, const std::function<void(Gpt&)>& read_base) {
  workspace.model.parameters().zero();
  if (read_base) read_base(workspace.model);
  const TrainState state = load_checkpoint(checkpoint, workspace.model);
  workspace.step.set_updates(state.updates);
  if (state.seed != options.seed || state.samples != state.step * options.samples_per_step()) {
    fail_input(checkpoint.string(), "its seed or sample count is not that of run.json");
  }
  return state;
}

void share_plan(Backend& backend, Comm& comm, ActivationArena& arena) {
  std::string text = comm.rank() == 0 ? backend.plan() : "";
  const int64_t size = comm.all_reduce(static_cast<int64_t>(text.size()), Reduce::max);
  text.resize(static_cast<size_t>(size));
  const int64_t room = comm.all_reduce(arena.room(), Reduce::min);
  LLM_ASSERT(room > 0 || size == 0, "no room for the plan of algorithms");
  for (int64_t at = 0; at < size; at += room) {
    const ArenaScope scope(arena);
    const Tensor piece = arena.take(DType::u8, {std::min(size - at, room)});
    backend.copy_to_device(piece, text.data() + at);
    comm.broadcast(piece, 0);
    backend.copy_to_host(text.data() + at, piece);
  }
  backend.load_plan(text, "the choices of rank 0");
}

void tune(Workspace& workspace, const Batch& batch, int64_t seed) {
  workspace.backend.set_tuning(true);
  workspace.step.warm_up(batch, static_cast<uint64_t>(seed));
  workspace.backend.set_tuning(false);
  if (!workspace.comm.alone()) share_plan(workspace.backend, workspace.comm, workspace.arena);
}

fs::path checkpoint_to_publish(const RunFolder& folder, const TrainOptions& options,
                               const TrainState& state) {
  const bool best = options.keep_best && state.best_step >= 0;
  fs::path checkpoint = folder.checkpoints() / checkpoint_name(best ? state.best_step : state.step);
  if (!fs::exists(checkpoint)) {
    log_warning(fmt::format("{} is gone; the last step's weights are published instead",
                            checkpoint.string()));
    checkpoint = folder.checkpoints() / checkpoint_name(state.step);
  }
  return checkpoint;
}

namespace {

// Bytes that are yet to be taken.
int64_t still_needed(const MemoryPlan& plan) {
  int64_t bytes = plan.total();
  for (const char* there : {"program", "libraries"}) {
    const auto found = plan.bytes.find(there);
    if (found != plan.bytes.end()) bytes -= found->second;
  }
  return bytes;
}

// The largest micro-batch whose plan fits, 0 if none does.
int64_t largest_batch(const Backend& backend, Objective& objective, TrainOptions options,
                      const Workload& workload) {
  const int64_t available = backend.memory_available();
  int64_t fits = 0, too_many = options.batch;
  while (too_many - fits > 1) {
    options.batch = fits + (too_many - fits) / 2;
    (still_needed(plan_memory(backend, objective, options, workload)) <= available ? fits
                                                                                   : too_many) =
        options.batch;
  }
  return fits;
}

}  // namespace

bool fits_memory(const MemoryPlan& plan, const Backend& backend) {
  return still_needed(plan) <= backend.memory_available();
}

void require_memory(const MemoryPlan& plan, const Backend& backend, Objective& objective,
                    const TrainOptions& options, const Workload& workload) {
  if (fits_memory(plan, backend)) return;
  const int64_t largest = largest_batch(backend, objective, options, workload);
  TrainOptions recomputing = options;
  recomputing.recompute = true;
  const int64_t with_recompute =
      options.recompute ? 0 : largest_batch(backend, objective, recomputing, workload);
  std::string hint = "not even --batch 1 fits: use a smaller --length or a smaller model";
  if (largest > 0) {
    hint = fmt::format(
        "the largest --batch that fits is {}{}", largest,
        with_recompute > largest ? fmt::format(", or {} with --recompute", with_recompute) : "");
  } else if (with_recompute > 0) {
    hint = fmt::format("--recompute --batch {} fits", with_recompute);
  }
  throw Error(ErrorKind::memory, backend.name(),
              fmt::format("training needs {}, {} are free", format_bytes(still_needed(plan)),
                          format_bytes(backend.memory_available())),
              hint + "; --dry-run shows what takes it");
}

}  // namespace llm
