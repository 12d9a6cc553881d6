#!/usr/bin/env bash
# Fuzzes each parser with libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer (clang).
#   scripts/fuzz.sh [SECONDS [PARSER...]]      default: 60 seconds each, all of them
# What was found stays in build-fuzz/found/; new inputs are kept in build-fuzz/corpus/ for next time.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[[ $# -eq 0 ]] || shift
if ! command -v clang++ >/dev/null; then
  scripts/setup.sh --dev
fi
scripts/build.sh fuzz

parsers=("$@")
if [[ ${#parsers[@]} -eq 0 ]]; then
  for source in test/fuzz/fuzz_*.cpp; do
    name=$(basename "$source" .cpp)
    parsers+=("${name#fuzz_}")
  done
fi
mkdir -p build-fuzz/found
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=0}
fuzz_one() {
  local parser=$1
  local log=build-fuzz/found/$parser.log
  mkdir -p "build-fuzz/corpus/$parser"
  if build-fuzz/fuzz/fuzz_"$parser" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
    -print_final_stats=1 -artifact_prefix=build-fuzz/found/"$parser"- \
    "build-fuzz/corpus/$parser" "test/fuzz/corpus/$parser" >"$log" 2>&1; then
    echo "fuzz: $parser: clean, $(awk '/number_of_executed_units/ {print $2}' "$log") runs"
  else
    tail -n 40 "$log"
    echo "fuzz: $parser: FAILED, see $log"
    return 1
  fi
}
export -f fuzz_one
export seconds
printf '%s\0' "${parsers[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz_one "$0"'
