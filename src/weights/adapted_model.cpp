#include "weights/adapted_model.h"

#include <fmt/format.h>

#include <optional>

#include "base/downloads.h"
#include "base/error.h"
#include "base/log.h"
#include "model/lora.h"
#include "weights/adapter_folder.h"
#include "weights/model_folder.h"
#include "weights/weights_hash.h"

namespace llm {
namespace {

fs::path resolve_base(const std::string& base) {
  if (fs::is_directory(base) && is_adapter_folder(base) && !has_weights(base)) {
    fail_input(base, "holds adapters, and the base of adapters is a whole model",
               "`llm export --merge` makes one of them");
  }
  return resolve_model_folder(base);
}

// The base that the adapters' own config tells.
fs::path find_base(const fs::path& adapters) {
  const std::string where = (adapters / kAdapterConfigFile).string();
  const std::string base = read_adapter_config(adapters).base;
  if (base.empty()) {
    fail_input(where, "does not say which model the adapters are for", "name it with --base MODEL");
  }
  const fs::path beside = adapters / base;
  if (fs::is_directory(beside)) return resolve_base(beside.lexically_normal().string());
  const bool here = fs::exists(base);
  const auto downloaded = downloaded_model_folder(base);
  if (here || (downloaded && fs::exists(*downloaded))) return resolve_base(base);
  const bool name = is_model_name(base);
  fail_input(where, fmt::format("the model that the adapters are for, \"{}\", is not there", base),
             name ? fmt::format("`llm download {}` brings one of that name; --base MODEL names "
                                "another place of it",
                                base)
                  : "say with --base MODEL where it is");
}

// The newest checkpoint of a run that trains adapters and has none of its own yet.
std::optional<fs::path> newest_adapters(const fs::path& run) {
  std::optional<fs::path> newest;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", error)) {
    const fs::path& path = entry.path();
    if (!path.filename().string().starts_with("step_") || !is_adapter_folder(path)) continue;
    if (!newest || path.filename() > newest->filename()) newest = path;  // step_00000100
  }
  return newest;
}

// Adapters for other weights of the same shapes would load, and spoil every answer.
void require_weights_of_base(const ModelLocation& location) {
  const std::string wanted = read_base_hash(location.adapters);
  if (wanted.empty() || are_weights_of(wanted, location.folder)) return;
  constexpr size_t kShown = 17;  // the kind and 12 digits
  const std::string base = read_adapter_config(location.adapters).base;
  fail_input(location.adapters.string(),
             fmt::format("the adapters are for the weights of {} with the hash {}, and those of {} "
                         "are others",
                         quoted_name(base), quoted_name(wanted.substr(0, kShown)),
                         location.folder.string()),
             "bring the model back that they were trained on, in f32 or bf16 (f16 rounds it to "
             "other values), or name its place with --base MODEL");
}

}  // namespace

fs::path find_adapters(const fs::path& folder) {
  if (!fs::is_directory(folder) || is_adapter_folder(folder) || has_weights(folder)) return folder;
  const auto checkpoint = newest_adapters(folder);
  if (!checkpoint) return folder;
  log_warning(fmt::format("{} has no adapters of its own yet; using {}", folder.string(),
                          checkpoint->string()));
  return *checkpoint;
}

ModelLocation locate_model(const std::string& model, const std::string& base) {
  const fs::path folder = find_adapters(model);
  if (!fs::is_directory(folder) || !is_adapter_folder(folder)) {
    const fs::path whole = resolve_model_folder(model);
    if (!base.empty()) {
      fail_usage("--base", fmt::format("is of adapters, and {} has none", model), "leave it out");
    }
    return {whole, {}};
  }
  if (has_weights(folder)) {
    fail_input(model, "has the weights of a whole model and adapters, too; which are meant?",
               "give each a folder of its own");
  }
  return {base.empty() ? find_base(folder) : resolve_base(base), folder};
}

ModelConfig read_config(const ModelLocation& location) {
  const ModelConfig base = read_model_config(location.folder);
  return location.adapted() ? read_adapted_config(location.adapters, base) : base;
}

std::unique_ptr<Gpt> load_model(Backend& backend, const ModelLocation& location,
                                const StoreOptions& options) {
  if (!location.adapted()) return load_model(backend, location.folder, options);
  const ModelConfig base = read_model_config(location.folder);
  const ModelConfig config = read_adapted_config(location.adapters, base);
  require_weights_of_base(location);
  auto model = load_model(backend, location.folder, config, output_layer_of(base, config), options);
  read_adapter_weights(location.adapters, *model);
  return model;
}

std::unique_ptr<Gpt> load_merged_model(Backend& backend, const ModelLocation& location) {
  auto model = load_model(backend, location);
  if (!location.adapted()) return model;
  ModelConfig config = model->config();
  config.lora = {};
  auto merged = std::make_unique<Gpt>(backend, config, StoreOptions{});
  merge_adapters(*model, *merged);
  return merged;
}

}  // namespace llm
