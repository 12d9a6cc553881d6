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
#include "weights/model_source.h"

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

void print_text(const ModelSource& source) {
  const TensorSource& tensors = source.tensors;
  const Totals totals = totals_of(tensors);
  fmt::print("{}\n", tensors.where());
  fmt::print("  {:<22} {}\n  {:<22} {}\n", "format", source.format, "names", naming_text(source));
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

void print_json(const ModelSource& source) {
  const Totals totals = totals_of(source.tensors);
  Json json;
  json["format"] = source.format;
  json["names"] = naming_text(source);
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
      ->add_option(
          "MODEL", *model,
          "model folder, run folder, checkpoint folder, the name of a downloaded model, or a "
          "file that `llm import` reads: .safetensors, .pth, model file of llm.c")
      ->required();
  command->add_flag("--json", *json, "one JSON object instead of a table");
  command->footer("Example: llm inspect runs/shakespeare");
  command->callback([model, json] {
    const ModelSource source = open_model_source(*model);
    *json ? print_json(source) : print_text(source);
  });
}

}  // namespace llm
