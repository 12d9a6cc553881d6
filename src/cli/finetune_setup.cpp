#include "cli/finetune_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"
#include "weights/model_folder.h"
#include "weights/weights_hash.h"

namespace llm {
namespace {

RunDescription read_finetune_run(const std::string& path) {
  RunDescription run = RunFolder(path).read_description();
  if (!run.finetune) {
    fail_usage(path, "this run is one of pretraining",
               "`llm pretrain --resume -o RUN` continues it");
  }
  return run;
}

// The output layer of a classifier that looks at the last position of a row knows rows of one
// length.
void keep_row_length(RunDescription& run, const FinetuneArguments& arguments) {
  ModelConfig& model = run.options.model;
  const int64_t before = std::exchange(model.pad_length, 0);  // follows from max_length or the data
  if (before == 0 || model.pooling != Pooling::last || arguments.max_length) return;
  run.finetune->max_length = before;
  log_info(fmt::format("rows stay {} tokens long, as those of {}; --max-length for others", before,
                       arguments.model));
}

void require_what_begins(const FinetuneArguments& arguments) {
  if (arguments.model.empty()) fail_usage("MODEL", "is required: what to start from");
  if (!arguments.task) fail_usage("--task", "is required: classify or instruct");
  if (arguments.train.empty()) {
    fail_usage("--train", "is required",
               *arguments.task == "instruct" ? "a JSON file of instructions"
                                             : "a CSV or TSV file of labels and texts");
  }
}

void refuse_what_began(const FinetuneArguments& a, const RunDescription& before) {
  const auto refuse = [&](bool given, const char* option) {
    if (!given) return;
    fail_usage(option, "cannot be given with --resume: the run keeps its model and its data",
               "leave it out, or begin a new run");
  };
  refuse(!a.model.empty(), "MODEL");
  refuse(!a.train.empty(), "--train");
  refuse(!a.validation.empty(), "--val");
  refuse(!a.test.empty(), "--test");
  refuse(a.split.has_value(), "--split");
  refuse(a.split_order.has_value(), "--split-order");
  refuse(a.balance, "--balance");
  refuse(!a.quoting.empty(), "--quoting");
  refuse(!a.label_column.empty(), "--label-column");
  refuse(!a.text_column.empty(), "--text-column");
  refuse(a.init.has_value(), "--init");
  refuse(a.class_weights.has_value(), "--class-weights");
  if (!a.task || finetune_task_named(*a.task, "--task") == before.finetune->task) return;
  fail_usage("--task",
             fmt::format("the run is one of {}", finetune_task_name(before.finetune->task)));
}

// The model that is begun with: its config, tokenizer and place.
void open_base(FinetuneSetup& setup, const FinetuneArguments& arguments) {
  RunDescription& run = setup.job.run;
  const fs::path folder = resolve_model_folder(arguments.model);
  run.options.model = read_model_config(folder);
  if (run.finetune->task != FinetuneTask::classify) {
    require_language_model(run.options.model, folder.string());
  }
  setup.tokenizer = read_model_tokenizer(folder);
  if (setup.tokenizer == nullptr) {
    fail_input(folder.string(), "has no tokenizer", "put its tokenizer.json into the folder");
  }
  const bool local = fs::is_directory(arguments.model);
  run.finetune->base = local ? fs::absolute(folder).lexically_normal().string() : arguments.model;
  run.options.init = run.finetune->base;
  if (run.options.model.eos_token_id < 0) {
    run.options.model.bos_token_id = run.options.model.eos_token_id =
        setup.tokenizer->end_of_text().value_or(-1);
  }
}

std::unique_ptr<Tokenizer> tokenizer_of_run(const fs::path& run) {
  const fs::path checkpoints = RunFolder(run).checkpoints();
  for (const int64_t step : list_checkpoints(checkpoints)) {
    auto tokenizer = read_model_tokenizer(checkpoints / checkpoint_name(step));
    if (tokenizer != nullptr) return tokenizer;
  }
  fail_input(run.string(), "nothing to resume: no checkpoint with a tokenizer in it");
}

DataFiles files_of(const FinetuneArguments& a, const RunDescription& run) {
  DataFiles files;
  files.train = a.train;
  files.validation = a.validation;
  files.test = a.test;
  files.split = a.split.value_or("");
  if (a.split_order) files.order = split_order_named(*a.split_order);
  files.balance = a.balance;
  if (!a.quoting.empty()) files.columns.quoting = quoting_named(a.quoting);
  files.columns.label_column = a.label_column;
  files.columns.text_column = a.text_column;
  files.skip_bad_rows = run.finetune->skip_bad_rows;
  files.seed = run.options.seed;
  return files;
}

// Notes what the parts are, or that they are not those that the run began with.
void identify_data(RunDescription& run, const FinetuneData& data, bool resume) {
  std::vector<DataPart> parts;
  for (const ExamplePart& part : data.parts) {
    if (part.empty()) continue;
    DataPart identity{part.name, part.source, 1, hash_of(part), "", 0, 0};
    (&part == &data.train() ? identity.train_tokens : identity.val_tokens) =
        part.tokenized.figures.tokens;
    parts.push_back(identity);
  }
  if (!resume) {
    run.options.data = parts;
    return;
  }
  for (const DataPart& before : run.options.data) {
    const auto now = std::find_if(parts.begin(), parts.end(),
                                  [&](const DataPart& part) { return part.name == before.name; });
    if (now != parts.end() && now->hash == before.hash) continue;
    fail_input(now == parts.end() ? before.name : now->path,
               "not the examples that the run began with", "restore RUN/data, or begin a new run");
  }
}

std::vector<float> balanced_weights(const FinetuneData& data) {
  std::vector<float> counts(static_cast<size_t>(data.labels.size()));
  for (const TokenizedExample& example : data.train().tokenized.examples) {
    ++counts[static_cast<size_t>(example.label)];
  }
  const auto texts = static_cast<float>(data.train().tokenized.examples.size());
  std::vector<float> weights;
  weights.reserve(counts.size());
  for (const float count : counts) {
    weights.push_back(count > 0 ? texts / (static_cast<float>(counts.size()) * count) : 0);
  }
  return weights;
}

// Those of a classifier that is trained further, in its order, which is that of its output layer.
LabelSet kept_labels(const std::vector<std::string>& of_model, const FinetuneData& data,
                     const FinetuneOptions& finetune) {
  LabelSet kept(of_model, finetune.base);
  const std::vector<std::string>& names = data.labels.names();
  const bool same = kept.size() == data.labels.size() &&
                    std::all_of(names.begin(), names.end(),
                                [&](const std::string& name) { return kept.find(name); });
  if (same) return kept;
  fail_input(data.train().source,
             fmt::format("its labels are {}, but those of the classifier {} are {}",
                         data.labels.joined(), finetune.base, kept.joined()),
             "a classifier learns on with the labels that it has; for others, start from the "
             "language model that it was made from");
}

void read_data(FinetuneSetup& setup, const FinetuneArguments& arguments) {
  FinetuneJob& job = setup.job;
  RunDescription& run = job.run;
  FinetuneOptions& finetune = *run.finetune;
  ModelConfig& model = run.options.model;
  job.data = job.resume ? reread_finetune_data(finetune.task, job.folder, model.labels)
                        : read_finetune_data(finetune.task, files_of(arguments, run));
  if (!job.resume && model.is_classifier() && run.options.init != "random") {
    job.data.labels = kept_labels(model.labels, job.data, finetune);
  }
  model.labels = job.data.labels.names();
  model.lora = finetune.lora;
  validate(finetune, model);
  tokenize(job.data, finetune, model, *setup.tokenizer);
  identify_data(run, job.data, job.resume);
  if (arguments.class_weights) {
    finetune.class_weights = *arguments.class_weights == "balanced"
                                 ? balanced_weights(job.data)
                                 : parse_class_weights(*arguments.class_weights, model.labels);
  }
}

void complete_batch(TrainOptions& options, const FinetuneArguments& a, int64_t length, bool resume,
                    int64_t ranks) {
  constexpr int64_t kMost = 1 << 20;
  const int64_t rows_before = resume ? options.samples_per_step() : 0;
  if (!resume) options.batch = 8;
  if (a.batch) options.batch = *a.batch;
  if (options.batch < 1 || options.batch > kMost) {
    fail_usage("--batch", fmt::format("{} rows", options.batch), "1 to 1,048,576");
  }
  const int64_t micro = options.batch * ranks;
  const int64_t rows = a.total_batch.value_or(resume ? rows_before : micro);
  if (resume && rows != rows_before) {
    fail_usage("--total-batch",
               fmt::format("{} rows, but the run began with {}", rows, rows_before));
  }
  if (rows < 1 || rows > kMost || rows % micro != 0) {
    fail_usage("--total-batch",
               fmt::format("{} rows per step cannot be divided into micro-batches of {} x {} {}",
                           rows, options.batch, ranks, ranks == 1 ? "process" : "processes"),
               fmt::format("for example {}",
                           (std::clamp<int64_t>(rows, 1, kMost) + micro - 1) / micro * micro));
  }
  options.length = length;
  options.total_batch_tokens = rows * length;
}

void complete_steps(FinetuneSetup& setup, const FinetuneArguments& a) {
  FinetuneJob& job = setup.job;
  TrainOptions& options = job.run.options;
  setup.steps_per_epoch = batches_of(job.data.train(), job, /*training=*/true)->steps_per_epoch();
  const bool classifies = job.finetune().task == FinetuneTask::classify;
  if (a.steps) {
    options.steps = *a.steps;
  } else if (a.epochs || !job.resume) {
    const double epochs = a.epochs.value_or(classifies ? 5 : 2);
    if (!std::isfinite(epochs) || epochs <= 0 || epochs > 1e6) {
      fail_usage("--epochs", fmt::format("{} is not a number of passes", epochs));
    }
    options.steps =
        std::max<int64_t>(1, std::llround(epochs * static_cast<double>(setup.steps_per_epoch)));
  }
  const auto take = [&](int64_t& value, const std::optional<int64_t>& given, int64_t otherwise) {
    if (given || !job.resume) value = given.value_or(otherwise);
  };
  take(options.warmup, a.warmup,
       std::llround(0.02 * static_cast<double>(std::max<int64_t>(options.steps, 0))));
  take(options.eval_every, a.eval_every, setup.steps_per_epoch);
  take(options.save_every, a.save_every, setup.steps_per_epoch);
  take(options.sample_every, a.sample_every, classifies ? 0 : setup.steps_per_epoch);
}

}  // namespace

std::unique_ptr<Backend> open_backend(const FinetuneArguments& arguments) {
  TrainOptions stored;
  if (arguments.resume) stored = read_finetune_run(arguments.output).options;
  return open_backend(arguments, stored);
}

FinetuneSetup set_up_finetuning(const FinetuneArguments& arguments,
                                const std::vector<std::string>& command, const Backend& backend,
                                int ranks) {
  FinetuneSetup setup;
  FinetuneJob& job = setup.job;
  job.folder = arguments.output;
  job.resume = arguments.resume;
  job.retune = arguments.retune;
  RunDescription before;
  if (job.resume) {
    before = read_finetune_run(arguments.output);
    refuse_what_began(arguments, before);
    job.run = before;
    setup.tokenizer = tokenizer_of_run(job.folder);
  } else {
    require_what_begins(arguments);
    if (!arguments.dry_run && ranks == 1) RunFolder(job.folder).require_new();
    job.run.finetune.emplace();
    job.run.finetune->task = finetune_task_named(*arguments.task, "--task");
    job.run.options.dtype = backend.is_host() ? "f32" : "bf16";
    open_base(setup, arguments);
  }
  job.tokenizer = setup.tokenizer.get();
  apply_arguments(job.run, arguments);
  if (!job.resume) keep_row_length(job.run, arguments);
  const FinetuneOptions& finetune = job.finetune();
  TrainOptions& options = job.run.options;
  const bool adapters = finetune.trained == TrainedPart::lora;
  if (adapters && options.init == "random") {
    fail_usage("--init", "adapters are for the weights of MODEL", "--trainable all");
  }
  read_data(setup, arguments);
  complete_batch(options, arguments, row_length(job.data, finetune, options.model), job.resume,
                 ranks);
  complete_steps(setup, arguments);
  validate(options, ranks);
  if (job.resume) {
    require_resumable(*before.finetune, finetune, arguments.output);
    require_resumable(before.options, options, arguments.output);
  } else if (adapters && !arguments.dry_run) {
    job.run.finetune->base_hash = hash_of_weights(resolve_model_folder(finetune.base));
  }
  job.merge = arguments.merge;
  if (finetune.task == FinetuneTask::instruct && !job.data.test().empty()) {
    job.responses =
        arguments.responses ? fs::path(*arguments.responses) : job.folder / "responses.json";
  }
  job.run.version = LLM_VERSION;
  job.run.command = command;
  job.run.device = backend.name();
  job.run.threads = thread_count();
  job.run.ranks = ranks;
  job.run.tokenizer_hash = job.tokenizer->hash();
  return setup;
}

}  // namespace llm
