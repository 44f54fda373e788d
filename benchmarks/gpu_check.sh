#!/usr/bin/env bash
# Everything that needs a GPU, in under nine minutes on a bare machine. A step that fails or runs out
# of its time is recorded and does not stop the others, and each is a process of its own, because an
# error of a kernel ends all later work of its process; the exit code is the number of steps that
# failed. Needs no network. What is worth most comes first, so that a run cut short keeps it:
#
#   step                     at most, s
#   build (this card alone)         120
#   kernels run at all               40
#   doctor                           15
#   figures: edt                     75
#   figures: fast peers              85
#   tests: card, ops, training,      95  together, 40 each at most
#          curvature, flow
#   figures: slow peers              70  they compile first
#   sanitizers, edt's kernels        what is left, 12 each at most
#
# PYTHON            interpreter with torch (CUDA build) and what edt needs (default python3)
# EDT_GPU_OUT       folder for the results (default benchmarks/results/gpu-check): summary.json, the
#                   figures, their table and plot, and logs.tar.gz, which is kept up to date
# EDT_GPU_SECONDS   for all of it (default 520); the steps' times shrink with it
# EDT_GPU_PREBUILT  1: the core is built already
# EDT_COMMIT        the commit, where the sources came without their repository
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
out=${EDT_GPU_OUT:-benchmarks/results/gpu-check}
limit=${EDT_GPU_SECONDS:-520}
started=$SECONDS
failed=0
rows=()
mkdir -p "$out"
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
# Every card can be asked, and none is kept by a process for itself.
export XLA_PYTHON_CLIENT_PREALLOCATE=false

left() { echo $((limit - (SECONDS - started))); }
share() { echo $(($1 * limit / 520)); }

# step NAME SECONDS COMMAND...: runs it within its time and what is left of the whole.
step() {
  local name=$1 most code begin=$SECONDS
  most=$(share "$2")
  shift 2
  [ "$(left)" -lt "$most" ] && most=$(left)
  if [ "$most" -lt 2 ]; then
    code=-1
    echo "== $name: no time left" | tee "$logs/$name.log"
  else
    echo "== $name"
    timeout -k 3 "$most" "$@" >"$logs/$name.log" 2>&1
    code=$?
    [ "$code" -eq 124 ] && echo "stopped after $most s" >>"$logs/$name.log"
    grep -E '^(FAILED|ERROR) ' "$logs/$name.log" | head -n 20
    tail -n 3 "$logs/$name.log"
    echo "== $name: exit code $code, $((SECONDS - begin)) s"
  fi
  [ "$code" -eq 0 ] || failed=$((failed + 1))
  rows+=("{\"step\": \"$name\", \"exit_code\": $code, \"seconds\": $((SECONDS - begin))}")
  keep
  return "$code"
}

skip() {
  echo "== $1: skipped: $2"
  rows+=("{\"step\": \"$1\", \"skipped\": \"$2\"}")
  keep
}

# What there is so far, in few files.
keep() {
  (IFS=,; printf '{"place": %s, "seconds": %d, "steps": [%s]}\n' "${place:-null}" \
    $((SECONDS - started)) "${rows[*]}") >"$out/summary.json"
  tar -czf "$out/logs.new" -C "$logs" . && mv "$out/logs.new" "$out/logs.tar.gz"
}

nvidia-smi >"$logs/nvidia-smi.log" 2>&1 || { echo "no GPU here: nvidia-smi says"; tail -n 3 "$logs/nvidia-smi.log"; exit 1; }

# What is here, and what is missing for which steps.
place=$("$PYTHON" - <<'PY'
import importlib.metadata as installed
import importlib.util
import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone

NEEDS = {
    "build": ("setuptools", "cmake", "ninja", "pybind11"),
    "tests": ("torch", "numpy", "scipy", "pandas", "pyarrow", "xarray", "safetensors", "rich",
              "typer", "sklearn", "matplotlib", "pytest", "hypothesis"),
    "benchmarks": ("matplotlib", "jax"),
}


def there(name):
    return importlib.util.find_spec(name) is not None


def version(name):
    try:
        return installed.version(name)
    except installed.PackageNotFoundError:
        return None


def output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired):
        return None


