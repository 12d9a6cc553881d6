#!/usr/bin/env bash
# Installs what the build and the tests need and is not there yet (Debian, Ubuntu; elsewhere it only
# says what is needed). With everything in place it does nothing and prints nothing.
#   scripts/setup.sh          to build, test and run
#   scripts/setup.sh --dev    and to format, lint and fuzz
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config make
  libfmt-dev nlohmann-json3-dev libcli11-dev libpcre2-dev zlib1g-dev libopenblas-dev
  libcurl4-openssl-dev ca-certificates
  libopenmpi-dev openmpi-bin libgtest-dev)
options=(--no-install-recommends)
if [[ "${1:-}" == --dev ]]; then
  packages+=(clang libclang-rt-dev clang-format-14 clang-tidy)
  options=()
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here; if the build misses something, these are its packages on Debian:" >&2
  echo "  ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ "$status" == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: these packages are missing, and there is neither root nor sudo to install them:" >&2
    echo "  ${missing[*]}" >&2
    echo "Ask your administrator for: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "setup: installing${as_root[*]:+ with sudo}: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  # On a machine that has just started, its own updates may hold the lock for minutes.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    -o DPkg::Lock::Timeout=600 "$@" >>"$log" 2>&1
}
# Old lists may name versions that are gone; lists that cannot be fetched may still do.
apt update || echo "setup: apt-get update failed, trying with the lists that are there" >&2
if ! apt install "${options[@]}" "${missing[@]}"; then
  tail -n 20 "$log" >&2
  echo "setup: apt-get install failed (its last lines are above)" >&2
  exit 1
fi
