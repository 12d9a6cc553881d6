#!/usr/bin/env bash
# Runs every op at small shapes under the tools of compute-sanitizer on the GPU, several ops at a
# time, and fails if there is a report. cuDNN is left out: it is not ours to mend.
#   scripts/sanitize_gpu.sh [TOOL...]      default: memcheck racecheck initcheck synccheck
# LLM: the program [build/llm]. LIMIT: seconds for each op and tool [1200]. Logs: build/sanitize_gpu/
set -euo pipefail
cd "$(dirname "$0")/.."
llm=${LLM:-build/llm}
logs=build/sanitize_gpu
export llm logs LIMIT=${LIMIT:-1200}
mkdir -p "$logs"

one() {
  local log="$logs/$1.$2.log" status=0
  timeout "$LIMIT" compute-sanitizer --tool "$1" --error-exitcode 99 --print-limit 10 \
    "$llm" check "$2" --quick --repeats 2 --attention own --device cuda >"$log" 2>&1 || status=$?
  case $status in
    0) echo "$1 $2: no report" ;;
    124) echo "$1 $2: not finished in $LIMIT s" ;;
    *) echo "$1 $2: exit code $status, see $log" ;;
  esac
  return $((status != 0))
}
export -f one

# Attention first: it takes longest.
ops=$("$llm" check --quick --repeats 1 --device cpu --json | tail -1 |
  python3 -c 'import json, sys
ops = {o["op"] for o in json.load(sys.stdin)["ops"]}
print(*sorted(ops, key=lambda op: (not op.startswith("attention"), op)))')
for op in $ops; do
  for tool in ${*:-memcheck racecheck initcheck synccheck}; do echo "$tool $op"; done
done | xargs -P "$(nproc)" -L 1 bash -c 'one "$0" "$1"'
