#include "backend/host_group.h"

#include <algorithm>
#include <cstring>

#include "backend/launcher.h"
#include "backend/tcp_group.h"
#include "base/error.h"

namespace llm {
namespace {

// On top of a Comm: MPI's, or that of a single process.
class CommGroup final : public HostGroup {
 public:
  explicit CommGroup(std::unique_ptr<Comm> comm) : comm_(std::move(comm)) {}
  int rank() const override { return comm_->rank(); }
  int ranks() const override { return comm_->ranks(); }
  int64_t all_reduce(int64_t value, Reduce reduce) override {
    return comm_->all_reduce(value, reduce);
  }
  double all_reduce(double value, Reduce reduce) override {
    return comm_->all_reduce(value, reduce);
  }
  void share(std::span<std::byte> bytes) override;
  void barrier() override { comm_->barrier(); }
  void set_step(int64_t step) override { comm_->set_step(step); }

 private:
  std::unique_ptr<Comm> comm_;
};

// As sums to which only rank 0 contributes: tensors would be taken for the device's.
void CommGroup::share(std::span<std::byte> bytes) {
  for (size_t begin = 0; begin < bytes.size(); begin += sizeof(int64_t)) {
    const size_t size = std::min(sizeof(int64_t), bytes.size() - begin);
    int64_t word = 0;
    if (rank() == 0) std::memcpy(&word, bytes.data() + begin, size);
    word = comm_->all_reduce(word, Reduce::sum);
    std::memcpy(bytes.data() + begin, &word, size);
  }
}

}  // namespace

std::unique_ptr<HostGroup> make_host_group(Backend& backend, double timeout_seconds) {
  const Launcher launcher = find_launcher();
  switch (launcher.meeting) {
    case Launcher::Meeting::mpi:
      return std::make_unique<CommGroup>(make_mpi_comm(backend, timeout_seconds));
    case Launcher::Meeting::sockets:
      return make_tcp_group(launcher, timeout_seconds);
    case Launcher::Meeting::alone:
      break;
  }
  return std::make_unique<CommGroup>(make_single_comm());
}

}  // namespace llm
