#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "support/memory_backend.h"
#include "train/run_setup.h"

namespace llm {
namespace {

// One of two ranks, after or before the other: what rank 0 broadcasts waits in `wire` for rank 1.
class WireComm final : public Comm {
 public:
  WireComm(int rank, std::string& wire) : rank_(rank), wire_(wire) {}
  int rank() const override { return rank_; }
  int ranks() const override { return 2; }
  std::string name() const override { return "wire"; }
  void all_reduce(Tensor, Reduce) override {}
  void reduce_scatter(Tensor, Tensor) override {}
  void all_gather(Tensor, Tensor) override {}
  void broadcast(Tensor x, int) override {
    const auto bytes = static_cast<size_t>(x.bytes());
    most_ = std::max(most_, bytes);
    if (rank_ == 0) {
      wire_.append(static_cast<const char*>(x.data), bytes);
    } else {
      std::memcpy(x.data, wire_.data() + read_, bytes);
      read_ += bytes;
    }
  }
  void barrier() override {}
  int64_t all_reduce(int64_t value, Reduce reduce) override {
    if (reduce == Reduce::min) return std::min(value, least_);
    return std::max(value, static_cast<int64_t>(wire_.size()));
  }
  double all_reduce(double value, Reduce) override { return value; }
  void set_step(int64_t) override {}
  void set_least(int64_t value) { least_ = value; }  // what the other rank has
  size_t most() const { return most_; }

 private:
  int rank_;
  std::string& wire_;
  size_t read_ = 0, most_ = 0;
  int64_t least_ = 1 << 30;
};

TEST(SharePlan, TravelsInPiecesThroughTheMemoryOfActivations) {
  std::string plan;
  for (int i = 0; i < 300; ++i) plan += std::to_string(i * 7919) + ",";
  std::string wire;
  const auto share = [&](int rank, const std::string& before) {
    const auto backend = test::make_memory_backend(/*host=*/true);
    backend->load_plan(before, "");
    ActivationArena arena(*backend, 1024);
    arena.take(DType::f32, {1});
    WireComm comm(rank, wire);
    comm.set_least(512);
    share_plan(*backend, comm, arena);
    EXPECT_LE(comm.most(), 512u);
    EXPECT_EQ(arena.mark(), 256);
    return backend->plan();
  };
  // Both ranks send pieces for which either has room.
  EXPECT_EQ(share(0, plan), plan);
  EXPECT_EQ(share(1, "another"), plan);
}

}  // namespace
}  // namespace llm
