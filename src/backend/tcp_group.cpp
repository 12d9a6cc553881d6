#include "backend/tcp_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backend/socket.h"
#include "base/error.h"

namespace llm {
namespace {

constexpr uint64_t kMagic = 0x31'70756f'72676d6cu;  // "lmgroup1"
// Whoever connects must say at once who it is.
constexpr double kHelloSeconds = 5;

struct Hello {
  uint64_t magic, key;
  uint32_t ranks, rank;
};

// Before each part of an exchange: both sides must be at the same one.
struct Header {
  uint64_t number;
  uint32_t kind, bytes;
};

enum class Exchange : uint32_t { integers, reals, share, barrier };
constexpr const char* kExchangeNames[] = {"all-reduce", "all-reduce", "broadcast", "barrier"};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <typename T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

class TcpGroup final : public HostGroup {
 public:
  TcpGroup(const Launcher& launcher, double timeout_seconds);

  int rank() const override { return launcher_.rank; }
  int ranks() const override { return launcher_.ranks; }
  int64_t all_reduce(int64_t value, Reduce reduce) override {
    return reduce_value(value, Exchange::integers, reduce);
  }
  double all_reduce(double value, Reduce reduce) override {
    return reduce_value(value, Exchange::reals, reduce);
  }
  void share(std::span<std::byte> bytes) override;
  void barrier() override { gather(Exchange::barrier, {}); }
  void set_step(int64_t step) override { step_ = step; }

 private:
  // Throws Error{device}.
  [[noreturn]] void fail(const char* collective, int peer, const std::string& what) const;
  void meet_others();
  bool admit(Socket socket);
  void meet_first();
  void receive(int peer, Exchange kind, std::span<std::byte> bytes, Deadline deadline);
  void send(int peer, Exchange kind, std::span<const std::byte> bytes, Deadline deadline);
  // Of all ranks, in their order.
  std::vector<std::byte> gather(Exchange kind, std::span<const std::byte> mine);
  template <typename T>
  T reduce_value(T value, Exchange kind, Reduce reduce);

