// What tests of the hub share.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "support/expect_error.h"
#include "support/fake_hub.h"
#include "weights/hub.h"

namespace llm::test {

inline bool is_weights(const ServedRequest& request) {
  return request.path.ends_with("/model.safetensors");
}
inline bool is_any(const ServedRequest&) { return true; }

class HubTest : public testing::Test {
 protected:
  void SetUp() override { setenv("no_proxy", "127.0.0.1", 1); }

  HubOptions options() const {
    HubOptions options;
    options.endpoint = server_.url();
    options.retry_delay = 0.001;
    options.retries = 3;
    return options;
  }
  RemoteFile weights(Hub& hub) {
    hub.open("gpt2");
    const auto file = hub.find("model.safetensors");
    return file ? *file : RemoteFile{};
  }
  void status_for(bool (*which)(const ServedRequest&), int status, const std::string& code = "") {
    server_.change_replies([=](const ServedRequest& request, ServedReply& reply) {
      if (!which(request)) return;
      reply = {};
      reply.status = status;
      reply.body = "<html>sorry</html>";
      if (!code.empty()) reply.headers = {{"X-Error-Code", code}};
    });
  }

  FakeHub server_;
};

}  // namespace llm::test
