#include "support/bad_input.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "support/small_dataset.h"
#include "support/subprocess.h"

namespace llm::test {
namespace {

void run_in(const fs::path& folder, const std::vector<std::string>& arguments) {
  ProcessOptions options;
  options.directory = folder;
  const ProcessResult result = run_llm(arguments, options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
}

}  // namespace

void make_sandbox(const fs::path& sandbox) {
  write_file(sandbox / "text.txt", small_text(2000));
  run_in(sandbox, {"data", "prepare", "text.txt", "--tokenizer", "chars", "-o", "d"});
  run_in(sandbox, {"tokenizer", "train", "text.txt", "--vocab-size", "300", "-o", "tok"});
  run_in(sandbox, {"pretrain", "--data",         "d", "-o",         "run", "--layers",
                   "1",        "--heads",        "2", "--channels", "8",   "--context",
                   "8",        "--batch",        "2", "--steps",    "2",   "--save-every",
                   "1",        "--eval-batches", "1"});
}

std::vector<std::string> with_options(std::vector<std::string> command,
                                      const std::vector<std::string>& more,
                                      const std::vector<std::string>& usual) {
  command.insert(command.end(), more.begin(), more.end());
  for (size_t i = 0; i + 1 < usual.size(); i += 2) {
    if (std::find(more.begin(), more.end(), usual[i]) != more.end()) continue;
    command.insert(command.end(), {usual[i], usual[i + 1]});
  }
  return command;
}

void truncate_file(const fs::path& path, int64_t bytes) {
  const auto size = static_cast<int64_t>(fs::file_size(path));
  const int64_t left = bytes < 0 ? size + bytes : bytes;
  ASSERT_LT(left, size) << path;
  fs::resize_file(path, static_cast<uintmax_t>(left));
}

void patch_file(const fs::path& path, size_t offset, std::string_view bytes) {
  std::string text = read_text_file(path);
  ASSERT_LE(offset + bytes.size(), text.size()) << path;
  const std::string before = text;
  text.replace(offset, bytes.size(), bytes);
  ASSERT_NE(text, before) << path;
  write_file(path, text);
}

void replace_in_file(const fs::path& path, std::string_view from, std::string_view to) {
  std::string text = read_text_file(path);
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << path << " does not contain " << from;
  text.replace(at, from.size(), to);
  write_file(path, text);
}

void change_json(const fs::path& path, const std::function<void(Json&)>& change) {
  Json json = read_json_file(path);
  const Json before = json;
  change(json);
  ASSERT_NE(json, before) << path;
  write_file(path, to_pretty_text(json));
}

void change_safetensors(const fs::path& path, const std::function<void(Json&)>& change) {
  const std::string text = read_text_file(path);
  uint64_t length = 0;
  std::memcpy(&length, text.data(), sizeof length);
  Json header = parse_json(std::string_view(text).substr(8, length), path.string());
  const Json before = header;
  change(header);
  ASSERT_NE(header, before) << path;
  const std::string changed = header.dump();
  const uint64_t changed_length = changed.size();
  std::string result(8, '\0');
  std::memcpy(result.data(), &changed_length, sizeof changed_length);
  write_file(path, result + changed + text.substr(8 + length));
}

std::string int32_bytes(int32_t value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

void renew_manifest(const fs::path& checkpoint) {
  change_json(checkpoint / "manifest.json", [&](Json& manifest) {
    for (const auto& [name, entry] : manifest["files"].items()) {
      manifest["files"][name] = Json{{"bytes", fs::file_size(checkpoint / name)},
                                     {"sha256", sha256_of_file(checkpoint / name)}};
    }
  });
}

}  // namespace llm::test
