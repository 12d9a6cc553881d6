// The subcommands of llm. Each add_ function parses, validates, calls and prints for one of them
// and lives in a file of the same name.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace llm {

void add_data_command(CLI::App& app);
void add_tokenizer_command(CLI::App& app);
void add_pretrain_command(CLI::App& app);
void add_finetune_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_chat_command(CLI::App& app);
void add_classify_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_download_command(CLI::App& app);
void add_import_command(CLI::App& app);  // both in convert_command.cpp
void add_export_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_check_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_plot_command(CLI::App& app);

// What --seed may be. CLI11 reads a number that is too large as the largest one, which is therefore
// none of them.
inline CLI::Range seed_range() {
  return CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max() - 1);
}

}  // namespace llm
