#!/usr/bin/env bash
# clang-tidy (.clang-tidy) over the sources, or over those that are named. Each warning is an error.
#   scripts/lint.sh [FILE...]
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v clang-tidy-14 || command -v clang-tidy || true)
if [[ -z "$tool" ]]; then
  echo "lint: no clang-tidy here; scripts/setup.sh --dev installs it" >&2
  exit 1
fi
[[ -f build/compile_commands.json ]] || cmake --preset default >/dev/null
files=("$@")
if [[ ${#files[@]} -eq 0 ]]; then
  mapfile -t files < <(git ls-files 'llm.cpp' 'src/*.cpp' 'cpu_ref/*.cpp')
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$(nproc)" "$tool" -p build --quiet --warnings-as-errors='*' >"$log" 2>&1; then
  grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter|^$' "$log" >&2
  echo "lint: clang-tidy has complaints (above)" >&2
  exit 1
fi
echo "lint: ${#files[@]} files, no complaints"
