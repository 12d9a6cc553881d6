#!/usr/bin/env bash
# Starts a program as N processes on this machine, with the cores shared out among them.
#   scripts/launch_mpi.sh N PROGRAM [ARGUMENT...]
#   scripts/launch_mpi.sh 2 build/llm pretrain --data data -o run
set -euo pipefail
if [[ $# -lt 2 || ! "$1" =~ ^[1-9][0-9]*$ ]]; then
  sed -n '2,4s/^# \?//p' "$0" >&2
  exit 2
fi
processes=$1
shift
cores=$(nproc)
# In a container one is root, and Open MPI asks twice. Its fastest copies between processes need a
# system call that containers forbid.
if [[ $(id -u) -eq 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
# Without --bind-to none each process would be held to one core, threads or not.
exec mpirun -np "$processes" --oversubscribe --bind-to none -x OMP_NUM_THREADS "$@"
