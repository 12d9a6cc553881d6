// llm inspect
#include <fmt/format.h>

#include <memory>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "model/config.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

struct Totals {
  int64_t parameters = 0, bytes = 0;
};

Totals totals_of(const SafetensorsFile& file) {
  Totals totals;
  for (const TensorInfo& tensor : file.tensors()) {
    totals.parameters += tensor.elements();
    totals.bytes += tensor.end - tensor.begin;
  }
  return totals;
}

// Names come from a file: escaped, so that they cannot steer a terminal.
std::string printable(const std::string& name) {
  const std::string quoted = Json(name).dump();
  return quoted.substr(1, quoted.size() - 2);
}

void print_text(const fs::path& folder, const ModelConfig& config, const SafetensorsFile& file) {
  const Totals totals = totals_of(file);
  fmt::print("{}\n", folder.string());
  const Json json = to_hugging_face(config);
  for (const auto& [key, value] : json.items()) {
    fmt::print("  {:<22} {}\n", key, value.dump());
  }
  fmt::print("tensors\n");
  for (const TensorInfo& tensor : file.tensors()) {
    fmt::print("  {:<40} {:<5} {:<16} {:>12}\n", printable(tensor.name), dtype_name(tensor.dtype),
               shape_text(tensor.shape), format_bytes(tensor.end - tensor.begin));
  }
  fmt::print("{} tensors, {} numbers, {}; {} parameters\n", with_commas(file.tensors().size()),
             with_commas(totals.parameters), format_bytes(totals.bytes),
             with_commas(parameter_count(config)));
}

void print_json(const ModelConfig& config, const SafetensorsFile& file) {
  const Totals totals = totals_of(file);
  Json json;
  json["config"] = to_hugging_face(config);
  json["tensors"] = Json::array();
  for (const TensorInfo& tensor : file.tensors()) {
    Json entry;
    entry["name"] = tensor.name;
    entry["dtype"] = dtype_name(tensor.dtype);
    entry["shape"] = tensor.shape;
    entry["bytes"] = tensor.end - tensor.begin;
    json["tensors"].push_back(std::move(entry));
  }
  json["parameters"] = parameter_count(config);
  json["bytes"] = totals.bytes;
  fmt::print("{}\n", to_line(json));
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto* command = app.add_subcommand("inspect", "show what a model is made of");
  auto model = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("MODEL", *model, "model folder, run folder or checkpoint folder")->required();
  command->add_flag("--json", *json, "one JSON object instead of a table");
  command->footer("Example: llm inspect runs/shakespeare");
  command->callback([model, json] {
    const fs::path folder = resolve_model_folder(*model);
    const ModelConfig config = read_model_config(folder);
    const SafetensorsFile file(folder / "model.safetensors");
    *json ? print_json(config, file) : print_text(folder, config, file);
  });
}

}  // namespace llm
