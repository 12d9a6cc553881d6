#include "support/pretrain_process.h"

#include "base/hash.h"
#include "base/log.h"
#include "support/small_run.h"
#include "train/checkpoint.h"

namespace llm::test {
namespace {

void overwrite(const fs::path& path, const std::string& text) {
  FileWriter writer(path);
  writer.write(text);
  writer.close();
}

}  // namespace

std::vector<std::string> pretrain_arguments(const fs::path& data, const fs::path& run,
                                            const std::vector<std::string>& more) {
  std::vector<std::string> arguments = with_words(
      {"pretrain", "--data", data.string(), "-o", run.string()},
      "--layers 1 --heads 2 --channels 16 --context 16 --batch 2 --total-batch-tokens 64 "
      "--steps 40 --lr 1e-2 --dropout 0.1 --eval-every 10 --save-every 5");
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<std::string> resume_arguments(const fs::path& run,
                                          const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"pretrain", "--resume", "-o", run.string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

ProcessOptions pretrain_environment() {
  ProcessOptions options;
  options.environment = {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"};
  return options;
}

std::string manifest_of(const fs::path& run, int64_t step) {
  return read_text_file(run / "checkpoints" / checkpoint_name(step) / "manifest.json");
}

std::string file_hash(const fs::path& path) { return sha256_of_file(path); }

std::vector<Json> log_without_times(const fs::path& run) {
  return without_times(read_log(run / "log.jsonl"));
}

void change_state(const fs::path& run, int64_t step, const std::function<void(Json&)>& change) {
  const fs::path folder = run / "checkpoints" / checkpoint_name(step);
  const fs::path state_path = folder / "train_state.json", manifest_path = folder / "manifest.json";
  Json state = read_json_file(state_path);
  change(state);
  const std::string text = to_pretty_text(state);
  overwrite(state_path, text);
  Json manifest = read_json_file(manifest_path);
  manifest["files"]["train_state.json"] =
      Json{{"bytes", text.size()}, {"sha256", sha256_of(as_bytes(text))}};
  overwrite(manifest_path, to_pretty_text(manifest));
}

}  // namespace llm::test
