// llm data inspect
#include <fmt/format.h>

#include <memory>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/data_command.h"
#include "cli/output.h"
#include "data/inspect.h"

namespace llm {
namespace {

struct InspectCommand {
  InspectOptions options;
  std::string path, tokenizer_dir;
  bool no_verify = false, json = false;
};

void print_inspected_split(const char* name, const TokenSequence& tokens, const Json& record) {
  std::string line = fmt::format("{:<10} {} in {}", name, counted(tokens.size(), "token"),
                                 counted(static_cast<int64_t>(tokens.shards().size()), "file"));
  for (const std::string what : {"document", "character", "byte"}) {
    const auto count = record.find(what + "s");
    if (count != record.end() && count->is_number_integer()) {
      line += ", " + counted(count->get<int64_t>(), what);
    }
  }
  print(line + "\n");
  for (const Shard& shard : tokens.shards()) {
    print(fmt::format("           {}: {} of {} bits\n", shard.path().filename().string(),
                      counted(shard.tokens(), "token"), shard.wide() ? 32 : 16));
  }
}

void print_inspection(const Inspection& inspection, bool verified) {
  const Dataset& dataset = inspection.dataset;
  const Json none = Json::object();
  const auto split = [&](const char* name) -> const Json& {
    return dataset.description.contains(name) ? dataset.description[name] : none;
  };
  print(fmt::format("{:<10} {}\n", "dataset", dataset.name));
  print_inspected_split("train", dataset.train, split("train"));
  if (dataset.val.size() > 0) print_inspected_split("val", dataset.val, split("val"));
  if (dataset.vocab_size > 0) {
    print(fmt::format("{:<10} {} {}\n", "vocabulary", counted(dataset.vocab_size, "token"),
                      inspection.tokenizer_kind));
    print(fmt::format("{:<10} {}\n", "tokenizer", dataset.tokenizer_hash));
  }
  print(fmt::format("{:<10} {}\n", "hash", dataset.hash));
  if (verified) {
    print(fmt::format("{:<10} {} different tokens, the largest id is {}\n", "ids",
                      with_commas(inspection.distinct_tokens),
                      with_commas(inspection.largest_token)));
  }
  const char* what = dataset.directory.empty() ? "ids in range, there are no checksums"
                                               : "checksums and ids are right";
  print(fmt::format("{:<10} {}\n", "checked",
                    verified ? fmt::format("{} MiB: {}", with_commas(inspection.mebibytes), what)
                             : "no (--no-verify)"));
  for (const TokenSample& sample : inspection.samples) {
    std::string text = sample.text;
    if (text.empty()) text = fmt::format("{}", fmt::join(sample.ids, " "));
    print(
        fmt::format("\n{} at token {}\n  {}\n", sample.split, with_commas(sample.position), text));
  }
}

void inspect(InspectCommand& command) {
  command.options.path = command.path;
  command.options.tokenizer_dir = command.tokenizer_dir;
  command.options.verify = !command.no_verify;
  const Inspection inspection = inspect_dataset(command.options);
  print_inspection(inspection, command.options.verify);
  if (!command.json) return;
  const Dataset& dataset = inspection.dataset;
  Json samples = Json::array();
  for (const TokenSample& sample : inspection.samples) {
    samples.push_back(Json{{"split", sample.split},
                           {"position", sample.position},
                           {"ids", sample.ids},
                           {"text", sample.text}});
  }
  Json figures{{"train_tokens", dataset.train.size()},
               {"val_tokens", dataset.val.size()},
               {"train_files", dataset.train.shards().size()},
               {"val_files", dataset.val.shards().size()},
               {"vocab_size", dataset.vocab_size},
               {"tokenizer_hash", dataset.tokenizer_hash},
               {"hash", dataset.hash},
               {"verified", command.options.verify},
               {"mebibytes", inspection.mebibytes}};
  if (command.options.verify) {
    figures["distinct_tokens"] = inspection.distinct_tokens;
    figures["largest_token"] = inspection.largest_token;
  }
  figures["samples"] = std::move(samples);
  print_json(figures);
}

}  // namespace

void add_data_inspect_command(CLI::App& app) {
  auto command = std::make_shared<InspectCommand>();
  CLI::App* inspect_app =
      app.add_subcommand("inspect", "counts, hashes, checks and decoded samples of a dataset");
  InspectOptions& options = command->options;
  inspect_app->add_option("DATA", command->path, "a dataset folder or a shard (.bin)")->required();
  inspect_app->add_option("--samples", options.samples, "passages of the training text to show")
      ->check(CLI::Range(int64_t{0}, int64_t{10'000}))
      ->type_name("N");
  inspect_app->add_option("--sample-tokens", options.sample_tokens, "tokens in each")
      ->check(CLI::Range(int64_t{1}, int64_t{100'000}))
      ->type_name("N");
  inspect_app->add_option("--seed", options.seed, "which passages")
      ->check(seed_range())
      ->type_name("N");
  inspect_app->add_flag("--no-verify", command->no_verify,
                        "leave checksums unchecked, and all ids but those of the samples");
  inspect_app
      ->add_option("--tokenizer", options.tokenizer,
                   "tokenizer to decode with: a folder, `gpt2` or `bytes`; default: the one beside "
                   "the data")
      ->type_name("T");
  inspect_app
      ->add_option("--tokenizer-dir", command->tokenizer_dir, "folder with the files of `gpt2`")
      ->type_name("DIR");
  inspect_app->add_flag("--json", command->json, "print the figures as a last line of JSON");
  inspect_app->footer("Example: llm data inspect data/corpus --samples 5");
  inspect_app->callback([command] { inspect(*command); });
}

}  // namespace llm
