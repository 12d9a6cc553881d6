#include "train/finetune.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/plan_backend.h"
#include "base/error.h"
#include "base/integer.h"
#include "base/log.h"
#include "model/lora.h"
#include "train/answers.h"
#include "train/checkpoint.h"
#include "train/run_setup.h"
#include "train/signals.h"
#include "weights/model_folder.h"
#include "weights/weights_hash.h"

namespace llm {
namespace {

constexpr int64_t kMultiple = 8;  // rows are padded to a multiple of so many tokens
constexpr int64_t kAnsweredAtOnce = 8;
constexpr const char* kMergedFolder = "merged";

// A classifier that looks at the last position of a row needs rows of one length, as do packed
// ones.
bool has_fixed_length(const FinetuneOptions& finetune, const ModelConfig& config) {
  return finetune.pack || (config.is_classifier() && config.pooling == Pooling::last);
}

// The weights to start from, with a new output layer where a classifier begins as a language model.
void read_base(const FinetuneOptions& finetune, Gpt& model) {
  const fs::path folder = resolve_model_folder(finetune.base);
  verify_model_files(folder);
  if (!finetune.base_hash.empty() && !are_weights_of(finetune.base_hash, folder)) {
    fail_input(folder.string(), "its weights are not those that the run began with",
               "the adapters are of no use with others; bring the model back");
  }
  read_model_weights(folder, model, output_layer_of(read_model_config(folder), model.config()));
}

TrainState initial_state(const FinetuneJob& job, Workspace& workspace) {
  workspace.model.parameters().initialize(static_cast<uint64_t>(job.run.options.seed));
  if (job.run.options.init != "random") read_base(job.finetune(), workspace.model);
  return {};
}

// Everything frozen is as in the beginning; what was trained comes from the checkpoint.
std::function<void(Gpt&)> base_reader(const FinetuneJob& job) {
  if (job.finetune().trained != TrainedPart::lora) return {};
  return [&job](Gpt& model) {
    model.parameters().initialize(static_cast<uint64_t>(job.run.options.seed));
    read_base(job.finetune(), model);
  };
}

}  // namespace

std::unique_ptr<Objective> objective_of(FinetuneTask task) {
  if (task == FinetuneTask::classify) return std::make_unique<Classification>();
  return std::make_unique<NextToken>();
}

int64_t row_length(const FinetuneData& data, const FinetuneOptions& finetune,
                   const ModelConfig& config) {
  if (has_fixed_length(finetune, config)) {
    return finetune.max_length > 0 ? finetune.max_length : config.context;
  }
  int64_t longest = 1;
  for (const ExamplePart& part : data.parts) {
    for (const TokenizedExample& example : part.tokenized.examples) {
      longest = std::max(longest, static_cast<int64_t>(example.tokens.size()));
    }
  }
  return std::min(round_up(longest, kMultiple), config.context);
}

std::unique_ptr<ExampleBatches> batches_of(const ExamplePart& part, const FinetuneJob& job,
                                           bool training) {
  if (part.tokenized.examples.empty()) return nullptr;
  const TrainOptions& options = job.run.options;
  ExampleBatchOptions batches;
  batches.batch = options.batch;
  batches.step_rows = training ? options.samples_per_step() : options.batch;
  batches.seed = static_cast<uint64_t>(options.seed);
  batches.shuffle = training;
  batches.pack = job.finetune().pack;
  const bool fixed = has_fixed_length(job.finetune(), options.model);
  batches.bucket = !fixed;
  batches.length = fixed ? options.length : 0;
  batches.multiple_of = kMultiple;
  batches.max_length = options.length;
  batches.pad_id = static_cast<TokenId>(std::max<int64_t>(options.model.eos_token_id, 0));
  return std::make_unique<ExampleBatches>(part.tokenized.examples, batches);
}

Workload workload_of(const FinetuneJob& job) {
  const FinetuneOptions& finetune = job.finetune();
  Workload workload;
  workload.labels = finetune.task == FinetuneTask::classify;
  workload.class_weights = finetune.class_weights;
  if (finetune.trained != TrainedPart::all) {
    workload.trainable = [part = finetune.trained,
                          config = job.run.options.model](const Parameter& parameter) {
      return is_trained(parameter, part, config);
    };
  }
  if (finetune.pack) {
    for (const ExamplePart& part : job.data.parts) {
      const auto batches = batches_of(part, job, /*training=*/&part == &job.data.train());
      if (!batches) continue;
      workload.packed_sequences = std::max(workload.packed_sequences, batches->most_sequences());
    }
  }
  workload.sampled_sequences = kAnsweredAtOnce;
  return workload;
}

ParameterCounts count_parameters(const Backend& backend, const FinetuneJob& job) {
  MemoryByPurpose usage;
  const auto plan = make_plan_backend(backend, usage);
  const ModelConfig& config = job.run.options.model;
  StoreOptions options;
  options.trainable = workload_of(job).trainable;
  const Gpt model(*plan, config, options);
  ParameterCounts counts{0, model.parameters().trainable_count()};
  for (const Parameter& parameter : model.parameters().parameters()) {
    counts.all += parameter.free_size();
  }
  return counts;
}

namespace {

// The parts of a run that live while it trains.
class Run {
 public:
  Run(const FinetuneJob& job, Backend& backend, Comm& comm)
      : job_(job),
        options_(job.run.options),
        comm_(comm),
        folder_(job.folder),
        objective_(objective_of(job.finetune().task)),
        workload_(workload_of(job)) {
    const MemoryPlan plan = plan_memory(backend, *objective_, options_, workload_);
    require_memory(plan, backend, *objective_, options_, workload_);
    for (size_t i = 0; i < batches_.size(); ++i) {
      batches_[i] = batches_of(job.data.parts[i], job, /*training=*/i == 0);
    }
    open_folder();
    backend.reserve_scratch(plan.scratch());
    workspace_.emplace(backend, comm, *objective_, options_, plan.activations(), workload_);
    workspace_->model.parameters().set_weight_decay(static_cast<float>(options_.weight_decay));
    begin(backend);
  }

