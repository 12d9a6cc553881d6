// One exchange at a time with a server of this machine.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <stdexcept>

#include "base/error.h"
#include "support/http_server.h"
#include "weights/http_client.h"

namespace llm {
namespace {

using test::HttpServer;
using test::ServedReply;
using test::ServedRequest;

class HttpClientTest : public testing::Test {
 protected:
  void SetUp() override { setenv("no_proxy", "127.0.0.1", 1); }

  HttpRequest request(const std::string& path) {
    HttpRequest request;
    request.url = server_.url() + path;
    request.on_body = [this](Bytes bytes) {
      body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    return request;
  }
  HttpFailure failure_of(HttpClient& client, const HttpRequest& request) {
    try {
      client.exchange(request);
    } catch (const HttpFailure& failure) {
      return failure;
    }
    ADD_FAILURE() << "no failure";
    return {};
  }

  ServedReply reply_;
  HttpServer server_{[this](const ServedRequest&) { return reply_; }};
  HttpClient client_{30, {}};
  std::string body_;
};

TEST_F(HttpClientTest, GetsHeadersAndBody) {
  reply_.headers = {{"ETag", "\"abc\""}, {"X-Odd", "  spaces \t"}};
  reply_.body = std::string(1'000'000, 'x') + "end";
  HttpRequest asked = request("/a/b");
  asked.headers = {"Range: bytes=5-"};
  asked.token = "secret";
  const HttpResponse response = client_.exchange(asked);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("etag"), "\"abc\"");
  EXPECT_EQ(response.header("x-odd"), "spaces");
  EXPECT_EQ(response.header("absent"), "");
  EXPECT_TRUE(body_ == reply_.body);
  const std::vector<ServedRequest> seen = server_.requests();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].method, "GET");
  EXPECT_EQ(seen[0].path, "/a/b");
  EXPECT_EQ(seen[0].header("range"), "bytes=5-");
  EXPECT_EQ(seen[0].header("authorization"), "Bearer secret");
  EXPECT_EQ(seen[0].header("accept-encoding"), "identity");
}

TEST_F(HttpClientTest, HeadersOfOneExchangeAreNotSentInTheNext) {
  HttpRequest first = request("/1");
  first.token = "secret";
  first.headers = {"Range: bytes=5-"};
  client_.exchange(first);
  client_.exchange(request("/2"));
  EXPECT_EQ(server_.requests()[1].header("authorization"), "");
  EXPECT_EQ(server_.requests()[1].header("range"), "");
}

TEST_F(HttpClientTest, HeadHasNoBodyAndGetFollowsIt) {
  reply_.body = "12345";
  HttpRequest head = request("/");
  head.head_only = true;
  EXPECT_EQ(client_.exchange(head).header("content-length"), "5");
  EXPECT_EQ(body_, "");
  client_.exchange(request("/"));
  EXPECT_EQ(body_, "12345");
}

TEST_F(HttpClientTest, RedirectsAreReportedNotFollowed) {
  reply_.status = 302;
  reply_.headers = {{"Location", "/other?x=1"}};
  reply_.body = "not for the sink";
  const HttpResponse response = client_.exchange(request("/a"));
  EXPECT_EQ(response.status, 302);
  EXPECT_EQ(response.redirect, server_.url() + "/other?x=1");
  EXPECT_EQ(server_.requests().size(), 1u);
  EXPECT_EQ(body_, "");
}

TEST_F(HttpClientTest, RetryAfter) {
  reply_.status = 429;
  reply_.headers = {{"Retry-After", "17"}};
  EXPECT_EQ(client_.exchange(request("/")).retry_after, 17);
}

TEST_F(HttpClientTest, TheHeadCanEndIt) {
  reply_.body = std::string(1'000'000, 'x');
  HttpRequest asked = request("/");
  int heads = 0;
  asked.on_head = [&](const HttpResponse& head) {
    EXPECT_EQ(head.status, 200);
    ++heads;
    return false;
  };
  EXPECT_EQ(client_.exchange(asked).status, 200);
  EXPECT_EQ(heads, 1);
  EXPECT_EQ(body_, "");
}

