// llm data prepare | inspect | synth
#include "cli/data_command.h"

#include "cli/commands.h"

namespace llm {

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "prepare, inspect and make training data");
  command->require_subcommand(1);
  command->footer("Example: llm data prepare my.txt --tokenizer my-tokenizer -o my-data");
  add_data_prepare_command(*command);
  add_data_inspect_command(*command);
  add_data_synth_command(*command);
}

}  // namespace llm
