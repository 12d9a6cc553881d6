// TCP connections with deadlines.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace llm {

using Deadline = std::chrono::steady_clock::time_point;
Deadline deadline_in(double seconds);

// What a connection can fail with: its text says what happened. The caller adds between whom.
struct SocketFailure {
  std::string what;
};

class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  explicit operator bool() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

  // All bytes or SocketFailure.
  void send(std::span<const std::byte> bytes, Deadline deadline);
  void receive(std::span<std::byte> bytes, Deadline deadline);

 private:
  int descriptor_ = -1;
};

// Accepts connections at a port of this machine; only from this machine if `local`.
Socket listen_at(int port, bool local);
// The next connection; none if there is none before the deadline.
Socket accept_from(const Socket& listener, Deadline deadline);
// Tries again until the deadline while nobody listens there.
Socket connect_to(const std::string& address, int port, Deadline deadline);

}  // namespace llm
