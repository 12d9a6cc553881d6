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
cmake --preset cpu -B build-lint -DLLM_TESTS=OFF >/dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# CHECKS FILE... : CHECKS are added to those of .clang-tidy.
check() {
  local checks=$1
  shift
  printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" "$tool" -p build-lint --quiet \
    --warnings-as-errors='*' --config-file=.clang-tidy --checks="$checks" >"$log" 2>&1 || {
    grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter|^$' "$log" >&2
    echo "lint: clang-tidy has complaints (above)" >&2
    exit 1
  }
}
if [[ $# -gt 0 ]]; then
  check '' "$@"
  echo "lint: $# files, no complaints"
  exit 0
fi
mapfile -t files < <(git ls-files 'llm.cpp' 'src/*.cpp' 'cpu_ref/*.cpp')
mapfile -t together < <(find build-lint/CMakeFiles -path '*/llm_*' -name 'unity_*.cxx')
check '-bugprone-suspicious-include' "${together[@]}" llm.cpp cpu_ref/*.cpp
check '-*,misc-unused-using-decls' "${files[@]}"
echo "lint: ${#files[@]} files, no complaints"
