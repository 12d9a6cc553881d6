#!/usr/bin/env bash
# The unit tests under AddressSanitizer and UndefinedBehaviorSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh asan
ctest --test-dir build-asan --parallel "$(nproc)" --output-on-failure -L unit
