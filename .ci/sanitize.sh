#!/usr/bin/env bash
# Builds the core with AddressSanitizer and UndefinedBehaviorSanitizer and runs the kernel tests, and
# those of the CUDA kernels over their shim; then with ThreadSanitizer, and runs a few of them and
# those with many callers at once. Argument: number of random cases (default 40).
#
# EDT_SANITIZE_ISAS  instruction sets (default native: the machine's best. All are made of one source, which
#                    differs in the length of vectors; instrumented it takes minutes to compile each.)
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
bash .ci/setup.sh "${EXTRAS:-test}"
export PATH="$PWD/$VENV/bin:$PATH"

# build FOLDER OPTION TARGET...
build() {
  cmake -S . -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=Debug "$2" -DEDT_ISAS="${EDT_SANITIZE_ISAS:-native}" \
    -DPython_EXECUTABLE="$PWD/$VENV/bin/python" \
    -Dpybind11_DIR="$("$VENV/bin/python" -m pybind11 --cmakedir)" >/dev/null
  cmake --build "$1" --target "${@:3}"
}

build build/sanitize -DEDT_SANITIZE=ON kernel_tests cuda_shim_tests
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
# Beside the next build: each of these keeps one core busy.
build/sanitize/kernel_tests "${1:-40}" &
kernels=$!
build/sanitize/cuda_shim_tests "${1:-40}" &
shim=$!
trap 'kill "$kernels" "$shim" 2>/dev/null || true' EXIT

build build/sanitize-thread -DEDT_SANITIZE_THREAD=ON kernel_tests race_tests
# A forked child starts workers of its own: allowed here because that is what is tested.
export TSAN_OPTIONS="halt_on_error=1 die_after_fork=0 second_deadlock_stack=1"
# With random addresses some kernels place memory where ThreadSanitizer wants its own.
fixed=$(command -v setarch >/dev/null && setarch -R true 2>/dev/null && echo "setarch -R" || true)
$fixed build/sanitize-thread/race_tests
$fixed build/sanitize-thread/kernel_tests 1
# The others' ends, by whose statuses this fails, too.
wait "$kernels"
wait "$shim"
