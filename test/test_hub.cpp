// Asking a hub for files: identities, tokens, redirects, retries and refusals.
#include <chrono>

#include "base/hash.h"
#include "support/hub_test.h"

namespace llm {
namespace {

using test::expect_error;
using test::HubTest;
using test::is_any;
using test::is_storage;
using test::is_weights;
using test::ServedReply;
using test::ServedRequest;
using test::StringSink;

TEST_F(HubTest, KnowsSizesAndHashes) {
  Hub hub(options());
  const RemoteFile config = hub.open("gpt2");
  EXPECT_EQ(hub.repository(), "openai-community/gpt2");
  EXPECT_EQ(config.size, 23);
  EXPECT_EQ(config.hash_kind, HashKind::git_blob);
  EXPECT_EQ(config.hash, test::git_blob_hash(server_.bytes_of("config.json")));
  EXPECT_EQ(config.commit, server_.commit);
  const RemoteFile large = weights(hub);
  EXPECT_EQ(large.size, 100'000);
  EXPECT_EQ(large.hash_kind, HashKind::sha256);
  EXPECT_EQ(large.hash, sha256_of(as_bytes(server_.bytes_of("model.safetensors"))));
  EXPECT_EQ(hub.find("merges.txt"), std::nullopt);
  EXPECT_TRUE(server_.storage().requests().empty()) << "looking up needs the hub only";
}

TEST_F(HubTest, GetsBytesFromBothServers) {
  Hub hub(options());
  StringSink small, large;
  hub.get(hub.open("gpt2"), small);
  EXPECT_EQ(small.bytes, server_.bytes_of("config.json"));
  hub.get(weights(hub), large);
  EXPECT_TRUE(large.bytes == server_.bytes_of("model.safetensors"));
}

TEST_F(HubTest, ShortNamesAreFoundUnderEitherName) {
  server_.repository = "gpt2";
  Hub hub(options());
  hub.open("gpt2");
  EXPECT_EQ(hub.repository(), "gpt2");
  server_.repository = "somebody/other";
  hub.open("somebody/other");
  EXPECT_EQ(hub.repository(), "somebody/other");
}

TEST_F(HubTest, ARenamedRepositoryIsFollowed) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    const std::string old = "/old/name/";
    if (!request.path.starts_with(old)) return;
    reply = {};
    reply.status = 307;
    reply.headers = {{"Location", "/openai-community/gpt2/" + request.path.substr(old.size())}};
  });
  Hub hub(options());
  EXPECT_EQ(hub.open("old/name").size, 23);
  StringSink sink;
  hub.get(*hub.find("model.safetensors"), sink);
  EXPECT_TRUE(sink.bytes == server_.bytes_of("model.safetensors"));
}

