#include "support/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <sstream>
#include <stdexcept>

#include "base/file.h"

namespace llm::test {
namespace {

constexpr double kSeconds = 10;  // for one exchange

int port_of(const Socket& listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(listener.descriptor(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("getsockname");
  }
  return ntohs(address.sin_port);
}

void send_text(Socket& connection, std::string_view text) {
  connection.send(as_bytes(text), deadline_in(kSeconds));
}

bool has_gone(const Socket& connection) {
  char byte = 0;
  return recv(connection.descriptor(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

// The lines up to the empty one. Requests of a client that only fetches have no body.
std::string receive_head(Socket& connection) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    char c = 0;
    connection.receive(std::as_writable_bytes(std::span(&c, 1)), deadline_in(kSeconds));
    head += c;
    if (head[0] < 'A' || head[0] > 'Z') throw SocketFailure{"no HTTP"};  // such as TLS
  }
  return head;
}

ServedRequest parse_request(const std::string& head) {
  ServedRequest request;
  std::istringstream lines(head);
  lines >> request.method >> request.path;
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    request.headers[name] = line.substr(colon + 2, line.find('\r') - colon - 2);
  }
  return request;
}

}  // namespace

std::string ServedRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

HttpServer::HttpServer(Handler handler)
    : handler_(std::move(handler)), listener_(listen_at(0, /*local=*/true)) {
  port_ = port_of(listener_);
  thread_ = std::thread([this] { serve(); });
}

HttpServer::~HttpServer() {
  stop_ = true;
  thread_.join();
}

std::string HttpServer::url() const { return fmt::format("http://127.0.0.1:{}", port_); }

std::vector<ServedRequest> HttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void HttpServer::forget_requests() {
  const std::lock_guard lock(mutex_);
  requests_.clear();
}

void HttpServer::serve() {
  while (!stop_) {
    try {
      if (Socket connection = accept_from(listener_, deadline_in(0.02))) {
        answer(std::move(connection));
      }
    } catch (const SocketFailure&) {  // the client has gone: that is its right
    }
  }
}

void HttpServer::answer(Socket connection) {
  const ServedRequest request = parse_request(receive_head(connection));
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const ServedReply reply = handler_(request);
  std::string head = fmt::format("HTTP/1.1 {} Whatever\r\nConnection: close\r\n", reply.status);
  bool has_length = false;
  for (const auto& [name, value] : reply.headers) {
    head += fmt::format("{}: {}\r\n", name, value);
    has_length = has_length || name == "Content-Length";
  }
  if (!has_length) head += fmt::format("Content-Length: {}\r\n", reply.body.size());
  send_text(connection, head + "\r\n");
  if (request.method == "HEAD") return;
  const std::string_view body = reply.body;
  if (reply.cut_after < 0) return send_text(connection, body);
  send_text(connection, body.substr(0, static_cast<size_t>(reply.cut_after)));
  if (reply.stall_seconds <= 0) return;
  const auto end = deadline_in(reply.stall_seconds);
  while (!stop_ && !has_gone(connection) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  send_text(connection, body.substr(static_cast<size_t>(reply.cut_after)));
}

int closed_port() { return port_of(listen_at(0, /*local=*/true)); }

}  // namespace llm::test
