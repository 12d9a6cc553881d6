// Which of how many processes this one is, as the environment tells that mpirun, srun or torchrun
// made.
#pragma once

#include <cstdint>
#include <string>

namespace llm {

struct Launcher {
  // mpi: the processes find each other through the MPI library. sockets: through a connection to
  // the first of them.
  enum class Meeting { alone, mpi, sockets };
  Meeting meeting = Meeting::alone;
  int rank = 0, ranks = 1;
  int local_rank = 0;        // among the processes of this machine
  std::string address = {};  // for sockets: where rank 0 listens
  int port = 0;
  uint64_t key = 0;  // the same in all processes of one run: strangers are turned away
};

// Open MPI: OMPI_COMM_WORLD_*. torchrun: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT
// (rank 0 listens at the port behind it, which is not torchrun's own). srun: SLURM_*, with
// MASTER_ADDR and MASTER_PORT if they are given; otherwise the first node, at a port made of the
// job's number. MPICH and Intel MPI: PMI_*. Throws Error{usage} for values that make no sense.
Launcher find_launcher();

// The GPU for this process on a machine where it can use `gpus` of them: that of its local rank;
// the only one where each process is shown its own. Throws Error{usage} if there are too few.
int gpu_of_process(const Launcher& launcher, int gpus);

// The first name of a list such as Slurm writes: "node[07-09,12],login1" gives "node07".
std::string first_node(const std::string& list);

}  // namespace llm
