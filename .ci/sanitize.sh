#!/usr/bin/env bash
# Builds the core with AddressSanitizer and UndefinedBehaviorSanitizer and runs the kernel tests on
# every instruction set of this machine, and those of the CUDA kernels over their shim. Argument:
# number of random cases (default 40).
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
bash .ci/setup.sh "${EXTRAS:-test}"
export PATH="$PWD/$VENV/bin:$PATH"
build=build/sanitize
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DEDT_SANITIZE=ON \
  -DPython_EXECUTABLE="$PWD/$VENV/bin/python" \
  -Dpybind11_DIR="$("$VENV/bin/python" -m pybind11 --cmakedir)" >/dev/null
cmake --build "$build" --target kernel_tests cuda_shim_tests
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
"$build/kernel_tests" "${1:-40}"
"$build/cuda_shim_tests" "${1:-40}"
