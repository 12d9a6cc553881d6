// The subcommands of llm data. Each lives in a file of the same name.
#pragma once

#include <CLI/CLI.hpp>

namespace llm {

void add_data_prepare_command(CLI::App& app);
void add_data_inspect_command(CLI::App& app);
void add_data_synth_command(CLI::App& app);

}  // namespace llm
