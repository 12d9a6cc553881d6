#include "support/small_run.h"

#include <fstream>

#include "base/error.h"
#include "base/hash.h"
#include "cpu_ref/cpu_backend.h"
#include "support/small_dataset.h"

namespace llm::test {

TrainOptions small_options() {
  TrainOptions options;
  options.model.layers = 1;
  options.model.heads = options.model.kv_heads = 2;
  options.model.channels = 16;
  options.model.hidden = 64;
  options.model.context = 16;
  options.length = 16;
  options.batch = 2;
  options.total_batch_tokens = 64;
  options.steps = 10;
  options.lr = 1e-2;
  options.min_lr = 1e-3;
  options.eval_every = 5;
  options.save_every = 5;
  return options;
}

SmallRun::SmallRun(const TrainOptions& options, Objective* objective)
    : options_(options), backend_(make_cpu_backend({.threads = 1})), comm_(make_single_comm()) {
  dataset_ = open_dataset(make_small_dataset(directory_.path(), 4000), 0);
  options_.model.vocab_size = dataset_.vocab_size;
  options_.data = {{"text", "data", 1, dataset_.hash, "", dataset_.train.size(), 0}};
  const auto seed = static_cast<uint64_t>(options_.seed);
  samples_ = std::make_unique<SampleSource>(std::vector<MixturePart>{{"text", &dataset_, 1}},
                                            options_.length, seed);
  validation_ = {window_validation("text", 1, EvaluationSource(dataset_.val, options_.length),
                                   options_.eval_batches)};
  folder_ = std::make_unique<RunFolder>(directory_ / "run");
  folder_->open();
  NextToken plain;
  Objective& used = objective != nullptr ? *objective : next_token_;
  const MemoryPlan plan = plan_memory(*backend_, plain, options_);
  workspace_ = std::make_unique<Workspace>(*backend_, *comm_, used, options_, plan.activations());
  workspace_->model.parameters().set_weight_decay(static_cast<float>(options_.weight_decay));
  initialize();
}

void SmallRun::initialize() {
  workspace_->model.parameters().initialize(static_cast<uint64_t>(options_.seed));
  workspace_->step.set_updates(0);
  resumed_ = false;
}

TrainState SmallRun::resume() {
  const auto checkpoint = find_newest_good_checkpoint(checkpoints(), /*set_aside=*/true);
  LLM_ASSERT(checkpoint.has_value());
  const TrainState state = load_checkpoint(*checkpoint, workspace_->model);
  workspace_->step.set_updates(state.updates);
  folder_->cut_log(state.step);
  resumed_ = true;
  return state;
}

TrainSummary SmallRun::train(const TrainState& state) {
  WindowData data(*samples_, {options_.batch, options_.samples_per_step()});
  const CheckpointForm form;
  const TrainerParts parts{options_, *workspace_, data, validation_,
                           form,     *folder_,    {},   peak_rate_};
  Trainer trainer(parts, state, resumed_);
  try {
    const TrainSummary summary = trainer.run();
    state_ = trainer.state();
    return summary;
  } catch (...) {
    state_ = trainer.state();
    throw;
  }
}

std::string SmallRun::tensors_hash() const {
  Sha256 hash;
  const ParameterStore& store = workspace_->model.parameters();
  std::vector<float> host;
  for (const Tensor& arena : {store.values(), store.first_moments(), store.second_moments()}) {
    for (size_t i = 0; i < store.parameters().size(); ++i) {
      host.resize(static_cast<size_t>(store.parameters()[i].size()));
      store.read(static_cast<int>(i), arena, host);
      hash.update(std::as_bytes(std::span<const float>(host)));
    }
  }
  return hash.hex_digest();
}

std::vector<Json> SmallRun::log() const { return read_log(folder_->log_path()); }

std::vector<Json> without_times(std::vector<Json> records) {
  for (Json& record : records) {
    record.erase("seconds");
    record.erase("tokens_per_second");
    record.erase("mfu");
  }
  return records;
}

void flip_byte(const fs::path& path) {
  const auto middle = static_cast<std::streamoff>(fs::file_size(path) / 2);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(middle);
  const int byte = file.get();
  file.seekp(middle);
  file.put(static_cast<char>(byte ^ 1));
}

void truncate_half(const fs::path& path) { fs::resize_file(path, fs::file_size(path) / 2); }

}  // namespace llm::test
