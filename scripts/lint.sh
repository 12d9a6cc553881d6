#!/usr/bin/env bash
# clang-tidy (.clang-tidy) over the sources, or over those that are named. Each warning is an error.
#   scripts/lint.sh [FILE...]
# Without names it reads the files of a room together, as full builds do, which takes an eighth of the
# time, and then each alone for no more than what it has to include itself.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v clang-tidy-14 || command -v clang-tidy || true)
if [[ -z "$tool" ]]; then
  echo "lint: no clang-tidy here; scripts/setup.sh --dev installs it" >&2
  exit 1
fi
cmake --preset cpu -B build-lint -DLLM_TESTS=OFF -DCMAKE_UNITY_BUILD=OFF >/dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# BUILD CHECKS FILE... : CHECKS are added to those of .clang-tidy.
check() {
  local build=$1 checks=$2
  shift 2
  printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" "$tool" -p "$build" --quiet \
    --warnings-as-errors='*' --config-file=.clang-tidy --checks="$checks" >"$log" 2>&1 || {
    grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter|^$' "$log" >&2
    echo "lint: clang-tidy has complaints (above)" >&2
    exit 1
  }
}
if [[ $# -gt 0 ]]; then
  check build-lint '' "$@"
  echo "lint: $# files, no complaints"
  exit 0
fi
mapfile -t of_rooms < <(git ls-files 'src/*.cpp')
mapfile -t others < <(git ls-files 'llm.cpp' 'cpu_ref/*.cpp')
rm -rf build-lint/together  # files of former builds would stay
cmake --preset cpu -B build-lint/together -DLLM_TESTS=OFF >/dev/null
mapfile -t together < <(find build-lint/together -name 'unity_*.cxx')
[[ ${#together[@]} -gt 0 ]] || { echo "lint: found no files to read together" >&2; exit 1; }
check build-lint/together '-bugprone-suspicious-include' "${together[@]}"
check build-lint '' "${others[@]}"
check build-lint '-*,misc-unused-using-decls' "${of_rooms[@]}"
echo "lint: $((${#of_rooms[@]} + ${#others[@]})) files, no complaints"
