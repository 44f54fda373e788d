#!/usr/bin/env bash
# For every version of Python that edt supports and this machine has: `pip install .` with build
# isolation, a wheel built without it, and most of the tests against that wheel, away from the sources.
#
#   bash .ci/pythons.sh            all of this: needs a network, ten minutes and, where torch brings
#                                  CUDA along, 5 GB in build/pythons for each version
#   bash .ci/pythons.sh --syntax   only whether every file compiles, a second each (part of .ci/run)
#
# PYTHONS   interpreters (default: python3.10 to python3.13 on the path, and pyenv's)
# TESTS     what to test (default: below)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
TESTS=${TESTS:-tests/test_bare.py tests/test_stub.py tests/test_stats.py tests/ensemble tests/ops \
  tests/training tests/curvature tests/objectives tests/studies tests/cli tests/runs \
  tests/show tests/interchange tests/tasks tests/estimators tests/processes}

found() {
  if [ -n "${PYTHONS:-}" ]; then printf '%s\n' $PYTHONS; return; fi
  for minor in 10 11 12 13; do
    for python in "$(command -v python3.$minor || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.$minor.*/bin/python; do
      # pyenv's shims stand on the path for versions that are not chosen.
      if [ -x "$python" ] && "$python" -c "import sys, venv; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
        printf '%s\n' "$python"
        break
      fi
    done
  done
}

syntax() {
  # Compiled beside nothing: the sources' own caches stay as they are.
  PYTHONPYCACHEPREFIX=$(mktemp -d) "$1" -m compileall -q edt tests benchmarks setup.py
  echo "every file compiles: $("$1" --version)"
}

everything() {
  local python=$1 version env here
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  env=$root/build/pythons/$version
  pip() { "$env/bin/python" -m pip --disable-pip-version-check "$@" --quiet; }
  [ -x "$env/bin/python" ] || "$python" -m venv "$env"
  "$env/bin/python" -c 'import torch' 2>/dev/null || pip install torch==2.13.0
  export EDT_CUDA=0
  pip install ".[test]"
  (cd "$env" && bin/edt doctor)
  pip install 'setuptools>=77' wheel 'cmake>=3.18' 'ninja>=1.10' 'pybind11>=2.12'
  rm -rf "$env/wheel"
  pip wheel --no-build-isolation --no-deps -w "$env/wheel" .
  pip install --force-reinstall --no-deps "$env"/wheel/edt-*.whl
  here=$env/here
  rm -rf "$here" && mkdir -p "$here"
  # What the tests look at, but not edt itself.
  cp -r tests benchmarks docs examples requirements csrc .ci pyproject.toml README.md Makefile mkdocs.yml "$here"
  (cd "$here" && "$env/bin/python" -m pytest $TESTS)
  echo "works: $("$python" --version)"
}

for python in $(found); do
  if [ "${1:-}" = --syntax ]; then syntax "$python"; else everything "$python"; fi
done