TEST_F(HttpClientTest, WhatTheSinkThrowsComesOut) {
  reply_.body = "12345";
  HttpRequest asked = request("/");
  asked.on_body = [](Bytes) { throw std::runtime_error("disk full"); };
  EXPECT_THROW(client_.exchange(asked), std::runtime_error);
  asked.on_body = {};
  EXPECT_EQ(client_.exchange(asked).status, 200);  // and does not stay
}

TEST_F(HttpClientTest, LostConnections) {
  reply_.body = "1234567890";
  reply_.cut_after = 4;
  EXPECT_EQ(failure_of(client_, request("/")).kind, HttpFailure::Kind::broken);
  EXPECT_EQ(body_, "1234");
}

TEST_F(HttpClientTest, ConnectionsThatStandStill) {
  reply_.body = "1234567890";
  reply_.cut_after = 4;
  reply_.stall_seconds = 20;
  HttpClient impatient(1, {});
  EXPECT_EQ(failure_of(impatient, request("/")).kind, HttpFailure::Kind::broken);
}

TEST_F(HttpClientTest, CanBeStopped) {
  reply_.body = "1234567890";
  reply_.cut_after = 4;
  reply_.stall_seconds = 20;
  HttpClient client(30, [this] { return !body_.empty(); });
  EXPECT_EQ(failure_of(client, request("/")).kind, HttpFailure::Kind::stopped);
}

TEST_F(HttpClientTest, NobodyThere) {
  HttpRequest asked;
  asked.url = "http://127.0.0.1:" + std::to_string(test::closed_port());
  const HttpFailure failure = failure_of(client_, asked);
  EXPECT_EQ(failure.kind, HttpFailure::Kind::unreachable);
  EXPECT_NE(failure.what, "");
}

TEST_F(HttpClientTest, HttpsOfAServerWithoutItIsNotTrusted) {
  HttpRequest asked = request("/");
  asked.url.replace(0, 4, "https");
  const HttpFailure::Kind kind = failure_of(client_, asked).kind;
  EXPECT_EQ(kind, HttpFailure::Kind::untrusted);
}

TEST(HttpOrigin, SchemeHostAndPort) {
  EXPECT_EQ(http_origin("https://huggingface.co/a/b?c"), "https://huggingface.co:443");
  EXPECT_EQ(http_origin("HTTPS://HuggingFace.co:443"), "https://huggingface.co:443");
  EXPECT_EQ(http_origin("http://localhost:8000/x"), "http://localhost:8000");
  EXPECT_EQ(http_origin("https://user:pass@host/"), "https://host:443");
  EXPECT_NE(http_origin("https://a.b"), http_origin("https://a.b.evil"));
  for (const char* text : {"", "huggingface.co", "/path", "file:///etc/passwd", "ftp://host/x",
                           "gopher://host", "http://"}) {
    EXPECT_EQ(http_origin(text), "") << text;
  }
}

TEST(UrlEscape, KeepsWhatIsPlain) {
  EXPECT_EQ(url_escape("refs/pr/1"), "refs%2Fpr%2F1");
  EXPECT_EQ(url_escape("a-b_c.d~E9"), "a-b_c.d~E9");
  EXPECT_EQ(url_escape("a b?#%\xc3\xa4"), "a%20b%3F%23%25%C3%A4");
}

TEST(Html, IsKnownByItsBeginning) {
  for (const char* text :
       {"<!DOCTYPE html>", "\r\n <html lang=\"en\">", "<HTML>", "<!doctype HTML"}) {
    EXPECT_TRUE(begins_html(as_bytes(std::string_view(text)))) << text;
  }
  for (const char* text : {"", " ", "<", "{\"<html>\": 1}", "<xml>", "text <html>"}) {
    EXPECT_FALSE(begins_html(as_bytes(std::string_view(text)))) << text;
  }
}

}  // namespace
}  // namespace llm
