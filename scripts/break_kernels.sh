#!/usr/bin/env bash
# Shows that `llm check` sees broken kernels: builds a copy of the program with one small mistake in
# each of several kernels, and runs it on the GPU. `check` has to fail (exit code 7) for the ops of
# those kernels and for no other.
#   scripts/break_kernels.sh          builds and checks; needs a GPU
#   scripts/break_kernels.sh build    only builds build-broken/build/llm; further arguments go to CMake
#   scripts/break_kernels.sh check    only checks, with LLM or build-broken/build/llm
set -euo pipefail
cd "$(dirname "$0")/.."
copy=build-broken/source

# break FILE 'what stands there' 'the mistake'
break_line() {
  BEFORE=$2 AFTER=$3 perl -0pi -e \
    's/\Q$ENV{BEFORE}\E/$ENV{AFTER}/ or die "$ARGV: nothing to break any more\n"' "$copy/$1"
}

build() {
  rm -rf "$copy"
  mkdir -p "$copy"
  git ls-files -z | xargs -0 cp --parents -t "$copy"
  if [ -d .deps ]; then cp -r .deps "$copy"; fi
  # The variance counts the padding behind a row.
  break_line cuda/layernorm_forward.cu 'total += has(i, channels) ? part : 0;' 'total += part;'
  # A constant in the derivative of GELU is off in the fourth digit.
  break_line cuda/gelu.cu 'kCubic = 0.044715f' 'kCubic = 0.044765f'
  # A target that is to be ignored leaves a gradient.
  break_line cuda/cross_entropy.cu 'ignored ? FullPacket<T>{} : gradient' 'gradient'
  # A token that crosses the border of a tile loses the rows before it.
  break_line cuda/embedding.cu 'if (warp == 0) sum.add(' 'if (warp > kWarps) sum.add('
  # Some queries see keys behind the end.
  break_line cuda/attention_mma_forward.cu 'if (key + kKeys > all_end)' \
    'if (key + kKeys > all_end + 16)'
  # The second moment is corrected by the factor of the first.
  break_line cuda/optimizer.cu '? rates.beta1 : rates.beta2;' '? rates.beta1 : rates.beta1;'
  cmake -S "$copy" -B build-broken/build -G Ninja -DCMAKE_BUILD_TYPE=Release -DLLM_CUDA=on "$@"
  cmake --build build-broken/build --target llm
}
broken="adamw_update attention_forward cross_entropy_backward cross_entropy_forward_backward \
embedding_backward gelu_backward layernorm_forward linear_backward_gelu \
residual_layernorm_forward"

check() {
  local status=0 failed
  "${LLM:-build-broken/build/llm}" check --quick --device cuda --json >build-broken/check.txt 2>&1 ||
    status=$?
  grep FAILED build-broken/check.txt || true
  failed=$(grep FAILED build-broken/check.txt | awk '{print $1}' | sort -u | xargs)
  echo "exit code $status (7 is right)"
  echo "failed: $failed"
  echo "broken: $broken"
  [ "$status" = 7 ] && [ "$failed" = "$(echo $broken | xargs)" ]
}

case ${1:-all} in
  build) shift && build "$@" ;;
  check) check ;;
  all) build && check ;;
  *) sed -n 2,8p "$0" && exit 2 ;;
esac
