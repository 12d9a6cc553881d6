#!/usr/bin/env bash
# Sets up, builds and runs every test that this machine can run. More arguments go to ctest, for
# example: scripts/test.sh -L unit     scripts/test.sh -R tokenizer
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh default
log=build/test_output.txt
status=0
ctest --test-dir build --parallel "$(nproc)" --output-on-failure "$@" 2>&1 | tee "$log" || status=$?
# ctest lists what was skipped after its result; the result is repeated as the last line.
echo
grep -E 'tests passed|No tests were found' "$log" | tail -n 1 || true
exit "$status"
