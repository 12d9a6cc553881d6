#include "cli/pretrain_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "cli/model_arguments.h"
#include "train/run_folder.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

// Where the shape of the model comes from.
struct ModelOrigin {
  ModelConfig config;
  std::string folder;        // of a model, "" for presets and a config.json
  bool vocab_fixed = false;  // by a file or --vocab-size, not by the data
};

ModelOrigin model_of(const PretrainArguments& arguments, const TrainOptions& options) {
  ModelOrigin origin;
  if (arguments.resume && !arguments.model) {
    origin.config = options.model;
    origin.vocab_fixed = true;
  } else if (arguments.model && fs::is_directory(*arguments.model)) {
    origin.folder = resolve_model_folder(*arguments.model).string();
  } else if (!arguments.model && options.init != "random") {
    origin.folder = resolve_model_folder(options.init).string();
  } else {
    origin.config = arguments.model ? shape_named(*arguments.model) : model_preset("gpt2");
    origin.vocab_fixed = arguments.model && fs::exists(*arguments.model);
  }
  if (!origin.folder.empty()) {
    origin.config = read_model_config(origin.folder);
    origin.vocab_fixed = true;
  }
  require_language_model(origin.config,
                         origin.folder.empty() ? arguments.model.value_or("") : origin.folder);
  apply_model_arguments(origin.config, arguments);
  if (arguments.vocab_size) origin.vocab_fixed = true;
  return origin;
}

std::vector<DataPart> data_of(const PretrainArguments& arguments, const TrainOptions& stored) {
  if (arguments.data.empty()) {
    if (arguments.resume) return stored.data;
    fail_usage("--data", "is required", "a dataset folder, as `llm data prepare` writes it");
  }
  std::vector<DataPart> parts;
  std::set<std::string> names;
  for (const std::string& text : arguments.data) {
    parts.push_back(parse_data_argument(text));
    if (!names.insert(parts.back().name).second) {
      fail_usage("--data", fmt::format("two datasets are named \"{}\"", parts.back().name),
                 "give names: a=DIR b=DIR");
    }
  }
  return parts;
}

// Opens all parts and notes in `options` what identifies them. The vocabulary is that of the first
// dataset where nothing else fixes it.
std::vector<Dataset> open_datasets(TrainOptions& options, ModelOrigin& origin) {
  const auto known_vocab = [&] { return origin.vocab_fixed ? origin.config.vocab_size : 0; };
  std::vector<Dataset> datasets;
  for (DataPart& part : options.data) {
    if (!origin.vocab_fixed) {
      const int64_t vocab = open_dataset(part.path, 0, /*verify=*/false).vocab_size;
      if (vocab > 0) origin.config.vocab_size = vocab;
      origin.vocab_fixed = true;
    }
    datasets.push_back(open_dataset(part.path, known_vocab(), /*verify=*/false));
    const Dataset& dataset = datasets.back();
    if (dataset.vocab_size > 0 && dataset.vocab_size != origin.config.vocab_size) {
      fail_input(
          part.path,
          fmt::format("a vocabulary of {} tokens, the model's has {}",
                      with_commas(dataset.vocab_size), with_commas(origin.config.vocab_size)),
          "prepare the data with the tokenizer of the model (in a mixture: of the first dataset); "
          "--vocab-size is best left out");
    }
    part.hash = dataset.hash;
    part.tokenizer_hash = dataset.tokenizer_hash;
    part.train_tokens = dataset.train.size();
    part.val_tokens = dataset.val.size();
  }
  return datasets;
}

// A dataset that was moved or renamed is still the one that the run began with.
void keep_names(std::vector<DataPart>& now, const std::vector<DataPart>& before) {
  if (now.size() != before.size()) return;
  for (size_t i = 0; i < now.size(); ++i) {
    if (now[i].hash == before[i].hash) now[i].name = before[i].name;
  }
}

