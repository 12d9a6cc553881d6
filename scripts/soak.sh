#!/usr/bin/env bash
# The long tests: hundreds of kills while checkpoints are written, and minutes of fuzzing per parser.
#   scripts/soak.sh [SECONDS_PER_PARSER]       default: 300
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh default
LLM_SOAK=1 ctest --test-dir build --output-on-failure --label-regex slow --timeout 7200
scripts/sanitize.sh
scripts/fuzz.sh "${1:-300}"
