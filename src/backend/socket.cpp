#include "backend/socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

namespace llm {
namespace {

[[noreturn]] void fail(const char* what, int error) {
  throw SocketFailure{fmt::format("{}: {}", what, std::strerror(error))};
}

// Whether the socket is ready before the deadline.
bool ready(int descriptor, short events, Deadline deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const auto wait = std::clamp<int64_t>(left.count(), 0, 60'000);
    pollfd entry{descriptor, events, 0};
    const int count = poll(&entry, 1, static_cast<int>(wait));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) fail("poll", errno);
    if (left.count() <= 0) return false;
  }
}

// Messages are small and are waited for: they leave at once. Calls do not block.
void set_options(int descriptor) {
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  const int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) fail("fcntl", errno);
}

// One try; an empty socket and the reason in `error` if it fails.
Socket try_connect(const addrinfo& where, Deadline deadline, int& error) {
  Socket socket(::socket(where.ai_family, where.ai_socktype | SOCK_CLOEXEC, where.ai_protocol));
  if (!socket) {
    error = errno;
    return {};
  }
  set_options(socket.descriptor());
  if (connect(socket.descriptor(), where.ai_addr, where.ai_addrlen) == 0) return socket;
  error = errno;
  if (error != EINPROGRESS) return {};
  if (!ready(socket.descriptor(), POLLOUT, deadline)) {
    error = ETIMEDOUT;
    return {};
  }
  socklen_t size = sizeof error;
  getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return {};
  return socket;
}

Socket bind_to(const sockaddr* address, socklen_t size, int& error) {
  Socket socket(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1, off = 0;
  if (socket) {
    setsockopt(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->sa_family == AF_INET6) {
      setsockopt(socket.descriptor(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(socket.descriptor(), address, size) == 0 &&
        listen(socket.descriptor(), SOMAXCONN) == 0) {
      set_options(socket.descriptor());
      return socket;
    }
  }
  error = errno;
  return {};
}

}  // namespace

Deadline deadline_in(double seconds) {
  // More than a year is forever.
  const std::chrono::duration<double> span(std::min(seconds, 4e7));
  return std::chrono::steady_clock::now() + std::chrono::duration_cast<Deadline::duration>(span);
}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

void Socket::send(std::span<const std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes = bytes.subspan(static_cast<size_t>(sent));
    } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      fail("the connection broke", errno);
    } else if (!ready(descriptor_, POLLOUT, deadline)) {
      throw SocketFailure{"nothing could be sent in time"};
    }
  }
}

void Socket::receive(std::span<std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t got = recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<size_t>(got));
    } else if (got == 0) {
      throw SocketFailure{"the other process has ended"};
    } else if (errno != EAGAIN && errno != EINTR) {
      fail("the connection broke", errno);
    } else if (!ready(descriptor_, POLLIN, deadline)) {
      throw SocketFailure{"nothing came in time"};
    }
  }
}

Socket listen_at(int port, bool local) {
  int error = 0;
  const auto network_port = htons(static_cast<uint16_t>(port));
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = network_port;
  six.sin6_addr = in6addr_any;
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = network_port;
  four.sin_addr.s_addr = htonl(local ? INADDR_LOOPBACK : INADDR_ANY);
  Socket socket;
  if (!local) socket = bind_to(reinterpret_cast<const sockaddr*>(&six), sizeof six, error);
  if (!socket) socket = bind_to(reinterpret_cast<const sockaddr*>(&four), sizeof four, error);
  if (!socket) fail("cannot listen there", error);
  return socket;
}

Socket accept_from(const Socket& listener, Deadline deadline) {
  while (ready(listener.descriptor(), POLLIN, deadline)) {
    Socket socket(accept4(listener.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket) {
      set_options(socket.descriptor());
      return socket;
    }
    // A caller who has gone again is no reason to stop.
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) fail("accept", errno);
  }
  return {};
}

Socket connect_to(const std::string& address, int port, Deadline deadline) {
  constexpr auto kPause = std::chrono::milliseconds(100);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  std::string problem;
  do {
    addrinfo* found = nullptr;
    // Names may not be known yet where machines have just started, so this is repeated as well.
    const int status =
        getaddrinfo(address.c_str(), fmt::format("{}", port).c_str(), &hints, &found);
    if (status == 0) {
      const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
      for (const addrinfo* where = found; where; where = where->ai_next) {
        int error = 0;
        if (Socket socket = try_connect(*where, deadline, error)) return socket;
        problem = std::strerror(error);
      }
    } else {
      problem = gai_strerror(status);
    }
    std::this_thread::sleep_for(kPause);
  } while (std::chrono::steady_clock::now() < deadline);
  throw SocketFailure{problem};
}

}  // namespace llm
