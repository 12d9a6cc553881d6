#include "train/pretrain.h"

#include <fmt/format.h>

#include <memory>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "train/checkpoint.h"
#include "train/sampling.h"
#include "train/signals.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

std::vector<MixturePart> mixture_of(const PretrainJob& job) {
  std::vector<MixturePart> parts;
  for (size_t i = 0; i < job.datasets.size(); ++i) {
    const DataPart& part = job.run.options.data[i];
    parts.push_back({part.name, &job.datasets[i], part.weight});
  }
  return parts;
}

std::vector<ValidationPart> validation_of(const PretrainJob& job) {
  std::vector<ValidationPart> parts;
  for (size_t i = 0; i < job.datasets.size(); ++i) {
    EvaluationSource source(job.datasets[i].val, job.run.options.length);
    if (source.windows() == 0) continue;
    const DataPart& part = job.run.options.data[i];
    parts.push_back({part.name, part.weight, source});
  }
  return parts;
}

// Everything about the run folder that only rank 0 does, before any other rank looks at it.
// Returns the step to resume from, -1 to begin.
int64_t prepare_folder(RunFolder& folder, const PretrainJob& job) {
  if (!job.resume) {
    folder.require_new();
    folder.open();
    folder.clear_log();
    folder.write_description(job.run);
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
  if (step > job.run.options.steps) {  // before anything is changed
    fail_usage("--steps",
               fmt::format("{}, but the run has done {} already", job.run.options.steps, step));
  }
  folder.cut_log(step);
  const RunDescription before = folder.read_description();
  RunDescription run = job.run;
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

TrainState initial_state(const PretrainJob& job, Workspace& workspace) {
  ParameterStore& store = workspace.model.parameters();
  store.initialize(static_cast<uint64_t>(job.run.options.seed));
  if (job.run.options.init != "random") {
    const fs::path folder = resolve_model_folder(job.run.options.init);
    verify_model_files(folder);
    read_model_weights(folder, workspace.model);
  }
  return {};
}

TrainState resumed_state(const fs::path& checkpoint, const PretrainJob& job, Workspace& workspace) {
  workspace.model.parameters().zero();
  const TrainState state = load_checkpoint(checkpoint, workspace.model);
  workspace.step.set_updates(state.updates);
  const TrainOptions& options = job.run.options;
  if (state.seed != options.seed || state.samples != state.step * options.samples_per_step()) {
    fail_input(checkpoint.string(), "its seed or sample count is not that of run.json");
  }
  return state;
}

// All ranks take the choices of the first, which are those that checkpoints keep.
void share_plan(Backend& backend, Comm& comm) {
  std::string text = comm.rank() == 0 ? backend.plan() : "";
  const int64_t size = comm.all_reduce(static_cast<int64_t>(text.size()), Reduce::max);
  text.resize(static_cast<size_t>(size));
  const auto memory = backend.allocate(size, "plan");
  const Tensor bytes(memory->data(), DType::u8, {size});
  backend.copy_to_device(bytes, text.data());
  comm.broadcast(bytes, 0);
  backend.copy_to_host(text.data(), bytes);
  backend.load_plan(text, "the choices of rank 0");
}

// Lets the device choose its algorithms on the shapes of this run, with its weights and its first
// samples. What that leaves behind is overwritten by the first step.
void tune(const PretrainJob& job, Workspace& workspace, const SampleSource& samples) {
  const TrainOptions& options = job.run.options;
  BatchLoader loader(samples, options.batch, options.length, 0, 0, 1);
  workspace.backend.set_tuning(true);
  workspace.step.warm_up(loader.next(), static_cast<uint64_t>(options.seed));
  workspace.backend.set_tuning(false);
  if (!workspace.comm.alone()) share_plan(workspace.backend, workspace.comm);
}

void publish_model(const RunFolder& folder, const TrainOptions& options, const TrainState& state) {
  const bool best = options.keep_best && state.best_step >= 0;
  fs::path checkpoint = folder.checkpoints() / checkpoint_name(best ? state.best_step : state.step);
  if (!fs::exists(checkpoint)) {
    log_warning(fmt::format("{} is gone; the last step's weights are published instead",
                            checkpoint.string()));
    checkpoint = folder.checkpoints() / checkpoint_name(state.step);
  }
  folder.publish(checkpoint);
}

}  // namespace

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
int64_t largest_batch(const Backend& backend, Objective& objective, TrainOptions options) {
  const int64_t available = backend.memory_available();
  int64_t fits = 0, too_many = options.batch;
  while (too_many - fits > 1) {
    options.batch = fits + (too_many - fits) / 2;
    (still_needed(plan_memory(backend, objective, options)) <= available ? fits : too_many) =
        options.batch;
  }
  return fits;
}

}  // namespace

bool fits_memory(const MemoryPlan& plan, const Backend& backend) {
  return still_needed(plan) <= backend.memory_available();
}

void require_memory(const MemoryPlan& plan, const Backend& backend, Objective& objective,
                    const TrainOptions& options) {
  if (fits_memory(plan, backend)) return;
  const int64_t largest = largest_batch(backend, objective, options);
  TrainOptions recomputing = options;
  recomputing.recompute = true;
  const int64_t with_recompute =
      options.recompute ? 0 : largest_batch(backend, objective, recomputing);
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

TrainSummary run_pretraining(const PretrainJob& job, Backend& backend, Comm& comm) {
  const StopSignals signals;
  const TrainOptions& options = job.run.options;
  const bool writes = comm.rank() == 0;
  NextToken objective;
  const MemoryPlan plan = plan_memory(backend, objective, options);
  require_memory(plan, backend, objective, options);
  const SampleSource samples(mixture_of(job), options.length, static_cast<uint64_t>(options.seed));
  const std::vector<ValidationPart> validation = validation_of(job);

  if (options.sample_every > 0 && job.tokenizer != nullptr) {
    encode_prompt(*job.tokenizer, options.prompt, options.model.context);  // refused before work
  }

  RunFolder folder(job.folder);
  int64_t resume_step = writes ? prepare_folder(folder, job) : -1;
  resume_step = comm.all_reduce(resume_step, Reduce::max);  // the others wait for the folder

  backend.reserve_scratch(plan.scratch());
  Workspace workspace(backend, comm, objective, options, plan.activations());
  workspace.model.parameters().set_weight_decay(static_cast<float>(options.weight_decay));
  const TrainState state =
      resume_step < 0
          ? initial_state(job, workspace)
          : resumed_state(folder.checkpoints() / checkpoint_name(resume_step), job, workspace);
  const bool keeps_plan = resume_step >= 0 && !job.retune &&
                          load_plan(folder.checkpoints() / checkpoint_name(resume_step), backend);
  if (!keeps_plan && !backend.is_host()) tune(job, workspace, samples);
  if (writes && resume_step >= 0) {
    log_info(fmt::format("resuming after step {} of {}", resume_step, options.steps));
  }

  TrainerParts parts{options, workspace, samples, validation, job.tokenizer, folder, {}};
  std::optional<TrainingSampler> sampler;
  if (options.sample_every > 0 && job.tokenizer != nullptr && writes) {
    sampler.emplace(workspace, *job.tokenizer, options);
    parts.sample = [&](int64_t step) { return sampler->sample(step); };
  }
  Trainer trainer(parts, state, /*resumed=*/resume_step >= 0);
  const TrainSummary summary = trainer.run();
  if (writes) publish_model(folder, options, trainer.state());
  comm.barrier();
  return summary;
}

}  // namespace llm
