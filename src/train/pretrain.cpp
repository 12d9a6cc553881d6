#include "train/pretrain.h"

#include <fmt/format.h>

#include <memory>
#include <optional>

#include "backend/device_peak.h"
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
    const TrainOptions& options = job.run.options;
    const EvaluationSource source(job.datasets[i].val, options.length);
    if (source.windows() == 0) continue;
    parts.push_back(window_validation(options.data[i].name, options.data[i].weight, source,
                                      options.eval_batches));
  }
  return parts;
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

}  // namespace

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
  int64_t resume_step = writes ? prepare_folder(folder, job.run, job.resume) : -1;
  resume_step = comm.all_reduce(resume_step, Reduce::max);  // the others wait for the folder

  backend.reserve_scratch(plan.scratch());
  Workspace workspace(backend, comm, objective, options, plan.activations());
  workspace.model.parameters().set_weight_decay(static_cast<float>(options.weight_decay));
  const TrainState state =
      resume_step < 0
          ? initial_state(job, workspace)
          : resumed_state(folder.checkpoints() / checkpoint_name(resume_step), options, workspace);
  const bool keeps_plan = resume_step >= 0 && !job.retune &&
                          load_plan(folder.checkpoints() / checkpoint_name(resume_step), backend);
  if (!keeps_plan && !backend.is_host()) {
    tune(workspace, BatchLoader(samples, options.batch, options.length, 0).next(), options.seed);
  }
  if (writes && resume_step >= 0) {
    log_info(fmt::format("resuming after step {} of {}", resume_step, options.steps));
  }

  WindowData data(samples, {options.batch, options.samples_per_step(), comm.rank(), comm.ranks()});
  const CheckpointForm form{job.tokenizer, {}, {}};
  TrainerParts parts{options, workspace, data, validation, form, folder, {}};
  parts.peak_rate = comm.ranks() * peak_flops(backend.name(), options.dtype) /
                    training_flop_per_token(options.model, options.length);
  std::optional<TrainingSampler> sampler;
  if (options.sample_every > 0 && job.tokenizer != nullptr && writes) {
    sampler.emplace(workspace, *job.tokenizer, options);
    parts.sample = [&](int64_t step) { return std::vector{sampler->sample(step)}; };
  }
  Trainer trainer(parts, state, /*resumed=*/resume_step >= 0);
  const TrainSummary summary = trainer.run();
  if (writes) folder.publish(checkpoint_to_publish(folder, options, trainer.state()));
  comm.barrier();
  return summary;
}

}  // namespace llm
