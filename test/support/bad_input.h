// A table of bad files and arguments for the program as a whole, and a folder of good files that
// each case damages in its own way.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "support/write_file.h"

namespace llm::test {

inline constexpr int kUsage = 2, kInput = 3, kDisk = 4, kMemory = 5, kDevice = 6, kNumerics = 7;

// The program is started in a fresh copy of the sandbox, after damage() was called in it.
struct BadCase {
  std::string name;
  std::vector<std::string> arguments;
  int exit_code = 0;
  std::vector<std::string> message;  // parts of the one line that it must print
  std::function<void(const fs::path& sandbox)> damage = {};
  std::string input = {};    // standard input
  bool full_output = false;  // standard output is /dev/full
};

std::vector<BadCase> bad_arguments();
std::vector<BadCase> bad_data_files();
std::vector<BadCase> bad_tokenizer_files();
std::vector<BadCase> bad_model_files();

// Fills an empty folder:
//   text.txt  a small text            d    a dataset of its characters, with 27 tokens or so
//   tok       a BPE tokenizer         run  a run of that dataset, with checkpoints
void make_sandbox(const fs::path& sandbox);

// `command` with more options; those of `usual` (name, value, name, value...) that `more` does not
// give follow.
std::vector<std::string> with_options(std::vector<std::string> command,
                                      const std::vector<std::string>& more,
                                      const std::vector<std::string>& usual);

// Ways to damage a file. Each fails the test when there is nothing to be damaged.
void truncate_file(const fs::path& path, int64_t bytes);  // negative: so many less
void patch_file(const fs::path& path, size_t offset, std::string_view bytes);
void replace_in_file(const fs::path& path, std::string_view from, std::string_view to);
// The file parsed as JSON, changed and written back.
void change_json(const fs::path& path, const std::function<void(Json&)>& change);
// The header parsed as JSON, changed and written back; the data stays.
void change_safetensors(const fs::path& path, const std::function<void(Json&)>& change);
// Four little-endian bytes.
std::string int32_bytes(int32_t value);
// Makes manifest.json agree with the files of a checkpoint that was changed.
void renew_manifest(const fs::path& checkpoint);

}  // namespace llm::test
