// download.json: written, read, and what it says of files that have no hash.
#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_directory.h"
#include "weights/download_record.h"

namespace llm {
namespace {

RemoteFile remote(const std::string& name, int64_t size, const std::string& etag = "") {
  RemoteFile file;
  file.name = name;
  file.size = size;
  file.etag = etag;
  return file;
}

class DownloadRecordTest : public testing::Test {
 protected:
  DownloadRecord read() {
    const auto record = read_download_record(folder_.path());
    EXPECT_TRUE(record);
    return record.value_or(DownloadRecord{});
  }

  test::TemporaryDirectory folder_;
};

TEST_F(DownloadRecordTest, ReadsWhatItWrote) {
  DownloadRecord record{"owner/name", "http://hub", "main", "c0ffee", {}};
  RemoteFile hashed = remote("a", 5, std::string(64, 'a'));
  hashed.hash_kind = HashKind::sha256;
  hashed.hash = hashed.etag;
  record.files["a"] = {hashed, ""};
  record.files["b"] = {remote("b", 6, "tag"), "its hash"};
  record.files["c"] = {remote("c", -1), ""};
  write_download_record(folder_.path(), record);
  const DownloadRecord again = read();
  EXPECT_EQ(again.repository, "owner/name");
  EXPECT_EQ(again.commit, "c0ffee");
  ASSERT_EQ(again.files.size(), 3u);
  EXPECT_EQ(again.files.at("a").remote.hash_kind, HashKind::sha256);
  EXPECT_EQ(again.files.at("a").remote.hash, hashed.hash);
  EXPECT_EQ(again.files.at("b").remote.etag, "tag");
  EXPECT_EQ(again.files.at("b").received, "its hash");
  EXPECT_EQ(again.files.at("c").remote.size, -1);
}

TEST_F(DownloadRecordTest, WhatCameIsKnownWhileTheServerSaysTheSame) {
  DownloadRecord record;
  record.files["sized"] = {remote("sized", 6), "hash 1"};
  record.files["tagged"] = {remote("tagged", -1, "tag"), "hash 2"};
  record.files["untold"] = {remote("untold", -1), "hash 3"};
  EXPECT_EQ(record.received(remote("sized", 6)), "hash 1");
  EXPECT_EQ(record.received(remote("sized", 7)), "");
  EXPECT_EQ(record.received(remote("sized", 6, "new")), "");
  EXPECT_EQ(record.received(remote("tagged", -1, "tag")), "hash 2");
  EXPECT_EQ(record.received(remote("untold", -1)), "") << "the server may have another by now";
  EXPECT_EQ(record.received(remote("absent", 6)), "");
}

TEST_F(DownloadRecordTest, FilesOfOthersAreNoRecord) {
  EXPECT_FALSE(read_download_record(folder_.path()));
  for (const char* text :
       {"", "{}", "[1]", "{\"format\": \"another\", \"repository\": \"a/b\", \"files\": {}}",
        "{\"format\": \"llm download 1\", \"repository\": 7, \"files\": {}}",
        "{\"format\": \"llm download 1\", \"repository\": \"a/b\", \"files\": {\"x\": 1}}"}) {
    std::ofstream(folder_ / "download.json") << text;
    EXPECT_FALSE(read_download_record(folder_.path())) << text;
  }
}

}  // namespace
}  // namespace llm
