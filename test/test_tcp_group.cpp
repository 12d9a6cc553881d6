// Exchanges over TCP; the ranks are threads of this process.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "backend/socket.h"
#include "backend/tcp_group.h"
#include "base/error.h"

namespace llm {
namespace {

// A port that is free now.
int free_port() {
  const Socket socket(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(bind(socket.descriptor(), generic, size), 0);
  EXPECT_EQ(getsockname(socket.descriptor(), generic, &size), 0);
  return ntohs(address.sin_port);
}

Launcher launcher_at(int port, int rank, int ranks) {
  Launcher launcher;
  launcher.meeting = Launcher::Meeting::sockets;
  launcher.rank = rank;
  launcher.ranks = ranks;
  launcher.address = "127.0.0.1";
  launcher.port = port;
  launcher.key = 77;
  return launcher;
}

// What each rank's program threw; empty where nothing.
using Errors = std::vector<std::string>;
using Program = std::function<void(HostGroup&)>;

// Runs `program` on `present` of `ranks` ranks.
Errors run_ranks(int ranks, int present, double timeout_seconds, const Program& program,
                 int port = free_port()) {
  Errors errors(static_cast<size_t>(present));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < present; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        const auto group = make_tcp_group(launcher_at(port, rank, ranks), timeout_seconds);
        program(*group);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::device);
        errors[static_cast<size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void check_exchanges(HostGroup& group) {
  const int ranks = group.ranks(), rank = group.rank();
  for (int repetition = 0; repetition < 20; ++repetition) {
    EXPECT_EQ(group.all_reduce(int64_t{rank + 1}, Reduce::sum), ranks * (ranks + 1) / 2);
    EXPECT_EQ(group.all_reduce(int64_t{rank}, Reduce::max), ranks - 1);
    EXPECT_EQ(group.all_reduce(int64_t{-rank}, Reduce::min), 1 - ranks);
    EXPECT_EQ(group.all_reduce(0.5, Reduce::sum), 0.5 * ranks);
    group.barrier();
  }
  for (int owner = 0; owner < ranks; ++owner) {
    const double value = rank == owner ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    for (const Reduce reduce : {Reduce::sum, Reduce::max, Reduce::min}) {
      EXPECT_TRUE(std::isnan(group.all_reduce(value, reduce)));
    }
  }
  std::vector<std::byte> bytes(100'000, static_cast<std::byte>(rank));
  group.share(bytes);
  EXPECT_EQ(bytes, std::vector<std::byte>(100'000));
}

TEST(TcpGroup, Exchanges) {
  for (const int ranks : {1, 2, 3, 8}) {
    EXPECT_EQ(run_ranks(ranks, ranks, 30, check_exchanges), Errors(static_cast<size_t>(ranks)));
  }
}

TEST(TcpGroup, NamesARankThatDoesNotCome) {
  const Errors errors = run_ranks(3, 2, 0.5, [](HostGroup&) { FAIL(); });
  expect_contains(errors[0], "rank 0 of 3: start: rank 2: it did not come");
  expect_contains(errors[1], "rank 1 of 3");
}

TEST(TcpGroup, NamesAFirstRankThatDoesNotCome) {
  try {
    make_tcp_group(launcher_at(free_port(), 1, 2), 0.3);
    FAIL();
  } catch (const Error& error) {
    expect_contains(error.what(), "rank 1 of 2: start: rank 0: at 127.0.0.1:");
  }
}

TEST(TcpGroup, NamesAPortThatIsTaken) {
  const int port = free_port();
  const Socket taken = listen_at(port, true);
  try {
    make_tcp_group(launcher_at(port, 0, 2), 0.3);
    FAIL();
  } catch (const Error& error) {
    expect_contains(error.what(), "in use");
  }
}

TEST(TcpGroup, NoticesARankThatEnds) {
  const auto begin = std::chrono::steady_clock::now();
  const Errors errors = run_ranks(3, 3, 30, [](HostGroup& group) {
    group.set_step(12);
    if (group.rank() != 1) group.all_reduce(int64_t{1}, Reduce::sum);
  });
  expect_contains(errors[0], "all-reduce at step 12: rank 1: the other process has ended");
  EXPECT_LT(seconds_since(begin), 10);
}

TEST(TcpGroup, NoticesARankThatHangs) {
  const Errors errors = run_ranks(2, 2, 0.3, [](HostGroup& group) {
    if (group.rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(1));
    group.all_reduce(1.0, Reduce::max);
  });
  expect_contains(errors[0], "all-reduce: rank 1: nothing came in time");
}

TEST(TcpGroup, NoticesDifferentExchanges) {
  const Errors errors = run_ranks(2, 2, 5, [](HostGroup& group) {
    if (group.rank() == 1) {
      group.barrier();
    } else {
      group.all_reduce(int64_t{1}, Reduce::sum);
    }
  });
  expect_contains(errors[0], "rank 1: it is at another exchange");
}

// Connects as soon as somebody listens, sends the bytes and waits to be turned away.
void visit(int port, std::span<const std::byte> bytes) {
  const Deadline deadline = deadline_in(20);
  Socket socket = connect_to("127.0.0.1", port, deadline);
  socket.send(bytes, deadline);
  std::array<std::byte, 1> answer{};
  EXPECT_THROW(socket.receive(answer, deadline), SocketFailure);
}

TEST(TcpGroup, TurnsStrangersAway) {
  const int port = free_port();
  std::thread strangers([port] {
    const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    visit(port, std::as_bytes(std::span(request)));
    const std::vector<std::byte> zeros(24);
    visit(port, zeros);
    // Comes from a run with another key, so it never gets an answer.
    Launcher other = launcher_at(port, 1, 2);
    other.key = 78;
    EXPECT_THROW(make_tcp_group(other, 5), Error);
  });
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    ranks.emplace_back([&, rank] {
      if (rank == 1) strangers.join();
      check_exchanges(*make_tcp_group(launcher_at(port, rank, 2), 30));
    });
  }
  for (std::thread& thread : ranks) thread.join();
}

}  // namespace
}  // namespace llm
