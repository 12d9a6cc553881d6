#!/usr/bin/env bash
# Fetches the headers with which the CUDA backend calls cuDNN's attention (the Python package
# nvidia-cudnn-frontend, of which only the C++ headers are used) into .deps/cudnn-frontend. Does
# nothing where there is no nvcc or no cudnn.h, or when it has been done. The build goes on without
# them: attention then runs on this program's own kernels.
#   scripts/setup_cuda.sh
set -euo pipefail
cd "$(dirname "$0")/.."
version=1.32.0
# The headers are the same in the wheels for all machines, so one wheel, whatever runs here.
hash=c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0
folder=.deps/cudnn-frontend

without() {
  echo "setup: $1; building without cuDNN" >&2
  exit 0
}

nvcc=$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null || true)
[[ -n "$nvcc" ]] || exit 0
[[ "$(cat $folder/version 2>/dev/null)" != "$version" ]] || exit 0
toolkit=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
there=no
for header in "$toolkit"/include/cudnn.h "$toolkit"/targets/*/include/cudnn.h \
  /usr/include/cudnn.h /usr/include/*/cudnn.h /usr/local/include/cudnn.h; do
  [[ ! -e "$header" ]] || there=yes
done
[[ $there == yes ]] ||
  without "no cudnn.h here (NVIDIA's package cudnn9-cuda-13 or cudnn9-cuda-12 has it)"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "setup: installing python3-pip" >&2
  apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
      -o DPkg::Lock::Timeout=600 "$@" >"$scratch/log" 2>&1
  }
  apt update || true
  apt install --no-install-recommends python3-pip ||
    without "python3-pip is missing and could not be installed ($(tail -n 1 "$scratch/log"))"
fi

echo "nvidia-cudnn-frontend==$version --hash=sha256:$hash" >"$scratch/wanted"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
  --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
  --platform manylinux_2_28_x86_64 --dest "$scratch" --requirement "$scratch/wanted" \
  2>"$scratch/log" || without "pip could not fetch nvidia-cudnn-frontend ($(tail -n 1 "$scratch/log"))"
python3 -m zipfile -e "$scratch"/nvidia_cudnn_frontend-*.whl "$scratch/wheel"
rm -rf "$folder"
mkdir -p "$folder"
mv "$scratch/wheel/include" "$folder/include"
find "$scratch/wheel" -name 'LICENSE*' -exec cp {} "$folder" \;
echo "$version" >"$folder/version"
