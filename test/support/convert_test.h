// For tests of llm export and llm import: a small model in a folder, and the program as people call
// it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"

namespace llm::test {

class ConvertTest : public testing::Test {
 protected:
  ConvertTest() { write_byte_model(model_); }
  ProcessResult llm(const std::vector<std::string>& arguments) { return run_llm(arguments); }
  // Runs and returns the JSON line.
  Json figures(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const ProcessResult result = llm(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const size_t line = result.out.rfind('\n', result.out.size() - 2);
    return parse_json(result.out.substr(line == std::string::npos ? 0 : line + 1), "stdout");
  }
  void expect_exit(int code, const std::string& part, const std::vector<std::string>& arguments) {
    const ProcessResult result = llm(arguments);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }
  std::string path(const std::string& name) { return (directory_ / name).string(); }
  static std::string weights(const fs::path& folder) {
    return read_text_file(folder / "model.safetensors");
  }

  TemporaryDirectory directory_;
  fs::path model_ = directory_ / "model";
};

}  // namespace llm::test
