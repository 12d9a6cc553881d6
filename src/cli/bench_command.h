// The subcommands of `llm bench`, each in a file of its name.
#pragma once

#include <CLI/CLI.hpp>

namespace llm {

void add_bench_ops_command(CLI::App& bench);
void add_bench_train_command(CLI::App& bench);
void add_bench_decode_command(CLI::App& bench);

}  // namespace llm
