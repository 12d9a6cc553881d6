// The collectives of a run of one process, and how to tell whether there are more.
#include <cstdlib>
#include <cstring>

#include "backend/comm.h"
#include "base/error.h"

namespace llm {
namespace {

class SingleComm final : public Comm {
 public:
  int rank() const override { return 0; }
  int ranks() const override { return 1; }
  std::string name() const override { return "single process"; }

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

// The value of an environment variable that holds a number of processes; 0 if there is none.
int64_t process_count(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return 0;
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  return end != text && *end == '\0' && value > 0 ? value : 0;
}

}  // namespace

std::unique_ptr<Comm> make_single_comm() { return std::make_unique<SingleComm>(); }

bool started_by_launcher() {
  // Open MPI, PMI (MPICH, Intel MPI), srun, torchrun. SLURM_NTASKS is not asked: a batch script has
  // it too, where a single process was started.
  if (process_count("OMPI_COMM_WORLD_SIZE") > 1 || process_count("PMI_SIZE") > 1 ||
      process_count("SLURM_STEP_NUM_TASKS") > 1) {
    return true;
  }
  return std::getenv("RANK") != nullptr && process_count("WORLD_SIZE") > 1;
}

}  // namespace llm
