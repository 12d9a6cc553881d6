#!/usr/bin/env bash
# Builds with one of the presets of CMakePresets.json, installing what is missing first.
#   scripts/build.sh [PRESET [TARGET...]]     default: default, all targets
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-default}
[[ $# -eq 0 ]] || shift

scripts/setup.sh
if [[ "$preset" == cuda ]] || { [[ "$preset" == default ]] && nvidia-smi >/dev/null 2>&1; }; then
  scripts/setup_cuda.sh
fi
folder=build
[[ "$preset" == default ]] || folder=build-$preset
if [[ ! -f $folder/build.ninja ]]; then
  cmake --preset "$preset"
fi

# A compiler may take more than a gigabyte: no more of them than fit.
cores=$(nproc)
free_megabytes=$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)
jobs=$((free_megabytes / 1500))
jobs=$((jobs < 1 ? 1 : jobs > cores ? cores : jobs))
targets=()
[[ $# -eq 0 ]] || targets=(--target "$@")
cmake --build "$folder" --parallel "$jobs" "${targets[@]}"
