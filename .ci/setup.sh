#!/usr/bin/env bash
# Sets up .venv with edt built and installed in place. Arguments: extras to install, e.g. "test".
#
# PYTHON    interpreter to build the environment from (default python3)
# VENV      folder of the environment (default .venv)
# An installed torch (2.6 or newer) is reused; otherwise torch==2.13.0 is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
extras=${1:-}
stamp="$VENV/.edt-${extras:-plain}"

inputs=$(find setup.py pyproject.toml CMakeLists.txt csrc .ci/setup.sh -type f | LC_ALL=C sort)
now=$(cat $inputs | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then exit 0; fi

say() { printf 'setup: %s\n' "$*" >&2; }
"$PYTHON" - <<'PY' || { say "Python 3.10 or newer is needed (set PYTHON=...)"; exit 1; }
import sys
sys.exit(sys.version_info < (3, 10))
PY
command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
  { say "a C++17 compiler is needed (for example: apt-get install g++)"; exit 1; }

fits='import sys, re, torch; v = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])); sys.exit(v < (2, 6))'
if [ ! -x "$VENV/bin/python" ]; then
  if "$PYTHON" -c "$fits" 2>/dev/null; then
    say "reusing the installed torch"
    "$PYTHON" -m venv --system-site-packages "$VENV"
  else
    "$PYTHON" -m venv "$VENV"
  fi
fi
py="$VENV/bin/python"
pip() { "$py" -m pip install --quiet --disable-pip-version-check "$@"; }
if ! "$py" -c "$fits" 2>/dev/null; then
  say "installing torch 2.13.0"
  pip torch==2.13.0
fi
say "building edt (a minute or two the first time)"
pip 'setuptools>=77' wheel 'cmake>=3.18' 'ninja>=1.10' 'pybind11>=2.12'
pip --no-build-isolation -e ".${extras:+[$extras]}"
echo "$now" > "$stamp"
