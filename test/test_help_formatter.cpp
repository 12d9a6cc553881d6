#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "cli/help_formatter.h"
#include "support/subprocess.h"

namespace llm {
namespace {

TEST(TwoColumns, WrapsBetweenWords) {
  EXPECT_EQ(two_columns("-n N", "one two three", 8, 16),
            "  -n N  one two\n"
            "        three\n");
  EXPECT_EQ(two_columns("-n N", "", 8, 16), "  -n N\n");
}

TEST(TwoColumns, ALongNameHasALineOfItsOwn) {
  EXPECT_EQ(two_columns("--long-name", "text", 8, 16), "  --long-name\n        text\n");
}

TEST(TwoColumns, AWordLongerThanTheLineStaysWhole) {
  EXPECT_EQ(two_columns("-n", "a bbbbbbbbbbbbbbbb c", 8, 16),
            "  -n    a\n"
            "        bbbbbbbbbbbbbbbb\n"
            "        c\n");
}

TEST(HelpFormatter, ShowsDefaultsChoicesAndWhatIsRequired) {
  CLI::App app;
  app.formatter(make_help_formatter(80));
  app.option_defaults()->always_capture_default();
  int number = 7;
  std::string kind = "a", folder;
  std::vector<std::string> files;
  bool flag = false;
  int told = 0, described = 4;
  app.add_option("--told", told, "how many [all]");
  app.add_option("--described", described, "how many (default: by the size)");
  app.add_option("FILE", files, "what to read")->required();
  app.add_option("-n,--number", number, "how many")->check(CLI::Range(1, 9));
  app.add_option("--kind", kind, "which one")->check(CLI::IsMember({"a", "b"}))->type_name("K");
  app.add_option("-o,--out", folder, "where to")->required()->type_name("DIR");
  app.add_flag("--flag", flag, "yes");
  const std::string help = app.help();
  for (const char* line : {"  FILE ...                    what to read\n",
                           "  -n,--number N               how many [7]\n",
                           "  --kind K                    which one: a, b [a]\n",
                           "  -o,--out DIR                where to (required)\n",
                           "  --told N                    how many [all]\n",
                           "  --described N               how many (default: by the size)\n",
                           "  --flag                      yes\n"}) {
    EXPECT_NE(help.find(line), std::string::npos) << help << "\nhas no line\n" << line;
  }
}

// Of every command, without a terminal.
TEST(Help, FitsAHundredColumns) {
  const std::vector<std::vector<std::string>> commands = {{},
                                                          {"data"},
                                                          {"data", "prepare"},
                                                          {"data", "inspect"},
                                                          {"plot"},
                                                          {"data", "synth"},
                                                          {"tokenizer"},
                                                          {"tokenizer", "train"},
                                                          {"generate"},
                                                          {"pretrain"},
                                                          {"tokenizer", "encode"},
                                                          {"tokenizer", "decode"},
                                                          {"inspect"},
                                                          {"download"},
                                                          {"chat"},
                                                          {"eval"},
                                                          {"import"},
                                                          {"export"},
                                                          {"finetune"},
                                                          {"classify"},
                                                          {"bench", "ops"},
                                                          {"bench", "decode"},
                                                          {"bench", "train"},
                                                          {"check"}};
  for (std::vector<std::string> command : commands) {
    command.push_back("--help");
    const test::ProcessResult result = test::run_llm(command);
    EXPECT_EQ(result.exit_code, 0);
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), 100u) << line;
      const size_t brackets = line.find("] [");
      const bool two_defaults = brackets != std::string::npos && !line.ends_with("cuda[:N] [auto]");
      EXPECT_FALSE(two_defaults && !line.starts_with("Usage")) << line;
    }
  }
}

// The names under "Subcommands:" in a help text.
std::vector<std::string> subcommands_in(const std::string& help) {
  std::vector<std::string> names;
  bool listed = false;
  for (const std::string& line : test::lines_of(help)) {
    if (line == "Subcommands:") {
      listed = true;
    } else if (listed && line.size() > 2 && line.starts_with("  ") && line[2] != ' ') {
      names.push_back(line.substr(2, line.find(' ', 2) - 2));
    } else if (listed && !line.starts_with("  ")) {
      break;
    }
  }
  return names;
}

TEST(Help, OfEveryCommandHasAnExample) {
  std::vector<std::vector<std::string>> commands;
  for (const std::string& name : subcommands_in(test::run_llm({"--help"}).out)) {
    commands.push_back({name});
  }
  size_t groups = 0;
  for (size_t i = 0; i < commands.size(); ++i) {
    std::vector<std::string> command = commands[i];
    command.emplace_back("--help");
    const std::string help = test::run_llm(command).out;
    EXPECT_NE(help.find("Example"), std::string::npos) << help;
    const std::vector<std::string> below = subcommands_in(help);
    groups += below.empty() ? 0 : 1;
    for (const std::string& name : below) {
      commands.push_back(commands[i]);
      commands.back().push_back(name);
    }
  }
  EXPECT_GE(commands.size(), 20u);
  EXPECT_GE(groups, 3u);
}

}  // namespace
}  // namespace llm