TEST_F(HubTest, TheTokenStaysWithTheHub) {
  server_.token = "hf_secret";
  HubOptions with_token = options();
  with_token.token = "hf_secret";
  Hub hub(with_token);
  StringSink sink;
  hub.get(weights(hub), sink);
  EXPECT_EQ(sink.bytes.size(), 100'000u);
  for (const ServedRequest& request : server_.hub().requests()) {
    EXPECT_EQ(request.header("authorization"), "Bearer hf_secret");
  }
  ASSERT_FALSE(server_.storage().requests().empty());
  for (const ServedRequest& request : server_.storage().requests()) {
    EXPECT_FALSE(request.headers.contains("authorization"));
  }
}

TEST_F(HubTest, GoesOnAfterLosses) {
  int left = 4;  // more than the retries, but each brings something
  server_.change_replies([&](const ServedRequest& request, ServedReply& reply) {
    if (is_storage(request) && request.method == "GET" && left-- > 0) reply.cut_after = 7'000;
  });
  Hub hub(options());
  StringSink sink;
  hub.get(weights(hub), sink);
  EXPECT_TRUE(sink.bytes == server_.bytes_of("model.safetensors"));
  EXPECT_EQ(sink.restarts, 0);
  const std::vector<ServedRequest> seen = server_.storage().requests();
  ASSERT_EQ(seen.size(), 5u);
  EXPECT_EQ(seen[1].header("range"), "bytes=7000-");
  EXPECT_EQ(seen[4].header("range"), "bytes=28000-");
  EXPECT_EQ(seen[4].header("if-range"), "") << "its ETags are others";
}

TEST_F(HubTest, StartsAnewWhereTheServerCannotGoOn) {
  bool first = true;
  server_.change_replies([&](const ServedRequest& request, ServedReply& reply) {
    if (!is_storage(request)) return;
    if (first) reply.cut_after = 7'000;
    if (!first) reply.status = 200, reply.headers = {};  // without regard to Range
    if (!first) reply.body = test::noise(100'000);
    first = false;
  });
  Hub hub(options());
  StringSink sink;
  hub.get(weights(hub), sink);
  EXPECT_TRUE(sink.bytes == server_.bytes_of("model.safetensors"));
  EXPECT_EQ(sink.restarts, 1);
}

TEST_F(HubTest, ARangeThatIsNotThereStartsAnew) {
  Hub hub(options());
  const RemoteFile file = weights(hub);
  server_.set_file("model.safetensors", {.bytes = test::noise(100'000), .large = true});
  StringSink sink;
  sink.bytes = std::string(100'000, 'x');
  RemoteFile unknown = file;
  unknown.size = -1;
  hub.get(unknown, sink);  // 416 first
  EXPECT_TRUE(sink.bytes == test::noise(100'000));
  EXPECT_EQ(sink.restarts, 1);
}

TEST_F(HubTest, SmallFilesAreContinuedOnlyIfUnchanged) {
  Hub hub(options());
  const RemoteFile config = hub.open("gpt2");
  StringSink sink;
  sink.bytes = server_.bytes_of("config.json").substr(0, 10);
  hub.get(config, sink);
  EXPECT_EQ(sink.bytes, server_.bytes_of("config.json"));
  EXPECT_EQ(sink.restarts, 0);
  sink.bytes.resize(10);
  std::string changed = server_.bytes_of("config.json");
  changed.back() = '\n';
  server_.set_file("config.json", {.bytes = changed});
  hub.get(config, sink);  // If-Range: all of the new one comes; the hash will tell
  EXPECT_EQ(sink.restarts, 1);
  EXPECT_EQ(sink.bytes, changed);
}

TEST_F(HubTest, AChangedLargeFileIsNoticedAtTheRedirect) {
  Hub hub(options());
  const RemoteFile file = weights(hub);
  server_.set_file("model.safetensors", {.bytes = test::noise(100'000, 2), .large = true});
  StringSink sink;
  expect_error(ErrorKind::input, "was changed while it was loaded", [&] { hub.get(file, sink); });
}

TEST_F(HubTest, WrongSizes) {
  server_.set_file("model.safetensors", {.bytes = test::noise(999), .large = true, .size = 1'000});
  Hub hub(options());
  StringSink sink;
  expect_error(ErrorKind::input, "the server sends 999 bytes, the repository says 1,000",
               [&] { hub.get(weights(hub), sink); });
  EXPECT_EQ(sink.size(), 0);
}

TEST_F(HubTest, TemporaryFailuresAreRetried) {
  for (const int status : {500, 502, 503, 504, 408, 429}) {
    int left = 3;
    server_.change_replies([&](const ServedRequest&, ServedReply& reply) {
      if (left-- > 0) reply.status = status, reply.body = "x";
    });
    Hub hub(options());
    EXPECT_EQ(hub.open("gpt2").size, 23) << status;
    EXPECT_LT(left, 0);
  }
}

TEST_F(HubTest, ButNotForEver) {
  status_for(is_any, 503);
  Hub hub(options());
  expect_error(ErrorKind::device, "the server answers 503", [&] { hub.open("gpt2"); });
  EXPECT_EQ(server_.hub().requests().size(), 4u);
}

TEST_F(HubTest, RetryAfterIsKept) {
  bool first = true;
  server_.change_replies([&](const ServedRequest&, ServedReply& reply) {
    if (first) reply.status = 429, reply.headers = {{"Retry-After", "1"}};
    first = false;
  });
  Hub hub(options());
  const auto start = std::chrono::steady_clock::now();
  hub.open("gpt2");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(990));
  server_.change_replies([&](const ServedRequest&, ServedReply& reply) {
    reply.status = 429, reply.headers = {{"Retry-After", "3600"}};
  });
  expect_error(ErrorKind::device, "429, too many requests, and wants to be asked again in 1:00:00",
               [&] { hub.open("gpt2"); });
}

TEST_F(HubTest, RefusalsSayWhatToDo) {
  Hub hub(options());
  const auto open = [&] { hub.open("gpt2"); };
  status_for(is_any, 401);
  expect_error(ErrorKind::input, "set HF_TOKEN", open);
  status_for(is_any, 401, "RepoNotFound");
  expect_error(ErrorKind::input, "there is no such model", open);
  status_for(is_any, 401, "GatedRepo");
  expect_error(ErrorKind::input, "its licence has to be accepted first", open);
  status_for(is_any, 403, "GatedRepo");
  expect_error(ErrorKind::input, server_.url() + "/openai-community/gpt2", open);
  status_for(is_any, 404, "RepoNotFound");
  expect_error(ErrorKind::input, "there is no such model", open);
  status_for(is_any, 404, "EntryNotFound");
  expect_error(ErrorKind::input, "has no config.json", open);
  status_for(is_any, 404, "RevisionNotFound");
  expect_error(ErrorKind::input, "has no revision \"main\"", open);
  status_for(is_any, 404);
  expect_error(ErrorKind::input, "there is no such model, or it has no config.json", open);
  status_for(is_any, 418);
  expect_error(ErrorKind::input, "the server answers 418", open);
}

TEST_F(HubTest, WithATokenThatIsWrong) {
  server_.token = "right";
  HubOptions wrong = options();
  wrong.token = "wrong";
  expect_error(ErrorKind::input, "not allowed with this HF_TOKEN (401)",
               [&] { Hub(wrong).open("gpt2"); });
}

TEST_F(HubTest, StorageThatRefuses) {
  status_for(is_storage, 403);
  Hub hub(options());
  StringSink sink;
  expect_error(ErrorKind::input, "403", [&] { hub.get(weights(hub), sink); });
  EXPECT_EQ(sink.size(), 0) << "the page of the error is no file";
}

TEST_F(HubTest, RedirectsThatLeadNowhere) {
  const auto redirect_to = [&](const std::string& location) {
    server_.change_replies([location](const ServedRequest& request, ServedReply& reply) {
      if (is_weights(request)) reply.headers.back() = {"Location", location};
    });
  };
  Hub hub(options());
  StringSink sink;
  const RemoteFile file = weights(hub);
  const auto get = [&] { hub.get(file, sink); };
  redirect_to(server_.url() + "/openai-community/gpt2/resolve/main/model.safetensors");
  expect_error(ErrorKind::device, "redirects without end", get);
  redirect_to("file:///etc/passwd");
  expect_error(ErrorKind::device, "unsafe address", get);
  redirect_to("ftp://127.0.0.1/x");
  expect_error(ErrorKind::device, "unsafe address", get);
}

TEST(HubOffline, SaysWhatToDo) {
  setenv("no_proxy", "127.0.0.1", 1);
  HubOptions options;
  options.endpoint = "http://127.0.0.1:" + std::to_string(test::closed_port());
  options.retry_delay = 1000;  // not waited for: nobody was ever there
  Hub hub(options);
  expect_error(ErrorKind::device, "cannot be reached", [&] { hub.open("gpt2"); });
  expect_error(ErrorKind::device, "/openai-community/gpt2/tree/main", [&] { hub.open("gpt2"); });
}

TEST(HubOptionsTest, WrongOnesAreRefused) {
  const auto refused = [](const std::string& part, void (*change)(HubOptions&)) {
    HubOptions options;
    change(options);
    expect_error(ErrorKind::usage, part, [&] { Hub hub(options); });
  };
  refused("endpoint", [](HubOptions& options) { options.endpoint = "huggingface.co"; });
  refused("endpoint", [](HubOptions& options) { options.endpoint = ""; });
  refused("endpoint", [](HubOptions& options) { options.endpoint = "file:///tmp"; });
  refused("endpoint", [](HubOptions& options) { options.endpoint = "https://a/?x="; });
  refused("--revision", [](HubOptions& options) { options.revision = ""; });
  refused("HF_TOKEN", [](HubOptions& options) { options.token = "a\r\nHost: evil"; });
  refused("unencrypted", [](HubOptions& options) {
    options.endpoint = "http://example.com";
    options.token = "secret";
  });
}

TEST_F(HubTest, RevisionsAreEscaped) {
  HubOptions revision = options();
  revision.revision = "refs/pr/1";
  revision.endpoint += "//";
  expect_error(ErrorKind::input, "", [&] { Hub(revision).open("a/b"); });
  EXPECT_EQ(server_.hub().requests().front().path, "/a/b/resolve/refs%2Fpr%2F1/config.json");
}

TEST_F(HubTest, StopsAmidWaiting) {
  status_for(is_any, 503);
  HubOptions patient = options();
  patient.retry_delay = 30;
  const auto start = std::chrono::steady_clock::now();
  patient.stop = [start] {
    return std::chrono::steady_clock::now() - start > std::chrono::milliseconds(100);
  };
  Hub hub(patient);
  expect_error(ErrorKind::preempted, "stopped", [&] { hub.open("gpt2"); });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace llm
