// A folder with input files and one output, for tests of prepare_dataset.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "data/prepare.h"
#include "data/shard.h"
#include "support/temporary_directory.h"

namespace llm::test {

class PrepareTest : public testing::Test {
 protected:
  // The output is the folder "out", its tokens are bytes.
  PrepareTest();

  // Writes an input file below the folder; returns its path.
  std::string add(const std::string& name, const std::string& text);
  // Prepares and opens the dataset; train_ and val_ are its texts then, with | for end-of-text.
  PrepareSummary prepare();
  std::vector<std::string> files_in(const fs::path& path);  // sorted names
  // One hash over all files of the output.
  std::string output_hash();

  TemporaryDirectory folder_;
  PrepareOptions options_;
  std::string train_, val_;

 private:
  // The text behind a split, with | for end-of-text.
  std::string text_of(const TokenSequence& tokens);
};

}  // namespace llm::test
