// llm data synth
#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/data_command.h"
#include "cli/output.h"
#include "data/synth.h"

namespace llm {
namespace {

struct SynthCommand {
  SynthOptions options;
  std::string directory;
  bool force = false, json = false;
};

void synth(SynthCommand& command) {
  command.options.directory = command.directory;
  require_no_files(command.directory, {"stories.jsonl", "messages.tsv", "instructions.json"},
                   command.force);
  Progress progress;
  command.options.progress = [&](std::string_view part, int64_t done, int64_t total) {
    progress.show(fmt::format("writing {} | {}/{}", part, with_commas(done), with_commas(total)));
  };
  const SynthSummary summary = write_synthetic_corpus(command.options);
  progress.finish();
  print(fmt::format("{}/stories.jsonl       {}, {}\n", command.directory,
                    counted(summary.stories, "text"), format_bytes(summary.story_bytes)));
  print(fmt::format("{}/messages.tsv        {} ({} spam, {} ham), {}\n", command.directory,
                    counted(summary.messages, "message"), with_commas(summary.spam),
                    with_commas(summary.ham), format_bytes(summary.message_bytes)));
  print(fmt::format("{}/instructions.json   {}, {}\n", command.directory,
                    counted(summary.instructions, "pair"),
                    format_bytes(summary.instruction_bytes)));
  if (!command.json) return;
  print_json(Json{{"stories", summary.stories},
                  {"story_bytes", summary.story_bytes},
                  {"messages", summary.messages},
                  {"spam", summary.spam},
                  {"ham", summary.ham},
                  {"message_bytes", summary.message_bytes},
                  {"instructions", summary.instructions},
                  {"instruction_bytes", summary.instruction_bytes}});
}

}  // namespace

void add_data_synth_command(CLI::App& app) {
  auto command = std::make_shared<SynthCommand>();
  CLI::App* synth_app = app.add_subcommand(
      "synth", "write a small synthetic corpus: stories, messages, instruction pairs");
  SynthOptions& options = command->options;
  synth_app->add_option("-o,--out", command->directory, "folder for the three files")
      ->required()
      ->type_name("DIR");
  synth_app->add_flag("--force", command->force, "replace the corpus that is in the folder");
  synth_app->add_option("--stories", options.stories, "number of stories")
      ->check(CLI::Range(int64_t{0}, kSynthMaxStories))
      ->type_name("N");
  synth_app->add_option("--messages", options.messages, "number of spam and ham messages")
      ->check(CLI::Range(int64_t{0}, kSynthMaxMessages))
      ->type_name("N");
  synth_app->add_option("--instructions", options.instructions, "number of instruction pairs")
      ->check(CLI::Range(int64_t{0}, kSynthMaxInstructions))
      ->type_name("N");
  synth_app->add_option("--seed", options.seed, "the same seed gives the same files")
      ->check(seed_range())
      ->type_name("N");
  synth_app->add_flag("--json", command->json, "print the figures as a last line of JSON");
  synth_app->footer("Example: llm data synth -o corpus --stories 12000 --seed 42");
  synth_app->callback([command] { synth(*command); });
}

}  // namespace llm
