// A small HTTP server on a free port of this machine, for tests of the client side.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/socket.h"

namespace llm::test {

struct ServedRequest {
  std::string method, path;
  std::map<std::string, std::string> headers;  // names in lower case

  std::string header(const std::string& name) const;
};

struct ServedReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;  // Content-Length comes by itself
  std::string body;
  int64_t cut_after = -1;    // bytes of the body until the connection is closed; -1: all
  double stall_seconds = 0;  // before the rest of the body behind cut_after, instead of closing
};

// Answers one connection after the other, each with one reply.
class HttpServer {
 public:
  using Handler = std::function<ServedReply(const ServedRequest&)>;
  explicit HttpServer(Handler handler);  // called in the server's thread
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }
  std::string url() const;  // "http://127.0.0.1:PORT"
  std::vector<ServedRequest> requests() const;
  void forget_requests();

 private:
  void serve();
  void answer(Socket connection);

  Handler handler_;
  Socket listener_;
  int port_ = 0;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::vector<ServedRequest> requests_;
  std::thread thread_;
};

// A port of this machine where nobody listens.
int closed_port();

}  // namespace llm::test