// The tokenizer of the model to start from, else of the data; all that are known must agree.
std::unique_ptr<Tokenizer> find_tokenizer(const std::vector<Dataset>& datasets,
                                          const std::string& model_folder,
                                          const std::string& run_folder) {
  std::unique_ptr<Tokenizer> tokenizer;
  std::string owner;
  const auto look_in = [&](const fs::path& folder, const std::string& name) {
    if (tokenizer || folder.empty()) return;
    tokenizer = read_model_tokenizer(folder);
    owner = name;
  };
  look_in(model_folder, fmt::format("the model {}", model_folder));
  for (const Dataset& dataset : datasets) look_in(dataset.directory, dataset.name);
  if (!tokenizer && !run_folder.empty()) {
    look_in(resolve_model_folder(run_folder), fmt::format("the run {}", run_folder));
  }
  if (!tokenizer) {
    log_warning("no tokenizer in the data: the model will be saved without one");
    for (const Dataset& dataset : datasets) {
      require_same_tokenizer(dataset, datasets.front().tokenizer_hash, datasets.front().name);
    }
    return nullptr;
  }
  for (const Dataset& dataset : datasets) {
    require_same_tokenizer(dataset, tokenizer->hash(), owner);
  }
  return tokenizer;
}

int64_t parse_batch(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail_usage("--batch", fmt::format("\"{}\" is neither a number nor auto", text));
  }
  return value;
}

// The largest power of two whose plan fits, and on the host leaves a fifth of the memory free. On
// the CPU more than a few thousand tokens at once gain nothing, since its caches are small.
int64_t choose_batch(const TrainOptions& options, const Backend& backend, int64_t ranks) {
  constexpr int64_t kMostTokensOnHost = 4096;
  NextToken objective;
  TrainOptions trial = options;
  for (trial.batch = 1024; trial.batch >= 1; trial.batch /= 2) {
    const int64_t tokens = trial.batch * trial.length;
    if (backend.is_host() && trial.batch > 1 && tokens > kMostTokensOnHost) continue;
    if (options.total_batch_tokens > 0 && options.total_batch_tokens % (tokens * ranks) != 0) {
      continue;
    }
    const MemoryPlan plan = plan_memory(backend, objective, trial);
    const bool fits = backend.is_host() ? plan.total() <= backend.memory_available() / 5 * 4
                                        : fits_memory(plan, backend);
    if (fits) return trial.batch;
  }
  throw Error(ErrorKind::memory, "--batch auto", "not even one sequence fits",
              options.recompute ? "use a smaller model or --length, or another --total-batch-tokens"
                                : "try --recompute, a smaller model or --length, or another "
                                  "--total-batch-tokens");
}

void complete_batch(TrainOptions& options, const PretrainArguments& arguments,
                    const Backend& backend, int64_t ranks) {
  if (options.length == 0) options.length = options.model.context;
  validate(options.model, "model");
  if (options.length < 1 || options.length > options.model.context) {
    fail_usage("--length",
               fmt::format("{} tokens, the context is {}", options.length, options.model.context));
  }
  if (arguments.batch && *arguments.batch == "auto") {
    options.batch = choose_batch(options, backend, ranks);
  } else if (arguments.batch) {
    options.batch = parse_batch(*arguments.batch);
  }
  if (options.batch < 1 || options.batch > (1 << 20)) {
    fail_usage("--batch", fmt::format("{} sequences", options.batch), "1 to 1,048,576, or auto");
  }
  if (options.total_batch_tokens == 0) {
    options.total_batch_tokens = options.batch * options.length * ranks;
  }
  if (options.total_batch_tokens < options.length) {
    fail_usage("--total-batch-tokens", fmt::format("{} tokens, one sequence has {}",
                                                   options.total_batch_tokens, options.length));
  }
}