  FinetuneOutcome train() {
    ExampleData data(*batches_[0],
                     {options_.batch, options_.samples_per_step(), comm_.rank(), comm_.ranks()});
    const std::vector<ValidationPart> validation = validation_parts();
    TrainerParts parts{options_, *workspace_, data, validation, form_, folder_, {}};
    if (job_.finetune().task == FinetuneTask::instruct && writes()) {
      answerer_.emplace(*workspace_, *job_.tokenizer, job_.finetune().format,
                        job_.finetune().answer_tokens, kAnsweredAtOnce);
      if (job_.finetune().answers > 0) parts.sample = [this](int64_t) { return answer_some(); };
    }
    Trainer trainer(parts, state_, /*resumed=*/resume_step_ >= 0);
    FinetuneOutcome outcome;
    outcome.summary = trainer.run();
    finish(outcome, trainer.state());
    return outcome;
  }

 private:
  bool writes() const { return comm_.rank() == 0; }
  fs::path checkpoint(int64_t step) const { return folder_.checkpoints() / checkpoint_name(step); }

  void open_folder() {
    const auto write_data = [this] {
      write_finetune_data(job_.finetune().task, job_.folder, job_.data);
    };
    resume_step_ = writes() ? prepare_folder(folder_, job_.run, job_.resume, write_data) : -1;
    resume_step_ = comm_.all_reduce(resume_step_, Reduce::max);  // the others wait for the folder
    form_.tokenizer = job_.tokenizer;
    if (job_.finetune().trained == TrainedPart::lora) {
      form_.adapter_base = {job_.finetune().base, job_.finetune().base_hash};
    }
    if (job_.finetune().task == FinetuneTask::instruct) {
      form_.chat_template = job_.finetune().format;
    }
  }

  void begin(Backend& backend) {
    const bool resumes = resume_step_ >= 0;
    state_ = resumes
                 ? resumed_state(checkpoint(resume_step_), options_, *workspace_, base_reader(job_))
                 : initial_state(job_, *workspace_);
    const bool keeps_plan = resumes && !job_.retune && load_plan(checkpoint(resume_step_), backend);
    if (!keeps_plan && !backend.is_host()) tune(*workspace_, longest_batch(), options_.seed);
    if (writes() && resumes) {
      log_info(fmt::format("resuming after step {} of {}", resume_step_, options_.steps));
    }
  }

