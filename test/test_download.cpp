// A whole model from a hub into a folder.
#include "base/json.h"
#include "support/download_test.h"
#include "support/expect_error.h"

namespace llm {
namespace {

using test::DownloadTest;
using test::expect_error;
using test::is_storage;
using test::ServedReply;
using test::ServedRequest;

std::string index_text(const std::vector<std::string>& shards) {
  Json json;
  json["metadata"]["total_size"] = 1;
  for (size_t i = 0; i < shards.size(); ++i) {
    json["weight_map"]["tensor" + std::to_string(i)] = shards[i];
  }
  return json.dump();
}

TEST_F(DownloadTest, BringsAllFiles) {
  server_.set_file("merges.txt", {.bytes = "#version\n"});
  server_.set_file("README.md", {.bytes = "not needed"});
  const DownloadSummary summary = download();
  expect_whole({"config.json", "tokenizer.json", "merges.txt", "model.safetensors"});
  EXPECT_FALSE(fs::exists(folder_ / "README.md"));
  EXPECT_FALSE(fs::exists(folder_ / ".lock"));
  EXPECT_EQ(summary.files, 4);
  EXPECT_EQ(summary.fetched_files, 4);
  EXPECT_EQ(summary.bytes, summary.fetched_bytes);
  EXPECT_EQ(summary.commit, server_.commit);
  const Json record = read_json_file(folder_ / "download.json");
  EXPECT_EQ(record["repository"], "openai-community/gpt2");
  EXPECT_EQ(record["files"]["model.safetensors"]["bytes"], 100'000);
}

TEST_F(DownloadTest, WhatIsThereIsNotFetchedAgain) {
  download();
  server_.hub().forget_requests();
  server_.storage().forget_requests();
  const DownloadSummary again = download();
  EXPECT_EQ(again.files, 3);
  EXPECT_EQ(again.fetched_files, 0);
  for (const ServedRequest& request : server_.hub().requests()) EXPECT_EQ(request.method, "HEAD");
  EXPECT_TRUE(server_.storage().requests().empty());
  damage("tokenizer.json");
  EXPECT_EQ(download().fetched_files, 1);
  expect_whole();
}

TEST_F(DownloadTest, GoesOnAfterAnInterruption) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (!is_storage(request)) return;
    if (request.header("range").empty()) {
      reply.cut_after = 40'000;
    } else {
      reply = {}, reply.status = 503;
    }
  });
  expect_error(ErrorKind::device, "the server answers 503", [&] { download(); });
  EXPECT_TRUE(fs::exists(folder_ / "config.json"));
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  EXPECT_EQ(parts(), 1);
  server_.change_replies({});
  server_.storage().forget_requests();
  EXPECT_EQ(download().fetched_bytes, 60'000);
  ASSERT_EQ(server_.storage().requests().size(), 1u);
  EXPECT_EQ(server_.storage().requests()[0].header("range"), "bytes=40000-");
  expect_whole();
}

TEST_F(DownloadTest, StopsAndGoesOn) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (is_storage(request)) reply.cut_after = 40'000, reply.stall_seconds = 20;
  });
  DownloadOptions stopped = options();
  stopped.hub.stop = [&] { return !server_.storage().requests().empty(); };
  expect_error(ErrorKind::preempted, "stopped", [&] { download_model(stopped); });
  server_.change_replies({});
  download();
  expect_whole();
}

