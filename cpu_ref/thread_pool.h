// The threads of the CPU backend. The caller works too, and pieces are claimed, not assigned: on a
// busy machine the caller does what no other thread has come to, instead of waiting (which costs
// milliseconds) until every thread has had its turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace llm::cpu_ref {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // the calling thread is one of them
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(piece, thread) for every piece in [0, pieces), thread in [0, size()). Returns when
  // all are done. A call from within a body, or beside one, does all pieces itself.
  template <typename Body>
  void run(int64_t pieces, const Body& body) {
    run_erased(pieces, &body, [](const void* what, int64_t piece, int thread) {
      (*static_cast<const Body*>(what))(piece, thread);
    });
  }

 private:
  using Call = void (*)(const void* body, int64_t piece, int thread);
  void run_erased(int64_t pieces, const void* body, Call call);
  void work(int thread);
  void drain(int thread);

  std::atomic<uint64_t> ticket_{0};  // pieces of this run << 32 | next piece to claim
  std::atomic<int64_t> done_{0};     // pieces finished
  std::atomic<uint32_t> epoch_{0};   // number of runs: what idle threads wait on
  std::atomic<bool> busy_{false}, stop_{false};
  // Of the present run; written before ticket_, read after a claim.
  const void* body_ = nullptr;
  Call call_ = nullptr;
  std::vector<std::thread> workers_;
};

// Up to `count` threads of a pool.
struct Threads {
  ThreadPool* pool;
  int count;
};

}  // namespace llm::cpu_ref
