// What the environment says about the processes of a run.
#include <gtest/gtest.h>

#include <cstdlib>
#include <initializer_list>
#include <utility>

#include "backend/launcher.h"
#include "base/error.h"

namespace llm {
namespace {

using Meeting = Launcher::Meeting;
using Variables = std::initializer_list<std::pair<const char*, const char*>>;

// Finds the launcher where just these environment variables are set.
Launcher launcher_of(Variables variables) {
  for (const char* name :
       {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "RANK",
        "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_STEP_NUM_TASKS",
        "SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NUM_NODES",
        "SLURM_STEP_NODELIST", "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", "TORCHELASTIC_RUN_ID"}) {
    unsetenv(name);
  }
  for (const auto& [name, value] : variables) setenv(name, value, 1);
  return find_launcher();
}

TEST(Launcher, OneProcess) {
  for (const Variables& variables : {Variables{},
                                     {{"WORLD_SIZE", "1"}, {"RANK", "0"}},
                                     {{"OMPI_COMM_WORLD_SIZE", "1"}},
                                     {{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}},
                                     {{"WORLD_SIZE", "2"}}}) {
    const Launcher launcher = launcher_of(variables);
    EXPECT_EQ(launcher.meeting, Meeting::alone);
    EXPECT_EQ(launcher.rank, 0);
    EXPECT_EQ(launcher.ranks, 1);
  }
}

TEST(Launcher, OpenMpi) {
  const Launcher launcher = launcher_of({{"OMPI_COMM_WORLD_SIZE", "8"},
                                         {"OMPI_COMM_WORLD_RANK", "5"},
                                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  EXPECT_EQ(launcher.meeting, Meeting::mpi);
  EXPECT_EQ(launcher.rank, 5);
  EXPECT_EQ(launcher.ranks, 8);
  EXPECT_EQ(launcher.local_rank, 1);
}

TEST(Launcher, Torchrun) {
  const Launcher launcher = launcher_of({{"RANK", "3"},
                                         {"WORLD_SIZE", "4"},
                                         {"LOCAL_RANK", "1"},
                                         {"MASTER_ADDR", "node0"},
                                         {"MASTER_PORT", "29500"}});
  EXPECT_EQ(launcher.meeting, Meeting::sockets);
  EXPECT_EQ(launcher.rank, 3);
  EXPECT_EQ(launcher.ranks, 4);
  EXPECT_EQ(launcher.local_rank, 1);
  EXPECT_EQ(launcher.address, "node0");
  EXPECT_EQ(launcher.port, 29501);
}

TEST(Launcher, Slurm) {
  const Launcher one = launcher_of({{"SLURM_STEP_NUM_TASKS", "4"},
                                    {"SLURM_PROCID", "2"},
                                    {"SLURM_LOCALID", "2"},
                                    {"SLURM_STEP_NUM_NODES", "1"},
                                    {"SLURM_STEP_NODELIST", "node7"},
                                    {"SLURM_JOB_ID", "123456"},
                                    {"SLURM_STEP_ID", "0"}});
  EXPECT_EQ(one.meeting, Meeting::sockets);
  EXPECT_EQ(one.rank, 2);
  EXPECT_EQ(one.local_rank, 2);
  EXPECT_EQ(one.address, "127.0.0.1");
  EXPECT_GE(one.port, 20000);
  EXPECT_LT(one.port, 32000);

  const Launcher many = launcher_of({{"SLURM_STEP_NUM_TASKS", "4"},
                                     {"SLURM_PROCID", "2"},
                                     {"SLURM_LOCALID", "0"},
                                     {"SLURM_STEP_NUM_NODES", "2"},
                                     {"SLURM_STEP_NODELIST", "node[7-8]"},
                                     {"SLURM_JOB_ID", "123456"},
                                     {"SLURM_STEP_ID", "1"}});
  EXPECT_EQ(many.address, "node7");
  EXPECT_EQ(many.local_rank, 0);
  EXPECT_NE(many.port, one.port);
  EXPECT_NE(many.key, one.key);
}

TEST(Launcher, RefusesNonsense) {
  for (const Variables& variables :
       {Variables{{"OMPI_COMM_WORLD_SIZE", "many"}},
        {{"OMPI_COMM_WORLD_SIZE", "2"}},
        {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "2"}},
        {{"RANK", "-1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1000"}},
        {{"RANK", "0"}, {"WORLD_SIZE", "2"}},
        {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "65535"}},
        {{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "0"}}}) {
    EXPECT_THROW(launcher_of(variables), Error);
  }
}

TEST(Launcher, GpuOfProcess) {
  Launcher launcher;
  launcher.ranks = 8;
  launcher.local_rank = 3;
  EXPECT_EQ(gpu_of_process(launcher, 4), 3);
  EXPECT_EQ(gpu_of_process(launcher, 1), 0);  // each process is shown its own
  EXPECT_THROW(gpu_of_process(launcher, 2), Error);
}

TEST(Launcher, FirstNode) {
  EXPECT_EQ(first_node("node7"), "node7");
  EXPECT_EQ(first_node("node7,node8"), "node7");
  EXPECT_EQ(first_node("node[7-9]"), "node7");
  EXPECT_EQ(first_node("node[007-009,012],login1"), "node007");
  EXPECT_EQ(first_node("node[3,5]"), "node3");
  EXPECT_EQ(first_node("rack[1-2]node[03-04]-ib"), "rack1node03-ib");
  EXPECT_EQ(first_node("login1,node[7-9]"), "login1");
  EXPECT_EQ(first_node("node[7"), "node");
  EXPECT_EQ(first_node(""), "");
}

}  // namespace
}  // namespace llm