  Batch longest_batch() {
    ExampleBatches& batches = *batches_[0];
    Batch longest = batches.batch(0);
    for (int64_t i = 1; i < batches.batches_per_epoch(); ++i) {
      Batch batch = batches.batch(i);
      if (batch.length > longest.length) longest = std::move(batch);
    }
    return longest;
  }

  std::vector<ValidationPart> validation_parts() {
    if (!batches_[1]) return {};
    const bool classifies = workload_.labels;
    return {{"validation", 1, [this, classifies](Workspace& workspace) {
               if (!classifies) return evaluate(workspace, *batches_[1], options_.eval_batches);
               const ClassifierResult result =
                   evaluate_classifier(workspace, *batches_[1], options_.eval_batches);
               return EvaluationResult{result.loss, result.confusion.texts(),
                                       result.confusion.accuracy()};
             }}};
  }

  // To the first held-out instructions.
  std::vector<TextSample> answer_some() {
    const ExamplePart& part =
        job_.data.validation().empty() ? job_.data.test() : job_.data.validation();
    const std::span<const Conversation> all = part.conversations;
    const auto count = std::min(all.size(), static_cast<size_t>(job_.finetune().answers));
    const std::vector<std::string> answers = answerer_->answer(all.first(count));
    return answer_samples(all, answers);
  }

  void finish(FinetuneOutcome& outcome, const TrainState& state) {
    const fs::path published = checkpoint_to_publish(folder_, options_, state);
    if (published != checkpoint(state.step)) load_checkpoint(published, workspace_->model);
    if (writes()) {
      folder_.publish(published);
      if (job_.merge) write_merged();
    }
    outcome.trainable_parameters = workspace_->model.parameters().trainable_count();
    evaluate_parts(outcome);
    comm_.barrier();  // the others need not wait for the answers
    if (writes() && !job_.responses.empty() && !job_.data.test().empty()) {
      const std::vector<Conversation>& asked = job_.data.test().conversations;
      log_info(fmt::format("answering {} instructions of the test part", asked.size()));
      write_responses(job_.responses, asked, answerer_->answer(asked));
      outcome.responses = std::ssize(asked);
    }
  }

  void evaluate_parts(FinetuneOutcome& outcome) {
    const auto train = batches_of(job_.data.train(), job_, /*training=*/false);
    const std::array<ExampleBatches*, 3> parts = {train.get(), batches_[1].get(),
                                                  batches_[2].get()};
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i] == nullptr) continue;
      PartFigures figures{job_.data.parts[i].name, 0, std::nullopt};
      if (workload_.labels) {
        ClassifierResult result = evaluate_classifier(*workspace_, *parts[i], 0);
        figures.loss = result.loss;
        figures.confusion = std::move(result.confusion);
      } else {
        figures.loss = evaluate(*workspace_, *parts[i], 0).loss;
      }
      outcome.parts.push_back(std::move(figures));
    }
  }

  void write_merged() {
    ModelConfig config = options_.model;
    config.lora = {};
    Gpt plain(workspace_->backend, config, {});
    merge_adapters(workspace_->model, plain);
    write_model_folder(job_.folder / kMergedFolder, plain, job_.tokenizer);
    if (form_.chat_template) write_chat_file(job_.folder / kMergedFolder, *form_.chat_template);
  }

  const FinetuneJob& job_;
  const TrainOptions& options_;
  Comm& comm_;
  RunFolder folder_;
  CheckpointForm form_;
  std::unique_ptr<Objective> objective_;
  Workload workload_;
  std::array<std::unique_ptr<ExampleBatches>, 3> batches_;
  int64_t resume_step_ = -1;
  std::optional<Workspace> workspace_;
  TrainState state_;
  std::optional<Answerer> answerer_;
};

}  // namespace

FinetuneOutcome run_finetuning(const FinetuneJob& job, Backend& backend, Comm& comm) {
  const StopSignals signals;
  return Run(job, backend, comm).train();
}

}  // namespace llm
