// llm inspect
#include <fmt/format.h>

#include <memory>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "model/config.h"
#include "weights/adapted_model.h"
#include "weights/adapter_folder.h"
#include "weights/model_folder.h"
#include "weights/model_source.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

struct Totals {
  int64_t numbers = 0, bytes = 0;
};

Totals totals_of(const TensorSource& tensors) {
  Totals totals;
  for (const SourceTensor& tensor : tensors.tensors()) {
    totals.numbers += tensor.elements();
    totals.bytes += tensor.bytes();
  }
  return totals;
}

// Names come from a file: escaped, so that they cannot steer a terminal.
std::string printable(const std::string& name) {
  const std::string text = Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

const char* naming_text(const ModelSource& source) {
  if (!source.naming) return "unknown";
  switch (*source.naming) {
    case Naming::hugging_face:
      return "Hugging Face GPT-2";
    case Naming::book:
      return "GPTModel of the book";
    case Naming::llm_c:
      return "llm.c";
  }
  return "";
}

// What inspect looks at.
struct Inspected {
  ModelSource source;
  Json adapters;  // what their config tells; null of a whole model
};

Inspected open(const std::string& model) {
  const fs::path folder = find_adapters(model);
  if (!fs::is_directory(folder) || !is_adapter_folder(folder) || has_weights(folder)) {
    return {open_model_source(model), nullptr};
  }
  const AdapterConfig config = read_adapter_config(folder);
  Json adapters;
  adapters["base"] = config.base;
  if (const std::string hash = read_base_hash(folder); !hash.empty()) adapters["base_hash"] = hash;
  adapters["rank"] = config.rank;
  adapters["alpha"] = decimal(config.alpha);
  adapters["dropout"] = decimal(config.dropout);
  for (const auto& [layer, rank] : config.ranks) adapters["rank_pattern"][layer] = rank;
  for (const auto& [layer, alpha] : config.alphas) {
    adapters["alpha_pattern"][layer] = decimal(alpha);
  }
  return {
      ModelSource{
          "LoRA adapters of PEFT", open_safetensors(folder / kAdapterWeightsFile), {}, {}, folder},
      adapters};
}

void print_text(const Inspected& inspected) {
  const ModelSource& source = inspected.source;
  const TensorSource& tensors = source.tensors;
  const Totals totals = totals_of(tensors);
  fmt::print("{}\n", tensors.where());
  fmt::print("  {:<22} {}\n", "format", source.format);
  if (inspected.adapters.is_null()) fmt::print("  {:<22} {}\n", "names", naming_text(source));
  for (const auto& [key, value] : inspected.adapters.items()) {
    fmt::print("  {:<22} {}\n", key, value.dump());
  }
  if (source.config) {
    const Json json = to_hugging_face(*source.config);
    for (const auto& [key, value] : json.items()) fmt::print("  {:<22} {}\n", key, value.dump());
  }
  fmt::print("tensors\n");
  for (const SourceTensor& tensor : tensors.tensors()) {
    fmt::print("  {:<40} {:<5} {:<16} {:>12}\n", printable(tensor.name), dtype_name(tensor.dtype),
               shape_text(tensor.shape), format_bytes(tensor.bytes()));
  }
  fmt::print("{}, {}, {}", counted(static_cast<int64_t>(tensors.tensors().size()), "tensor"),
             counted(totals.numbers, "number"), format_bytes(totals.bytes));
  if (source.config) fmt::print("; {}", counted(parameter_count(*source.config), "parameter"));
  fmt::print("\n");
}

void print_inspected_json(const Inspected& inspected) {
  const ModelSource& source = inspected.source;
  const Totals totals = totals_of(source.tensors);
  Json json;
  json["format"] = source.format;
  if (inspected.adapters.is_null()) json["names"] = naming_text(source);
  json.update(inspected.adapters.is_null() ? Json::object() : inspected.adapters);
  if (source.config) json["config"] = to_hugging_face(*source.config);
  json["tensors"] = Json::array();
  for (const SourceTensor& tensor : source.tensors.tensors()) {
    Json entry;
    entry["name"] = tensor.name;
    entry["dtype"] = dtype_name(tensor.dtype);
    entry["shape"] = tensor.shape;
    entry["bytes"] = tensor.bytes();
    entry["file"] = tensor.where;
    json["tensors"].push_back(std::move(entry));
  }
  if (source.config) json["parameters"] = parameter_count(*source.config);
  json["numbers"] = totals.numbers;
  json["bytes"] = totals.bytes;
  fmt::print("{}\n", to_line(json));
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto* command = app.add_subcommand("inspect", "show what a model is made of");
  auto model = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command
      ->add_option("MODEL", *model,
                   "model folder, run folder, checkpoint folder, folder of adapters, the name of a "
                   "downloaded model, or a file that `llm import` reads: .safetensors, .pth, model "
                   "file of llm.c")
      ->required();
  command->add_flag("--json", *json, "one JSON object instead of a table");
  command->footer("Example: llm inspect runs/shakespeare");
  command->callback([model, json] {
    const Inspected inspected = open(*model);
    *json ? print_inspected_json(inspected) : print_text(inspected);
  });
}

}  // namespace llm
