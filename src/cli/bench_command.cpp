// llm bench
#include "cli/bench_command.h"

#include "cli/commands.h"

namespace llm {

void add_bench_command(CLI::App& app) {
  auto* command = app.add_subcommand("bench", "measure how fast a device is");
  command->require_subcommand(1);
  command->footer("Example: llm bench train --model gpt2");
  add_bench_ops_command(*command);
  add_bench_train_command(*command);
  add_bench_decode_command(*command);
}

}  // namespace llm
