// llm: from raw text to a language model of one's own. This file is the table of subcommands and
// the one place where errors become messages and exit codes.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/help_formatter.h"
#include "cli/parse_problem.h"

namespace {

// Otherwise a file could be opened in the place of a closed stream, and get what is printed.
void keep_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", O_RDWR) != stream) _exit(1);
  }
}

// One line: names from files and arguments may hold anything, also what would steer a terminal.
std::string printable(std::string_view message) {
  std::string line;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    line += byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return line;
}

int report(llm::ErrorKind kind, std::string_view message) {
  std::fflush(stdout);
  llm::print_above_progress("llm: " + printable(message));
  return static_cast<int>(kind);
}

// The innermost command that was named, and its full name.
const CLI::App& named_command(const CLI::App& app, std::string& name) {
  const CLI::App* at = &app;
  for (name = "llm"; !at->get_subcommands().empty(); name += " " + at->get_name()) {
    at = at->get_subcommands().front();
  }
  return *at;
}

std::string help_hint(const CLI::App& app) {
  std::string name;
  named_command(app, name);
  return fmt::format("see `{} --help`", name);
}

std::string problem_of(const CLI::ParseError& error, const CLI::App& app) {
  std::string name;
  const CLI::App& command = named_command(app, name);
  const std::vector<std::string> rest = command.remaining();
  const bool wants_command = command.get_require_subcommand_min() > 0;
  if (wants_command && !rest.empty() && !rest.front().starts_with('-')) {
    return fmt::format("\"{}\" is no command of {}", rest.front(), name);
  }
  return llm::plain_problem(error.what());
}

// An empty value is most often an unset shell variable. These are texts, which may be empty.
void refuse_empty_values(CLI::App& app) {
  constexpr std::array kTexts = {"prompt", "system", "input", "stop"};
  for (CLI::Option* option : app.get_options()) {
    const bool text = std::any_of(kTexts.begin(), kTexts.end(),
                                  [&](const char* name) { return option->check_lname(name); });
    if (text || option->get_items_expected_max() == 0) continue;
    const char* problem = option->get_required() ? "the name is empty; is a shell variable not set?"
                                                 : "is empty; is a shell variable not set?";
    option->check(
        [problem](const std::string& value) { return std::string(value.empty() ? problem : ""); });
  }
  for (CLI::App* command : app.get_subcommands({})) refuse_empty_values(*command);
}

int run(int argc, char** argv) {
  CLI::App app{
      "llm builds a language model from scratch: text to tokens, pretraining, fine-tuning,\n"
      "sampling.\n"
      "`llm COMMAND --help` tells the options of a command, with an example."};
  app.name("llm");
  app.set_version_flag("--version", "llm " LLM_VERSION);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  app.formatter(llm::make_help_formatter());

  llm::add_data_command(app);
  llm::add_tokenizer_command(app);
  llm::add_pretrain_command(app);
  llm::add_finetune_command(app);
  llm::add_generate_command(app);
  llm::add_chat_command(app);
  llm::add_classify_command(app);
  llm::add_eval_command(app);
  llm::add_download_command(app);
  llm::add_import_command(app);
  llm::add_export_command(app);
  llm::add_inspect_command(app);
  llm::add_check_command(app);
  llm::add_bench_command(app);
  llm::add_plot_command(app);
  refuse_empty_values(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return report(llm::ErrorKind::usage,
                  fmt::format("{} ({})", problem_of(error, app), help_hint(app)));
  } catch (const llm::Error& error) {
    if (error.kind() != llm::ErrorKind::usage || !error.hint().empty()) throw;
    return report(error.kind(), fmt::format("{} ({})", error.what(), help_hint(app)));
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    llm::fail_disk("standard output", "cannot write", errno);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  keep_standard_streams();
  llm::restart_with_fitting_libraries(argv);
  try {
    return run(argc, argv);
  } catch (const llm::Error& error) {
    return report(error.kind(), error.what());
  } catch (const std::bad_alloc&) {
    return report(llm::ErrorKind::memory,
                  "out of memory (close other programs, or use a smaller model or batch)");
  } catch (const std::filesystem::filesystem_error& error) {
    return report(llm::ErrorKind::input,
                  fmt::format("{}: {} (check the path)", error.path1().string().substr(0, 200),
                              error.code().message()));
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) {
      return report(llm::ErrorKind::memory,
                    "cannot start a thread (too little memory, or too many processes)");
    }
    // What fmt throws where it cannot print.
    return report(llm::ErrorKind::disk, fmt::format("standard output: {}", error.what()));
  } catch (const std::exception& error) {
    return report(llm::ErrorKind::input, error.what());
  }
}
