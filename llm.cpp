// llm: from raw text to a language model of one's own. This file is the table of subcommands and
// the one place where errors become messages and exit codes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "base/error.h"
#include "cli/commands.h"

namespace {

int report(int exit_code, const char* message) {
  std::fflush(stdout);
  fmt::print(stderr, "llm: {}\n", message);
  return exit_code;
}

int run(int argc, char** argv) {
  CLI::App app{
      "llm builds a language model from scratch: text to tokens, pretraining, sampling.\n"
      "`llm COMMAND --help` tells the options of a command, with an example."};
  app.name("llm");
  app.set_version_flag("--version", "llm " LLM_VERSION);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  app.get_formatter()->column_width(36);

  llm::add_data_command(app);
  llm::add_tokenizer_command(app);
  llm::add_pretrain_command(app);
  llm::add_generate_command(app);
  llm::add_plot_command(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    const int code = report(static_cast<int>(llm::ErrorKind::usage), error.what());
    // The innermost command that was named is the one whose help is wanted.
    std::string command = "llm";
    for (auto* at = &app; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      command += " " + at->get_name();
    }
    fmt::print(stderr, "Try `{} --help`.\n", command);
    return code;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const llm::Error& error) {
    return report(error.exit_code(), error.what());
  } catch (const std::bad_alloc&) {
    return report(static_cast<int>(llm::ErrorKind::memory), "out of memory");
  } catch (const std::exception& error) {
    return report(static_cast<int>(llm::ErrorKind::input), error.what());
  }
}
