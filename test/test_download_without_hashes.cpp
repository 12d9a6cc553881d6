// Downloads from a server that tells sizes only.
#include "base/json.h"
#include "support/download_test.h"
#include "support/expect_error.h"

namespace llm {
namespace {

using test::DownloadTest;
using test::ServedReply;
using test::ServedRequest;

// It has safetensors that are some: without a hash, their form is checked.
class WithoutHashes : public DownloadTest {
 protected:
  void SetUp() override {
    DownloadTest::SetUp();
    server_.set_file("model.safetensors",
                     {.bytes = read_text_file(fs::path(LLM_SOURCE_DIR) /
                                              "test/golden/tiny_gpt2/model.safetensors")});
    server_.change_replies([](const ServedRequest&, ServedReply& reply) {
      if (reply.status == 200) reply.headers.clear();
    });
  }
  // As many other bytes.
  void change(const std::string& name) {
    std::string bytes = read_text_file(folder_ / name);
    bytes[bytes.size() / 2] ^= 1;
    std::ofstream(folder_ / name) << bytes;
  }
};

TEST_F(WithoutHashes, WhatCameIsKnownByOurOwn) {
  const DownloadSummary first = download();
  EXPECT_EQ(first.fetched_files, 3);
  EXPECT_EQ(first.files_without_hash, 3);
  expect_whole();
  EXPECT_EQ(download().fetched_files, 0);
  change("model.safetensors");
  EXPECT_EQ(download().fetched_files, 1) << "its size is right, its bytes are not";
  expect_whole();
}

TEST_F(WithoutHashes, AnInterruptedDownloadKnowsWhatCame) {
  for (int failing = 1; failing <= 20; ++failing) {
    download_with_full_disk(failing);
    int64_t there = 0;
    for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
      there += fs::exists(folder_ / name) ? 1 : 0;
    }
    EXPECT_EQ(download().fetched_files, 3 - there) << failing;
    expect_whole();
    fs::remove_all(folder_);
  }
}

TEST_F(WithoutHashes, ARecordWithoutOurHashProvesNothing) {
  download();
  Json record = read_json_file(folder_ / "download.json");
  for (auto& [name, file] : record["files"].items()) file.erase("received_sha256");
  std::ofstream(folder_ / "download.json") << record.dump();
  EXPECT_EQ(download().fetched_files, 3);
  EXPECT_EQ(download().fetched_files, 0);
}

}  // namespace
}  // namespace llm
