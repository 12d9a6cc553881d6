#!/usr/bin/env bash
# 200 times kill -9 at random moments of a run that saves a checkpoint every step, each followed by a
# resume; then a death at every single file operation of a save. Prints a summary.
#   scripts/soak_kills.sh [BUILD_FOLDER]       default: build
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
if [ ! -x "$build/test/slow_tests" ]; then
  scripts/build.sh default
  build=build
fi
LLM_SOAK=1 "$build/test/slow_tests" --gtest_filter='SlowKillsTest.*'
