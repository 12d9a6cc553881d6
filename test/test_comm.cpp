// The collectives: of one process, and of two and three processes. What runs on the ranks is at the
// end of this file; this program starts itself through mpirun for it.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "backend/comm.h"
#include "backend/launcher.h"
#include "base/error.h"
#include "support/memory_backend.h"
#include "support/op_check.h"
#include "support/subprocess.h"

namespace llm {
namespace {

using test::ProcessOptions;
using test::ProcessResult;

// Names the rank program to run instead of the tests.
constexpr const char* kRankProgram = "LLM_TEST_RANK_PROGRAM";

std::string this_program() { return std::filesystem::read_symlink("/proc/self/exe"); }

// Runs one of the rank programs below on several ranks; nothing where that is
// not possible.
std::optional<ProcessResult> run_ranks(int ranks, const std::string& name) {
  if (!test::program_exists("mpirun")) return std::nullopt;
  ProcessOptions options;
  options.environment = {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                         "OMPI_MCA_btl_vader_single_copy_mechanism=none", "OMP_NUM_THREADS=1",
                         kRankProgram + ("=" + name)};
  options.timeout_seconds = 60;
  ProcessResult result = test::run_process(
      {"mpirun", "-np", fmt::to_string(ranks), "--oversubscribe", this_program()}, options);
  if (result.out.find("this build has no MPI") != std::string::npos) return std::nullopt;
  return result;
}

void check_all(Backend& backend, Comm& comm);  // below

constexpr const char* kNoMpi = "no mpirun, or this build is without MPI";

TEST(SingleComm, ChangesNothing) {
  const std::unique_ptr<Comm> comm = make_single_comm();
  EXPECT_EQ(comm->rank(), 0);
  EXPECT_EQ(comm->ranks(), 1);
  std::vector<float> values = {1, -2, 3};
  const Tensor tensor(values.data(), DType::f32, {3});
  comm->all_reduce(tensor, Reduce::sum);
  comm->reduce_scatter(tensor, tensor);
  comm->all_gather(tensor, tensor);
  comm->broadcast(tensor, 0);
  comm->barrier();
  EXPECT_EQ(values, (std::vector<float>{1, -2, 3}));
  EXPECT_EQ(comm->all_reduce(int64_t{7}, Reduce::max), 7);
  EXPECT_EQ(comm->all_reduce(0.5, Reduce::sum), 0.5);
}

TEST(NcclComm, CollectivesOfOneRank) {
  const std::unique_ptr<Backend> gpu = test::make_gpu_backend();
  if (!gpu) GTEST_SKIP() << "no GPU here";
  const std::unique_ptr<Comm> comm = test::make_gpu_comm(*gpu);
  if (!comm) GTEST_SKIP() << "no NCCL here";
  EXPECT_EQ(comm->ranks(), 1);
  check_all(*gpu, *comm);
}

TEST(NcclComm, CollectivesOfTwoRanks) {
  if (!test::make_gpu_backend(1)) GTEST_SKIP() << "fewer than two GPUs here";
  const std::optional<ProcessResult> result = run_ranks(2, "NcclCollectives");
  if (!result) GTEST_SKIP() << kNoMpi;
  EXPECT_EQ(result->exit_code, 0) << result->out << result->err;
}

TEST(MpiComm, CollectivesOfTwoRanks) {
  const std::optional<ProcessResult> result = run_ranks(2, "Collectives");
  if (!result) GTEST_SKIP() << kNoMpi;
  EXPECT_EQ(result->exit_code, 0) << result->out << result->err;
}

TEST(MpiComm, CollectivesOfThreeRanks) {
  const std::optional<ProcessResult> result = run_ranks(3, "Collectives");
  if (!result) GTEST_SKIP() << kNoMpi;
  EXPECT_EQ(result->exit_code, 0) << result->out << result->err;
}

TEST(MpiComm, CollectivesOfDeviceTensors) {
  const std::optional<ProcessResult> result = run_ranks(3, "StagedCollectives");
  if (!result) GTEST_SKIP() << kNoMpi;
  EXPECT_EQ(result->exit_code, 0) << result->out << result->err;
}

TEST(MpiComm, AHangingRankEndsAllWithExitCode6) {
  const std::optional<ProcessResult> result = run_ranks(2, "OneHangs");
  if (!result) GTEST_SKIP() << kNoMpi;
  EXPECT_EQ(result->exit_code, 6) << result->out << result->err;
  EXPECT_NE(result->err.find("llm: rank 0 of 2: all-reduce at step 17 did not return within 1 s"),
            std::string::npos)
      << result->err;
  EXPECT_LT(result->seconds, 20);
}

TEST(MpiComm, AKilledRankEndsTheOthers) {
  const std::optional<ProcessResult> result = run_ranks(2, "OneIsKilled");
  if (!result) GTEST_SKIP() << kNoMpi;
  EXPECT_NE(result->exit_code, 0);
  EXPECT_LT(result->seconds, 20) << result->err;
}

TEST(MpiComm, ARankThatThrowsEndsTheOthers) {
  const std::optional<ProcessResult> result = run_ranks(2, "OneThrows");
  if (!result) GTEST_SKIP() << kNoMpi;
  EXPECT_EQ(result->exit_code, 4) << result->out << result->err;
  EXPECT_LT(result->seconds, 20) << result->err;
}

TEST(MpiComm, ProcessesThatDoNotSeeEachOtherAreRefused) {
  ProcessOptions options;
  options.environment = {"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=localhost", "MASTER_PORT=29500",
                         std::string(kRankProgram) + "=Nothing"};
  const ProcessResult result = test::run_process({this_program()}, options);
  if (result.out.find("this build has no MPI") != std::string::npos) GTEST_SKIP();
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE((result.out + result.err).find("each is alone"), std::string::npos) << result.out;
}

// --- On the ranks -------------------------------------------------------------------------------

// Different on each rank, with magnitudes that make float32 sums depend on the order of additions.
float contribution(int rank, int64_t i) {
  const double wave = std::sin(static_cast<double>(i * 7 + rank * 1001));
  return static_cast<float>(wave * std::pow(10.0, static_cast<double>((i + rank) % 9) - 4));
}

// The sum over the ranks in double precision, in their order, rounded once.
float expected_sum(int ranks, int64_t i) {
  double sum = 0;
  for (int rank = 0; rank < ranks; ++rank) sum += static_cast<double>(contribution(rank, i));
  return static_cast<float>(sum);
}

class Device {
 public:
  Device(Backend& backend, const Tensor& host)
      : backend_(backend), memory_(backend.allocate(host.bytes(), "test")), tensor_(host) {
    tensor_.data = memory_->data();
    backend.copy_to_device(tensor_, host.data);
  }
  Tensor tensor() const { return tensor_; }
  template <typename T>
  std::vector<T> values() const {
    std::vector<T> result(static_cast<size_t>(tensor_.size()));
    backend_.copy_to_host(result.data(), tensor_);
    return result;
  }

