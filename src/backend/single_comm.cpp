// The collectives of a run of one process.
#include "backend/comm.h"
#include "base/error.h"

namespace llm {
namespace {

class SingleComm final : public Comm {
 public:
  int rank() const override { return 0; }
  int ranks() const override { return 1; }
  std::string name() const override { return "single process"; }
  bool alone() const override { return true; }

  void all_reduce(Tensor, Reduce) override {}
  void reduce_scatter(Tensor y, Tensor x) override { require_same(y, x); }
  void all_gather(Tensor y, Tensor x) override { require_same(y, x); }
  void broadcast(Tensor, int root) override { LLM_ASSERT(root == 0, "root {}", root); }
  void barrier() override {}
  int64_t all_reduce(int64_t value, Reduce) override { return value; }
  double all_reduce(double value, Reduce) override { return value; }
  void set_step(int64_t) override {}

 private:
  // With one rank there is nothing to move, so callers work in place; this class has no device to
  // copy with.
  static void require_same(const Tensor& y, const Tensor& x) {
    LLM_ASSERT(y.data == x.data && y.bytes() == x.bytes(), "{} and {}: in place with one rank",
               y.describe(), x.describe());
  }
};

}  // namespace

std::unique_ptr<Comm> make_single_comm() { return std::make_unique<SingleComm>(); }

}  // namespace llm