  const Launcher launcher_;
  const double timeout_seconds_;
  int64_t step_ = -1;
  uint64_t exchanges_ = 0;
  std::vector<Socket> peers_;  // by rank; all but rank 0 have only a connection to rank 0
};

TcpGroup::TcpGroup(const Launcher& launcher, double timeout_seconds)
    : launcher_(launcher),
      timeout_seconds_(timeout_seconds),
      peers_(static_cast<size_t>(launcher.ranks)) {
  if (rank() == 0) {
    meet_others();
  } else {
    meet_first();
  }
  barrier();
}

void TcpGroup::fail(const char* collective, int peer, const std::string& what) const {
  const std::string when = step_ < 0 ? collective : fmt::format("{} at step {}", collective, step_);
  throw Error(ErrorKind::device, fmt::format("rank {} of {}", rank(), ranks()),
              fmt::format("{}: rank {}: {} (time-out {:g} s)", when, peer, what, timeout_seconds_),
              "another process may have died; see its message");
}

void TcpGroup::meet_others() {
  const std::string& address = launcher_.address;
  const bool local = address == "localhost" || address.starts_with("127.");
  const Deadline deadline = deadline_in(timeout_seconds_);
  try {
    const Socket listener = listen_at(launcher_.port, local);
    int missing = ranks() - 1;
    while (missing > 0) {
      Socket socket = accept_from(listener, deadline);
      if (!socket) break;
      missing -= admit(std::move(socket));
    }
  } catch (const SocketFailure& failure) {
    throw Error(ErrorKind::device, fmt::format("rank 0 of {}", ranks()),
                fmt::format("port {}: {}", launcher_.port, failure.what),
                "set MASTER_PORT to the port below a free one");
  }
  for (int peer = 1; peer < ranks(); ++peer) {
    if (!peers_[static_cast<size_t>(peer)]) fail("start", peer, "it did not come");
  }
}

// Whether this is a process of this run that has not come yet; others are turned away.
bool TcpGroup::admit(Socket socket) {
  Hello hello{};
  try {
    const Deadline deadline = deadline_in(std::min(kHelloSeconds, timeout_seconds_));
    socket.receive(bytes_of(hello), deadline);
    const auto count = static_cast<uint32_t>(ranks());
    if (hello.magic != kMagic || hello.key != launcher_.key || hello.ranks != count ||
        hello.rank == 0 || hello.rank >= count || peers_[hello.rank]) {
      return false;
    }
    socket.send(bytes_of(kMagic), deadline);
  } catch (const SocketFailure&) {
    return false;
  }
  peers_[hello.rank] = std::move(socket);
  return true;
}

void TcpGroup::meet_first() {
  const Deadline deadline = deadline_in(timeout_seconds_);
  const Hello hello{kMagic, launcher_.key, static_cast<uint32_t>(ranks()),
                    static_cast<uint32_t>(rank())};
  const std::string where = fmt::format("at {}:{}", launcher_.address, launcher_.port);
  try {
    peers_[0] = connect_to(launcher_.address, launcher_.port, deadline);
    peers_[0].send(bytes_of(hello), deadline);
    uint64_t answer = 0;
    peers_[0].receive(bytes_of(answer), deadline);
    if (answer != kMagic) fail("start", 0, fmt::format("another program is {}", where));
  } catch (const SocketFailure& failure) {
    fail("start", 0, fmt::format("{}: {}", where, failure.what));
  }
}

void TcpGroup::send(int peer, Exchange kind, std::span<const std::byte> bytes, Deadline deadline) {
  const Header header{exchanges_, static_cast<uint32_t>(kind), static_cast<uint32_t>(bytes.size())};
  Socket& socket = peers_[static_cast<size_t>(peer)];
  try {
    socket.send(bytes_of(header), deadline);
    socket.send(bytes, deadline);
  } catch (const SocketFailure& failure) {
    fail(kExchangeNames[static_cast<size_t>(kind)], peer, failure.what);
  }
}

void TcpGroup::receive(int peer, Exchange kind, std::span<std::byte> bytes, Deadline deadline) {
  Header header{};
  const char* name = kExchangeNames[static_cast<size_t>(kind)];
  Socket& socket = peers_[static_cast<size_t>(peer)];
  try {
    socket.receive(bytes_of(header), deadline);
    if (header.number != exchanges_ || header.kind != static_cast<uint32_t>(kind) ||
        header.bytes != bytes.size()) {
      fail(name, peer, "it is at another exchange");
    }
    socket.receive(bytes, deadline);
  } catch (const SocketFailure& failure) {
    fail(name, peer, failure.what);
  }
}

std::vector<std::byte> TcpGroup::gather(Exchange kind, std::span<const std::byte> mine) {
  const Deadline deadline = deadline_in(timeout_seconds_);
  std::vector<std::byte> all(mine.size() * static_cast<size_t>(ranks()));
  ++exchanges_;
  if (rank() != 0) {
    send(0, kind, mine, deadline);
    receive(0, kind, all, deadline);
    return all;
  }
  std::copy(mine.begin(), mine.end(), all.begin());
  for (int peer = 1; peer < ranks(); ++peer) {
    receive(peer, kind,
            std::span(all).subspan(static_cast<size_t>(peer) * mine.size(), mine.size()), deadline);
  }
  for (int peer = 1; peer < ranks(); ++peer) send(peer, kind, all, deadline);
  return all;
}

void TcpGroup::share(std::span<std::byte> bytes) {
  const std::vector<std::byte> all = gather(Exchange::share, bytes);
  std::copy_n(all.begin(), bytes.size(), bytes.begin());
}

template <typename T>
T TcpGroup::reduce_value(T value, Exchange kind, Reduce reduce) {
  const std::vector<std::byte> all = gather(kind, bytes_of(value));
  T total{};
  for (int peer = 0; peer < ranks(); ++peer) {
    T theirs{};
    std::memcpy(&theirs, all.data() + static_cast<size_t>(peer) * sizeof(T), sizeof(T));
    total = peer == 0 ? theirs : combine(total, theirs, reduce);
  }
  return total;
}

}  // namespace

std::unique_ptr<HostGroup> make_tcp_group(const Launcher& launcher, double timeout_seconds) {
  return std::make_unique<TcpGroup>(launcher, timeout_seconds);
}

}  // namespace llm
