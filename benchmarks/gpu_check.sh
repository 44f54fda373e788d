#!/usr/bin/env bash
# Everything that needs a GPU, in under nine minutes: build, CUDA tests, compute-sanitizer over a
# small set of them, benchmarks. Leaves logs, JSON, a table and a plot under benchmarks/results/.
# A step that fails is recorded and does not stop the others; the exit code is the number of them.
#
# PYTHON   interpreter with torch (CUDA build), pytest and hypothesis (default python3)
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
out=benchmarks/results/gpu-check
mkdir -p "$out"
started=$SECONDS
limit=520
failed=0
summary="$out/summary.json"
rows=()

# step NAME SECONDS COMMAND...: runs it within its time and what is left of the whole.
step() {
  local name=$1 most=$2 left=$((limit - (SECONDS - started))) code begin=$SECONDS
  shift 2
  [ "$left" -lt "$most" ] && most=$left
  if [ "$most" -lt 5 ]; then
    code=-1
    printf '== %s: no time left\n' "$name"
  else
    printf '== %s\n' "$name"
    timeout "$most" "$@" >"$out/$name.log" 2>&1
    code=$?
    tail -n 3 "$out/$name.log"
    printf '== %s: exit code %s, %s s\n' "$name" "$code" $((SECONDS - begin))
  fi
  [ "$code" -eq 0 ] || failed=$((failed + 1))
  rows+=("{\"step\": \"$name\", \"exit_code\": $code, \"seconds\": $((SECONDS - begin))}")
  (IFS=,; printf '{"steps": [%s]}\n' "${rows[*]}") >"$summary"
}

nvidia-smi >"$out/nvidia-smi.log" 2>&1 || { echo "no GPU here"; exit 1; }
export EDT_CUDA=1 EDT_CUDA_ARCHS=${EDT_CUDA_ARCHS:-native}
step build 240 "$PYTHON" setup.py build_ext --inplace
step doctor 30 "$PYTHON" -m edt doctor --json
step tests 150 "$PYTHON" -m pytest tests/cuda/test_on_gpu.py tests/cuda/test_training.py tests/ops \
  tests/training -k "cuda and not shim"
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
if [ -x "$sanitizer" ]; then
  for tool in memcheck racecheck initcheck synccheck; do
    step "$tool" 40 "$sanitizer" --tool "$tool" --error-exitcode 9 \
      "$PYTHON" -m pytest tests/cuda/test_on_gpu.py -k "agree and not jacobian"
  done
else
  echo "no compute-sanitizer here"
fi
left=$((limit - (SECONDS - started)))
step benchmarks "$left" "$PYTHON" -m benchmarks.gpu --seconds $((left - 30)) --out benchmarks/results
exit "$failed"