TEST_F(DownloadTest, AFileThatChangedMeanwhileStartsAnew) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (!is_storage(request)) return;
    reply.cut_after = 40'000;
    if (!request.header("range").empty()) reply = {}, reply.status = 503;
  });
  expect_error(ErrorKind::device, "503", [&] { download(); });
  server_.change_replies({});
  server_.storage().forget_requests();
  server_.set_file("model.safetensors", {.bytes = test::noise(100'000, 2), .large = true});
  download();
  EXPECT_EQ(server_.storage().requests()[0].header("range"), "");
  expect_whole();
}

TEST_F(DownloadTest, ADamagedPartIsFetchedAnew) {
  download();
  const std::string name = "model.safetensors";
  const std::string hash =
      read_json_file(folder_ / "download.json")["files"][name]["sha256"].get<std::string>();
  fs::remove(folder_ / name);
  std::ofstream(folder_ / (name + "." + hash + ".part")) << std::string(1'000, 'x');
  EXPECT_EQ(download().fetched_bytes, 99'000 + 100'000);
  expect_whole();
}

TEST_F(DownloadTest, WrongHashes) {
  server_.set_file("model.safetensors",
                   {.bytes = test::noise(1'000), .large = true, .etag = std::string(64, 'a')});
  expect_error(ErrorKind::input, "has not the sha256 hash aaaa", [&] { download(); });
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  EXPECT_EQ(parts(), 0);
  server_.set_file("config.json", {.bytes = "{}", .etag = std::string(40, 'b')});
  fs::remove_all(folder_);
  expect_error(ErrorKind::input, "has not the git_blob hash bbbb", [&] { download(); });
  EXPECT_FALSE(fs::exists(folder_ / "config.json"));
}

TEST_F(DownloadTest, WrongSizes) {
  server_.set_file("model.safetensors", {.bytes = test::noise(1'000), .large = true, .size = 999});
  expect_error(ErrorKind::input, "1,000 bytes, the repository says 999", [&] { download(); });
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  server_.set_file("model.safetensors",
                   {.bytes = test::noise(1'000), .large = true, .size = 1 << 30});
  expect_error(ErrorKind::input, "1,000 bytes, the repository says 1,073,741,824",
               [&] { download(); });
  server_.set_file("model.safetensors",
                   {.bytes = test::noise(1'000), .large = true, .size = int64_t{1} << 50});
  expect_error(ErrorKind::disk, "are free on this disk", [&] { download(); });
}

TEST_F(DownloadTest, WithoutHashesTheFormIsChecked) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (reply.status == 200) reply.headers.clear();
    const bool weights = request.path.ends_with("/model.safetensors");
    if (weights) reply = {}, reply.body = "please log in to this network";
  });
  expect_error(ErrorKind::input, "model.safetensors", [&] { download(); });
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
}

TEST_F(DownloadTest, WhatHeadFindsAndGetDoesNotIsLeftOut) {
  server_.set_file("merges.txt", {.bytes = "#version\n"});
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    const bool optional =
        request.path.ends_with("/merges.txt") || request.path.ends_with("/tokenizer.json");
    if (optional && request.method == "GET") reply = {}, reply.status = 404;
  });
  const DownloadSummary summary = download();
  EXPECT_EQ(summary.files, 2);
  EXPECT_EQ(summary.fetched_files, 2);
  expect_whole({"config.json", "model.safetensors"});
  EXPECT_FALSE(fs::exists(folder_ / "merges.txt"));
  EXPECT_FALSE(read_json_file(folder_ / "download.json")["files"].contains("merges.txt"));
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    const bool needed = request.path.ends_with("/model.safetensors");
    if (needed && request.method == "GET") reply = {}, reply.status = 404;
  });
  fs::remove_all(folder_);
  expect_error(ErrorKind::input, "model.safetensors", [&] { download(); });
}

TEST_F(DownloadTest, AFolderOfOthersIsNotAdopted) {
  download();
  fs::remove(folder_ / "download.json");  // every byte is right, but who put it there?
  expect_error(ErrorKind::usage, "no download.json says", [&] { download(); });
  EXPECT_FALSE(fs::exists(folder_ / "download.json"));
  EXPECT_FALSE(fs::exists(folder_ / ".lock"));
  DownloadOptions forcing = options();
  forcing.force = true;
  EXPECT_EQ(download_model(forcing).fetched_files, 0) << "what is right by its hash may stay";
  EXPECT_EQ(download().fetched_files, 0);
}

TEST_F(DownloadTest, AModelIsNotMixedWithAnother) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "notes.txt") << "not of a model";
  download();
  fs::remove_all(folder_);
  for (const char* name : {"pytorch_model.bin", "vocab.json", "model-00001-of-00002.safetensors"}) {
    fs::create_directories(folder_);
    std::ofstream(folder_ / name) << "of another model";
    expect_error(ErrorKind::usage, std::string("has ") + name, [&] { download(); });
    fs::remove_all(folder_);
  }
}

TEST_F(DownloadTest, Shards) {
  const std::vector<std::string> shards = {"model-00001-of-00002.safetensors",
                                           "model-00002-of-00002.safetensors"};
  server_.remove_file("model.safetensors");
  server_.set_file("model.safetensors.index.json",
                   {.bytes = index_text({shards[1], shards[0], shards[1]})});
  server_.set_file(shards[0], {.bytes = test::noise(5'000, 3), .large = true});
  expect_error(ErrorKind::input, "names model-00002-of-00002.safetensors, which is not there",
               [&] { download(); });
  server_.set_file(shards[1], {.bytes = test::noise(6'000, 4), .large = true});
  EXPECT_EQ(download().files, 4);
  expect_whole({"config.json", shards[0], shards[1], "model.safetensors.index.json"});
  EXPECT_EQ(download().fetched_files, 0);
}

TEST_F(DownloadTest, HostileNamesInTheIndex) {
  server_.remove_file("model.safetensors");
  for (const char* name :
       {"../evil.safetensors", "/etc/evil.safetensors", "a/b.safetensors", "..", "",
        ".hidden.safetensors", "config.json", "run.sh", "a\\b.safetensors", "a\nb.safetensors",
        "a%2fb.safetensors", "x?.safetensors", "x.safetensors/"}) {
    server_.set_file("model.safetensors.index.json", {.bytes = index_text({name})});
    expect_error(ErrorKind::input, "no name of a .safetensors file", [&] { download(); });
  }
  EXPECT_FALSE(fs::exists(folder_.parent_path()));
}

TEST_F(DownloadTest, WithoutSafetensorsItSaysWhatThereIs) {
  server_.remove_file("model.safetensors");
  server_.set_file("pytorch_model.bin", {.bytes = "x", .large = true});
  expect_error(ErrorKind::input, "no weights in safetensors; it has pytorch_model.bin",
               [&] { download(); });
  EXPECT_FALSE(fs::exists(folder_)) << "nothing is left of a download that could not begin";
}

TEST_F(DownloadTest, FilesOfOthersAreNotReplacedUnasked) {
  fs::create_directories(folder_);
  damage("model.safetensors");
  expect_error(ErrorKind::usage, "--force", [&] { download(); });
  EXPECT_EQ(read_text_file(folder_ / "model.safetensors"), "damaged");
  EXPECT_FALSE(fs::exists(folder_ / "config.json"));
  DownloadOptions forcing = options();
  forcing.force = true;
  download_model(forcing);
  expect_whole();
  server_.repository = "somebody/other";
  server_.set_file("config.json", {.bytes = "{\"another\": 1}"});
  DownloadOptions other = options();
  other.model = "somebody/other";
  expect_error(ErrorKind::usage, "--force", [&] { download_model(other); });
}

TEST_F(DownloadTest, ANewVersionReplacesTheOldOneAtOnce) {
  download();
  server_.commit = std::string(40, 'd');
  server_.set_file("config.json", {.bytes = "{\"model_type\": \"new\"}"});
  server_.set_file("model.safetensors", {.bytes = test::noise(50'000, 5), .large = true});
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (is_storage(request)) reply = {}, reply.status = 500;
  });
  expect_error(ErrorKind::device, "500", [&] { download(); });
  EXPECT_EQ(read_text_file(folder_ / "config.json"), "{\"model_type\": \"other\"}")
      << "the old model is whole until the new one is";
  server_.change_replies({});
  download();
  expect_whole();
}

TEST_F(DownloadTest, CommitsThatDifferAreNoticed) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (!request.path.ends_with("/model.safetensors")) return;
    for (auto& [name, value] : reply.headers) {
      if (name == "X-Repo-Commit") value = std::string(40, 'e');
    }
  });
  expect_error(ErrorKind::input, "was changed while its files were looked up", [&] { download(); });
}

TEST_F(DownloadTest, OneAtATime) {
  fs::create_directories(folder_);
  const DirectoryLock lock(folder_);
  expect_error(ErrorKind::usage, "in use by another process", [&] { download(); });
}

TEST_F(DownloadTest, AFullDiskLeavesNoHalfFile) {
  for (int failing = 1; failing <= 12; ++failing) {
    download_with_full_disk(failing);
    for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
      if (!fs::exists(folder_ / name)) continue;
      EXPECT_TRUE(read_text_file(folder_ / name) == server_.bytes_of(name)) << name << failing;
    }
    download();
    expect_whole();
    fs::remove_all(folder_);
  }
}

}  // namespace
}  // namespace llm
