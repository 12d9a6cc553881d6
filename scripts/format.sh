#!/usr/bin/env bash
# Formats all sources (clang-format 14, .clang-format), or with --check only says what differs.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v clang-format-14 || command -v clang-format || true)
if [[ -z "$tool" ]]; then
  echo "format: no clang-format here; scripts/setup.sh --dev installs it" >&2
  exit 1
fi
version=$("$tool" --version | grep -oE 'version [0-9]+' | grep -oE '[0-9]+')
if [[ "$version" != 14 ]]; then
  echo "format: clang-format 14 is the one that decides; this is $version" >&2
fi
mode=(-i)
[[ "${1:-}" != --check ]] || mode=(--dry-run -Werror)
git ls-files -z '*.h' '*.cpp' '*.cc' '*.cu' '*.cuh' | xargs -0 "$tool" "${mode[@]}"