void complete_steps(TrainOptions& options, const PretrainArguments& arguments,
                    int64_t samples_per_epoch) {
  if (arguments.steps) {
    options.steps = *arguments.steps;
  } else if (arguments.epochs || !arguments.resume) {
    const double epochs = arguments.epochs.value_or(1);
    if (!std::isfinite(epochs) || epochs <= 0 || epochs > 1e6) {
      fail_usage("--epochs", fmt::format("{} is not a number of passes", epochs));
    }
    options.steps = static_cast<int64_t>(
        std::ceil(epochs * static_cast<double>(samples_per_epoch) /
                  static_cast<double>(std::max<int64_t>(options.samples_per_step(), 1))));
  }
  if (arguments.warmup) {
    options.warmup = *arguments.warmup;
  } else if (!arguments.resume) {
    const int64_t schedule = options.decay_steps > 0 ? options.decay_steps : options.steps;
    options.warmup = std::llround(0.02 * static_cast<double>(std::max<int64_t>(schedule, 0)));
  }
}

int64_t count_samples_per_epoch(const TrainOptions& options, const std::vector<Dataset>& datasets) {
  std::vector<MixturePart> parts;
  for (size_t i = 0; i < datasets.size(); ++i) {
    parts.push_back({options.data[i].name, &datasets[i], options.data[i].weight});
  }
  return SampleSource(std::move(parts), options.length, 0).samples_per_epoch();
}

}  // namespace

void verify_data(PretrainSetup& setup) {
  const TrainOptions& options = setup.job.run.options;
  for (size_t i = 0; i < setup.job.datasets.size(); ++i) {
    setup.job.datasets[i] =
        open_dataset(options.data[i].path, options.model.vocab_size, /*verify=*/true);
  }
}

std::unique_ptr<Backend> open_backend(const PretrainArguments& arguments) {
  TrainOptions stored;
  if (arguments.resume) stored = RunFolder(arguments.output).read_description().options;
  return open_backend(arguments, stored);
}

PretrainSetup set_up_pretraining(const PretrainArguments& arguments,
                                 const std::vector<std::string>& command, const Backend& backend,
                                 int ranks) {
  PretrainSetup setup;
  PretrainJob& job = setup.job;
  job.folder = arguments.output;
  job.resume = arguments.resume;
  job.retune = arguments.retune;
  const RunFolder folder(job.folder);
  RunDescription before;
  if (job.resume) {
    before = folder.read_description();
    if (before.finetune) {
      fail_usage(arguments.output, "this run is one of fine-tuning",
                 "`llm finetune --resume -o RUN` continues it");
    }
  } else if (!arguments.dry_run && ranks == 1) {
    folder.require_new();  // before the data is read; again when the folder is opened
  }

  TrainOptions& options = job.run.options;
  options = before.options;
  apply_arguments(options, arguments);
  if (!arguments.resume && !arguments.dtype) options.dtype = backend.is_host() ? "f32" : "bf16";
  ModelOrigin origin = model_of(arguments, options);
  options.data = data_of(arguments, before.options);
  job.datasets = open_datasets(options, origin);
  if (job.resume) keep_names(options.data, before.options.data);
  setup.tokenizer = find_tokenizer(job.datasets, origin.folder, job.resume ? arguments.output : "");
  job.tokenizer = setup.tokenizer.get();
  options.model = origin.config;
  if (job.tokenizer != nullptr && options.model.eos_token_id < 0) {
    options.model.bos_token_id = options.model.eos_token_id =
        job.tokenizer->end_of_text().value_or(-1);
  }

  complete_batch(options, arguments, backend, ranks);
  setup.samples_per_epoch = count_samples_per_epoch(options, job.datasets);
  complete_steps(options, arguments, setup.samples_per_epoch);
  validate(options, ranks);
  if (job.resume) require_resumable(before.options, options, arguments.output);

  job.run.version = LLM_VERSION;
  job.run.command = command;
  job.run.device = backend.name();
  job.run.threads = thread_count();
  job.run.ranks = ranks;
  job.run.tokenizer_hash = job.tokenizer != nullptr ? job.tokenizer->hash() : "";
  job.run.resumes = before.resumes;
  return setup;
}

}  // namespace llm
