#!/usr/bin/env bash
# Runs a set of the CUDA kernels' tests on nvcc's own PTX (make ptx: all of them, and the counts):
# every kind of kernel in both types, every access checked. Without nvcc one line says so.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
bash .ci/setup.sh test
if ! PYTHONPATH=tests/support "$VENV/bin/python" -c '
import sys
from ptx_build import find_nvcc
sys.exit(find_nvcc() is None)'; then
  echo "no nvcc here: the compiled PTX is not run"
  exit 0
fi
pick="softplus or gelu or sample_counts or sparse_layers or shared_among_blocks or squares"
pick="$pick or registers or adam or nesterov or few_networks or divergence or wide_masked or clipped or every_loss"
pick="$pick or test_results or samples_in_chunks or more_vectors or hessians_of_more"
pick="$pick or narrow_and_wide or shuffles_in_shared or autograds or one_block or idle"
export EDT_KERNELS=ptx
"$VENV/bin/python" -m pytest tests/cuda/test_ptx_machine.py
"$VENV/bin/python" -m pytest tests/cuda/test_ops.py tests/cuda/test_training.py tests/cuda/test_pairs.py \
  tests/cuda/test_wide.py tests/cuda/test_tensor_cores.py tests/cuda/test_chains.py -k "$pick"