 private:
  Backend& backend_;
  std::unique_ptr<DeviceMemory> memory_;
  Tensor tensor_;
};

void check_sums(Backend& backend, Comm& comm, int64_t count) {
  SCOPED_TRACE(count);
  std::vector<float> mine(count), expected(count);
  for (int64_t i = 0; i < count; ++i) {
    mine[i] = contribution(comm.rank(), i);
    expected[i] = expected_sum(comm.ranks(), i);
  }
  const Device x(backend, Tensor(mine.data(), DType::f32, {count}));
  comm.all_reduce(x.tensor(), Reduce::sum);
  EXPECT_EQ(x.values<float>(), expected);  // the same bits on every rank
}

void check_extremes(Backend& backend, Comm& comm) {
  const int ranks = comm.ranks();
  std::vector<int64_t> large = {comm.rank(), -comm.rank(), int64_t{1} << 40};
  const Device x(backend, Tensor(large.data(), DType::i64, {3}));
  comm.all_reduce(x.tensor(), Reduce::max);
  EXPECT_EQ(x.values<int64_t>(), (std::vector<int64_t>{ranks - 1, 0, int64_t{1} << 40}));

  std::vector<int32_t> small = {comm.rank() + 5, comm.rank() == ranks - 1 ? -9 : 9};
  const Device y(backend, Tensor(small.data(), DType::i32, {2}));
  comm.all_reduce(y.tensor(), Reduce::min);
  EXPECT_EQ(y.values<int32_t>(), (std::vector<int32_t>{5, -9}));

  // A NaN is seen by everyone, whoever has it.
  for (int owner = 0; owner < ranks; ++owner) {
    const double value = comm.rank() == owner ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    for (const Reduce reduce : {Reduce::sum, Reduce::max, Reduce::min}) {
      EXPECT_TRUE(std::isnan(comm.all_reduce(value, reduce))) << owner;
    }
  }
  EXPECT_EQ(comm.all_reduce(int64_t{comm.rank() + 1}, Reduce::sum), ranks * (ranks + 1) / 2);
  EXPECT_EQ(comm.all_reduce(0.5, Reduce::sum), 0.5 * ranks);
}

void check_parts(Backend& backend, Comm& comm, int64_t part) {
  SCOPED_TRACE(part);
  const int64_t whole = part * comm.ranks();
  std::vector<float> mine(whole), own(part, NAN), expected(whole);
  for (int64_t i = 0; i < whole; ++i) {
    mine[i] = contribution(comm.rank(), i);
    expected[i] = expected_sum(comm.ranks(), i);
  }
  const Device x(backend, Tensor(mine.data(), DType::f32, {whole}));
  const Device y(backend, Tensor(own.data(), DType::f32, {part}));
  comm.reduce_scatter(y.tensor(), x.tensor());
  const auto from = expected.begin() + part * comm.rank();
  EXPECT_EQ(y.values<float>(), std::vector<float>(from, from + part));
  comm.all_gather(x.tensor(), y.tensor());
  EXPECT_EQ(x.values<float>(), expected);

  // In place: y is its own part of x.
  comm.all_gather(x.tensor(), x.tensor().slice(0, part * comm.rank(), part));
  EXPECT_EQ(x.values<float>(), expected);
}

void check_broadcast(Backend& backend, Comm& comm, int64_t count) {
  for (int root = 0; root < comm.ranks(); ++root) {
    std::vector<uint16_t> values(count), expected(count);
    for (int64_t i = 0; i < count; ++i) {
      expected[i] = static_cast<uint16_t>(i * 31 + root);
      values[i] = comm.rank() == root ? expected[i] : 0xffff;
    }
    const Device x(backend, Tensor(values.data(), DType::bf16, {count}));
    comm.broadcast(x.tensor(), root);
    EXPECT_EQ(x.values<uint16_t>(), expected);
  }
}

void check_all(Backend& backend, Comm& comm) {
  // Around the limits of one message, of a piece, and of parts of uneven size.
  for (const int64_t count : {1, 7, 4096, 4097, 1 << 20, (1 << 20) + 1, 2'500'001}) {
    check_sums(backend, comm, count);
  }
  check_extremes(backend, comm);
  for (const int64_t part : {1, 1000, 1'500'001}) check_parts(backend, comm, part);
  for (const int64_t count : {1, 5'000'001}) check_broadcast(backend, comm, count);
  comm.barrier();
}

void nothing() {
  const std::unique_ptr<Backend> backend = test::make_memory_backend(true);
  const std::unique_ptr<Comm> comm = make_mpi_comm(*backend, 30);
  comm->barrier();
}

void collectives() {
  const std::unique_ptr<Backend> backend = test::make_memory_backend(true);
  const std::unique_ptr<Comm> comm = make_mpi_comm(*backend, 30);
  ASSERT_GE(comm->ranks(), 2);
  check_all(*backend, *comm);
}

void staged_collectives() {
  const std::unique_ptr<Backend> backend = test::make_memory_backend(false);
  const std::unique_ptr<Comm> comm = make_mpi_comm(*backend, 30);
  ASSERT_GE(comm->ranks(), 2);
  check_all(*backend, *comm);
}

// What is started beside other work is there after join(), and the work in between is not
// disturbed.
void check_started(Backend& backend, Comm& comm) {
  constexpr int64_t kCount = 3'000'001;
  std::vector<float> mine(kCount), expected(kCount), ones(kCount, 1);
  for (int64_t i = 0; i < kCount; ++i) {
    mine[i] = contribution(comm.rank(), i);
    expected[i] = expected_sum(comm.ranks(), i);
  }
  const Device x(backend, Tensor(mine.data(), DType::f32, {kCount}));
  const Device y(backend, Tensor(ones.data(), DType::f32, {kCount}));
  comm.start_all_reduce(x.tensor(), Reduce::sum);
  for (int i = 0; i < 10; ++i) backend.add(y.tensor(), y.tensor(), y.tensor());
  comm.join();
  backend.add(x.tensor(), x.tensor(), x.tensor());  // queued behind the sum
  for (float& value : expected) value *= 2;
  EXPECT_EQ(x.values<float>(), expected);
  EXPECT_EQ(y.values<float>(), std::vector<float>(kCount, 1024));
}

void nccl_collectives() {
  const std::unique_ptr<Backend> gpu = test::make_gpu_backend(find_launcher().local_rank);
  ASSERT_NE(gpu, nullptr);
  const std::unique_ptr<Comm> comm = test::make_gpu_comm(*gpu);
  ASSERT_NE(comm, nullptr);
  ASSERT_EQ(comm->ranks(), 2);  // so that sums in f32 are exact to the last bit
  check_all(*gpu, *comm);
  check_started(*gpu, *comm);
}

void one_hangs() {
  const std::unique_ptr<Backend> backend = test::make_memory_backend(true);
  const std::unique_ptr<Comm> comm = make_mpi_comm(*backend, 1);
  comm->set_step(17);
  if (comm->rank() == 1) std::this_thread::sleep_for(std::chrono::hours(1));
  comm->all_reduce(int64_t{1}, Reduce::sum);
}

void one_is_killed() {
  const std::unique_ptr<Backend> backend = test::make_memory_backend(true);
  const std::unique_ptr<Comm> comm = make_mpi_comm(*backend, 5);
  comm->barrier();
  if (comm->rank() == 1) kill(getpid(), SIGKILL);
  comm->all_reduce(int64_t{1}, Reduce::sum);
}

void one_throws() {
  try {
    const std::unique_ptr<Backend> backend = test::make_memory_backend(true);
    const std::unique_ptr<Comm> comm = make_mpi_comm(*backend, 30);
    comm->barrier();
    if (comm->rank() == 1) fail_disk("checkpoint", "write failed", ENOSPC);
    comm->all_reduce(int64_t{1}, Reduce::sum);
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    std::fflush(stdout);
    std::_Exit(error.exit_code());
  }
}

class RankTest : public testing::Test {
 public:
  explicit RankTest(void (*program)()) : program_(program) {}
  void TestBody() override { program_(); }

 private:
  void (*program_)();
};

// The only test of this process is then the rank program of that name.
void register_rank_program(const std::string& name) {
  const std::map<std::string, void (*)()> programs = {
      {"Nothing", nothing},
      {"Collectives", collectives},
      {"StagedCollectives", staged_collectives},
      {"NcclCollectives", nccl_collectives},
      {"OneHangs", one_hangs},
      {"OneIsKilled", one_is_killed},
      {"OneThrows", one_throws},
  };
  testing::GTEST_FLAG(filter) = "RankProgram.*";
  testing::RegisterTest("RankProgram", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                        [program = programs.at(name)] { return new RankTest(program); });
}

}  // namespace
}  // namespace llm

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const char* name = std::getenv(llm::kRankProgram)) llm::register_rank_program(name);
  return RUN_ALL_TESTS();
}