missing = {step: [n for n in names if not there(n)] for step, names in NEEDS.items()}
for step, names in missing.items():
    if names:
        print(f"missing for {step}: {', '.join(names)}", file=sys.stderr)
card = output("nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
print(json.dumps({
    "gpu": card.splitlines()[0] if card else None,
    "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    "commit": os.environ.get("EDT_COMMIT") or output("git", "rev-parse", "HEAD"),
    "python": platform.python_version(),
    "versions": {name: version(name) for name in ("torch", "jax", "numpy", "pytest", "pybind11")},
    "missing": {step: names for step, names in missing.items() if names},
    "xdist": there("xdist"),
}))
PY
) || { echo "$PYTHON does not run"; exit 1; }
echo "$place"
keep

finish() {
  keep
  echo "in $out: $(cd "$out" && ls | tr '\n' ' ')"
  exit "$failed"
}

export EDT_CUDA=1 EDT_CUDA_ARCHS=${EDT_CUDA_ARCHS:-native} EDT_ISAS=${EDT_ISAS:-native}
if [ "${EDT_GPU_PREBUILT:-0}" = 1 ]; then
  skip build "EDT_GPU_PREBUILT=1"
else
  step build 120 "$PYTHON" setup.py build_ext --inplace
fi
# Whether the kernels run at all: nothing else is worth its time if not.
step kernels 40 "$PYTHON" -c '
import torch, edt
from edt.ops import cuda
assert cuda.usable(), cuda.unusable()
ens = edt.Ensemble.init(widths=[3, 40], seeds=[0], d_in=2, d_out=1)
x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None].repeat(1, 2)
task = edt.Task(x, x[:, :1].sin())
here, there = edt.loss(ens, task), edt.loss(ens.to(device="cuda"), task.to(device="cuda"))
torch.testing.assert_close(there.cpu(), here, rtol=1e-11, atol=0)
print("kernels run, losses agree with the CPU:", there.tolist())
'
runs=$?
step doctor 15 "$PYTHON" -m edt doctor --json
[ "$runs" -eq 0 ] || { echo "the kernels do not run: tests and benchmarks are left out"; finish; }

figures() { step "figures-$1" "$2" "$PYTHON" -m benchmarks.gpu --turn "$1" --seconds $(($(share "$2") - 4)) --out "$out"; }
figures edt 75
figures fast 85

workers=()
case "$place" in *'"xdist": true'*) workers=(-n 8) ;; esac
tests_end=$((SECONDS - started + $(share 95)))
for group in cuda/test_on_gpu.py cuda/test_training.py cuda/test_chains.py ops training curvature flow; do
  name=tests-$(basename "$group" .py)
  [ $((SECONDS - started)) -lt "$tests_end" ] || { skip "$name" "out of the tests' time"; continue; }
  step "$name" 40 "$PYTHON" -m pytest ${workers[@]+"${workers[@]}"} "tests/$group" \
    -k "cuda and not shim" --durations=5 --junitxml="$logs/$name.xml"
done
figures slow 70

# Without torch's cache every tensor is an allocation of its own, so that reads past its end show.
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
for tool in memcheck racecheck initcheck synccheck; do
  if [ -x "$sanitizer" ]; then
    step "$tool" 12 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$sanitizer" --tool "$tool" \
      --kernel-name kernel_substring=edt --error-exitcode 9 \
      "$PYTHON" -m pytest -p no:cacheprovider tests/cuda/test_on_gpu.py -k "ops_agree and loss_and_grad"
  else
    skip "$tool" "no compute-sanitizer here"
  fi
done
finish
