// Servers that have the layout of the hub and little more, and what answers in their place.
#include "support/hub_test.h"

namespace llm {
namespace {

using test::expect_error;
using test::HubTest;
using test::is_storage;
using test::ServedReply;
using test::ServedRequest;
using test::StringSink;

TEST_F(HubTest, ServersWithoutHeadAreAskedByGet) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (request.method == "HEAD") reply = {}, reply.status = 501;
  });
  Hub hub(options());
  EXPECT_EQ(hub.open("gpt2").size, 23);
  StringSink sink;
  hub.get(weights(hub), sink);
  EXPECT_EQ(sink.bytes.size(), 100'000u);
}

TEST_F(HubTest, AnotherHostMayRefuseHead) {
  server_.change_replies([](const ServedRequest& request, ServedReply& reply) {
    if (!is_storage(request)) reply.headers.erase(reply.headers.begin());  // no X-Linked-Size
    if (is_storage(request) && request.method == "HEAD") reply.status = 403;
  });
  Hub hub(options());
  hub.open("gpt2");
  const auto file = hub.find("model.safetensors");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->size, 100'000) << "GET tells it";
  StringSink sink;
  hub.get(*file, sink);
  EXPECT_EQ(sink.bytes.size(), 100'000u);
}

// A mirror that redirects everything, whether it is there or not, to a host that refuses HEAD.
TEST_F(HubTest, WhatGetDoesNotFindIsNotThere) {
  server_.change_replies([&](const ServedRequest& request, ServedReply& reply) {
    if (is_storage(request) && request.method == "HEAD") reply = {}, reply.status = 403;
    if (is_storage(request)) return;
    const std::string name = request.path.substr(request.path.rfind('/') + 1);
    reply = {}, reply.status = 302;
    reply.headers = {{"Location", server_.storage().url() + "/storage/" + name}};
  });
  Hub hub(options());
  EXPECT_EQ(hub.open("gpt2").size, 23);
  EXPECT_TRUE(hub.find("model.safetensors"));
  EXPECT_FALSE(hub.find("merges.txt"));
  StringSink sink;
  RemoteFile absent;
  absent.name = "merges.txt";
  EXPECT_FALSE(hub.get_if_there(absent, sink));
  EXPECT_EQ(sink.bytes, "");
  expect_error(ErrorKind::input, "404", [&] { hub.get(absent, sink); });
}

TEST_F(HubTest, APageOfHtmlIsRefusedAsSuch) {
  const std::string page = "\n<!DOCTYPE HTML><title>Log in</title>";
  for (const bool told : {true, false}) {
    for (const bool whole : {true, false}) {
      server_.change_replies([&](const ServedRequest& request, ServedReply& reply) {
        if (!is_storage(request) || request.method != "GET") return;
        reply = {};
        reply.body = whole ? page + std::string(100'000 - page.size(), ' ') : page;
        if (told) reply.headers = {{"Content-Type", "text/html; charset=utf-8"}};
      });
      Hub hub(options());
      const RemoteFile file = weights(hub);
      StringSink sink;
      const char* problem = told || whole ? "a page of HTML" : "37 bytes, the repository says";
      expect_error(ErrorKind::input, problem, [&] { hub.get(file, sink); });
      EXPECT_EQ(sink.bytes, "");
    }
  }
}

TEST_F(HubTest, PlainWebServersAreEnough) {
  server_.change_replies([](const ServedRequest&, ServedReply& reply) {
    if (reply.status == 200) reply.headers = {{"ETag", "W/\"weak\""}};
  });
  Hub hub(options());
  const RemoteFile config = hub.open("gpt2");
  EXPECT_EQ(config.size, 23);
  EXPECT_EQ(config.hash_kind, HashKind::none);
  EXPECT_EQ(config.etag, "");
  EXPECT_EQ(config.commit, "");
}

TEST_F(HubTest, HashesCountInAnyFormOfEtag) {
  const std::string hash = test::git_blob_hash(server_.bytes_of("config.json"));
  std::string etag;
  server_.change_replies([&](const ServedRequest&, ServedReply& reply) {
    if (reply.status == 200) reply.headers = {{"ETag", etag}};
  });
  Hub hub(options());
  for (const std::string& form : {hash, "\"" + hash + "\"", "W/\"" + hash + "\""}) {
    etag = form;
    EXPECT_EQ(hub.open("gpt2").hash, hash) << form;
  }
  etag = hash.substr(1);  // neither a hash nor quoted
  EXPECT_EQ(hub.open("gpt2").etag, "");
}

}  // namespace
}  // namespace llm
