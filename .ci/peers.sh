#!/usr/bin/env bash
# Gives the tests the curvature libraries that they compare with (requirements/peers.lock). Without them
# those tests are skipped; a line says so.
#
# Without what these ask for: torchvision, of which none is used, would bring a torch of its own.
set -uo pipefail
cd "$(dirname "$0")/.."
python="${VENV:-.venv}/bin/python"
has() { "$python" -W ignore -c 'import curvlinops, hessian_eigenthings, pyhessian' 2>/dev/null; }
has || "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
  -r requirements/peers.lock
if has; then
  echo "curvature is compared with curvlinops, hessian-eigenthings and PyHessian"
else
  echo "no curvlinops, hessian-eigenthings or PyHessian: curvature is not compared with them"
fi
