// Preparing data takes the same memory for 300 MB as for 30 MB, and stays within a limit of its
// address space.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "data/prepare.h"
#include "support/dataset_files.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

// Sentences that differ, in one text or one per line of JSONL.
void write_corpus(const fs::path& path, int64_t bytes, bool jsonl) {
  FileWriter writer(path);
  uint64_t state = 1;
  while (writer.size() < bytes) {
    std::string line;
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      line += fmt::format("{}{}", i > 0 ? " " : "", state >> 52);
    }
    writer.write(jsonl ? fmt::format("{{\"text\": \"{}\"}}\n", line) : line + "\n");
  }
  writer.close();
}

// Peak resident memory in MiB of preparing the file, in a process of its own.
int64_t peak_of_preparing(const fs::path& input, const fs::path& output) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{600 << 20, 600 << 20};
    int code = setrlimit(RLIMIT_AS, &limit);
    try {
      PrepareOptions options;
      options.inputs = {input.string()};
      options.tokenizer = "bytes";
      options.output = output;
      options.shard_tokens = 50'000'000;
      options.threads = 2;
      options.force = true;
      options.show_progress = false;
      prepare_dataset(options);
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}\n", error.what());
      code = 1;
    }
    _exit(code);
  }
  int status = 0;
  rusage usage{};
  EXPECT_EQ(wait4(child, &status, 0, &usage), child);
  EXPECT_EQ(status, 0);
  return usage.ru_maxrss / 1024;
}

TEST(PrepareMemory, DoesNotGrowWithTheInput) {
  const TemporaryDirectory folder;
  for (const bool jsonl : {false, true}) {
    const fs::path input = folder / (jsonl ? "corpus.jsonl" : "corpus.txt");
    write_corpus(input, 100'000'000, jsonl);  // enough to fill all buffers of the pipeline
    const int64_t small = peak_of_preparing(input, folder / "out");
    write_corpus(input, 300'000'000, jsonl);
    const int64_t large = peak_of_preparing(input, folder / "out");
    RecordProperty(jsonl ? "jsonl_mib" : "text_mib", std::to_string(large));
    fmt::print("{}: {} MiB for 100 MB, {} MiB for 300 MB\n", input.filename().string(), small,
               large);
    // Three times the input: a bit per document and a checksum per MiB are all that grows.
    EXPECT_LE(large, small + 16);
    EXPECT_LE(large, 250);
  }
}

}  // namespace
}  // namespace llm::test
