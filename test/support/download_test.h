// What tests of downloads share.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <string>
#include <vector>

#include "support/fake_hub.h"
#include "support/temporary_directory.h"
#include "weights/download.h"

namespace llm::test {

class DownloadTest : public testing::Test {
 protected:
  void SetUp() override { setenv("no_proxy", "127.0.0.1", 1); }

  DownloadOptions options() const {
    DownloadOptions options;
    options.model = "gpt2";
    options.folder = folder_;
    options.hub.endpoint = server_.url();
    options.hub.retries = 2;
    options.hub.retry_delay = 0.001;
    return options;
  }
  DownloadSummary download() { return download_model(options()); }
  // A download in which the disk is full at one operation on a file.
  void download_with_full_disk(int64_t failing) {
    set_file_hook([failing](int64_t number, FileOperation, const fs::path& path) {
      if (number == failing) fail_disk(path.string(), "write", ENOSPC);
    });
    try {
      download();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::disk) << error.what();
    }
    set_file_hook({});
  }
  void expect_whole(const std::vector<std::string>& names = {"config.json", "tokenizer.json",
                                                             "model.safetensors"}) {
    for (const std::string& name : names) {
      EXPECT_TRUE(read_text_file(folder_ / name) == server_.bytes_of(name)) << name;
    }
    EXPECT_EQ(parts(), 0);
  }
  int parts() const {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      count += entry.path().extension() == ".part";
    }
    return count;
  }
  void damage(const std::string& name) { std::ofstream(folder_ / name) << "damaged"; }

  FakeHub server_;
  TemporaryDirectory home_;
  const fs::path folder_ = home_ / "models/gpt2";
};

}  // namespace llm::test
