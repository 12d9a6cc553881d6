#include "cpu_ref/thread_pool.h"

#include "base/error.h"

namespace llm::cpu_ref {
namespace {

// How long an idle thread looks for work before it sleeps: longer than the gaps between the ops of
// a step, so that waking (some 50 us) is rare.
constexpr int kIdleRounds = 250;
// Between yields: some 2 us, since what comes during a yield is noticed a microsecond late.
constexpr int kPausesPerRound = 128;

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Waits until ready() or, where rounds >= 0, for so many rounds.
template <typename Ready>
void look(const Ready& ready, int rounds) {
  for (int round = 0; rounds < 0 || round < rounds; ++round) {
    for (int i = 0; i < kPausesPerRound; ++i) {
      if (ready()) return;
      pause_briefly();
    }
    std::this_thread::yield();
  }
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread] { work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(int64_t pieces, const void* body, Call call) {
  if (pieces <= 0) return;
  LLM_ASSERT(pieces <= INT32_MAX, "{} pieces of work", pieces);
  if (workers_.empty() || pieces == 1 || busy_.exchange(true, std::memory_order_acquire)) {
    for (int64_t piece = 0; piece < pieces; ++piece) call(body, piece, 0);
    return;
  }
  body_ = body;
  call_ = call;
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(static_cast<uint64_t>(pieces) << 32, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  drain(0);
  look([&] { return done_.load(std::memory_order_acquire) == pieces; }, -1);
  busy_.store(false, std::memory_order_release);
}

// Claims and does pieces until none is left. The body of a run lives until all its pieces are done,
// so who has claimed one may use it.
void ThreadPool::drain(int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (true) {
    const uint64_t next = ticket & 0xffffffffu;
    if (next >= ticket >> 32) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      continue;
    }
    call_(body_, static_cast<int64_t>(next), thread);
    done_.fetch_add(1, std::memory_order_release);
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ThreadPool::work(int thread) {
  while (true) {
    const uint32_t epoch = epoch_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    drain(thread);
    look([&] { return epoch_.load(std::memory_order_acquire) != epoch; }, kIdleRounds);
    epoch_.wait(epoch, std::memory_order_acquire);
  }
}

}  // namespace llm::cpu_ref
