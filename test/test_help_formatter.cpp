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
    const bool whole = command.size() > 2 || command[0] == "pretrain" || command[0] == "generate";
    if (whole) {
      EXPECT_NE(result.out.find("Example"), std::string::npos) << result.out;
    }
  }
}

}  // namespace
}  // namespace llm
