#!/usr/bin/env bash
# Sets up .venv with edt built and installed in place. Arguments: extras to install, e.g. "test".
#
# PYTHON    interpreter to build the environment from (default python3)
# VENV      folder of the environment (default .venv)
# EDT_ISAS  instruction sets of the core (default native; see setup.py)
# An installed torch (2.6 or newer) is reused; otherwise torch==2.13.0 is installed. What compiles and
# installs tells its progress in build/setup-*.log.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
extras=${1:-}
# One stamp for each extra, so that what was set up with others is not set up again.
stamps=("$VENV/.edt-plain")
for extra in ${extras//,/ }; do stamps+=("$VENV/.edt-$extra"); done

inputs=$(find setup.py pyproject.toml CMakeLists.txt csrc .ci/setup.sh -type f | LC_ALL=C sort)
now="$(cat $inputs | cksum) ${EDT_ISAS:-native}"
current() {
  local stamp
  for stamp in "${stamps[@]}"; do [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] || return 1; done
}
if current; then exit 0; fi

say() { printf 'setup: %s\n' "$*" >&2; }
"$PYTHON" - <<'PY' || { say "Python 3.10 or newer is needed (set PYTHON=...)"; exit 1; }
import sys
sys.exit(sys.version_info < (3, 10))
PY
command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
  { say "a C++17 compiler is needed (for example: apt-get install g++)"; exit 1; }

fits='import sys, re, torch; v = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])); sys.exit(v < (2, 6))'
# pip comes last: without it the environment was left half made.
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
  if "$PYTHON" -c "$fits" 2>/dev/null; then
    say "reusing the installed torch"
    "$PYTHON" -m venv --system-site-packages "$VENV"
  else
    "$PYTHON" -m venv "$VENV"
  fi
fi
py="$VENV/bin/python"
pip() { "$py" -m pip install --quiet --disable-pip-version-check "$@"; }
pip 'setuptools>=77' wheel 'cmake>=3.18' 'ninja>=1.10' 'pybind11>=2.12'

# The core needs nothing of torch: the processor compiles while the network brings the packages.
core() { "$py" setup.py build_ext --inplace; }
packages() {
  local wanted=() line
  # Python compiles modules as they are imported, which few of these are: all would take a minute.
  [ -n "${PYTHONDONTWRITEBYTECODE:-}" ] || wanted+=(--no-compile)
  "$py" -c "$fits" 2>/dev/null || wanted+=(torch==2.13.0)
  while IFS= read -r line; do wanted+=("$line"); done <"$requirements"
  "$py" -m pip install --disable-pip-version-check "${wanted[@]}"
}
requirements=build/setup-requirements.txt
mkdir -p build
"$py" - "$extras" >"$requirements" <<'PY'
import sys
from setuptools import Distribution

edt = Distribution()
edt.parse_config_files()
wanted = list(edt.install_requires)
for extra in filter(None, sys.argv[1].split(",")):
    wanted += edt.extras_require[extra]
print(*wanted, sep="\n")
PY

# In a process group of its own, so that all of it can be stopped.
start() {
  set -m
  "$1" >"build/setup-$1.log" 2>&1 </dev/null &
  set +m
  running+=("$1 $!")
}
stop() {
  trap '' INT TERM HUP
  local job
  for job in ${running[@]+"${running[@]}"}; do kill -TERM -- "-${job#* }" 2>/dev/null || true; done
  wait
}
# Waits for all that was started; the first failure is shown and ends the others.
finish() {
  local job left log
  while [ ${#running[@]} -gt 0 ]; do
    left=()
    for job in "${running[@]}"; do
      if kill -0 "${job#* }" 2>/dev/null; then left+=("$job"); continue; fi
      wait "${job#* }" && continue
      log=build/setup-${job% *}.log
      tail -n 80 "$log" >&2
      say "failed: ${job% *}; above is the end of $log"
      exit 1
    done
    running=(${left[@]+"${left[@]}"})
    sleep 0.2
  done
}
running=()
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
say "compiling the core and installing packages (a few minutes the first time; see build/setup-*.log)"
start core
start packages
finish
pip --no-build-isolation -e ".${extras:+[$extras]}"
for stamp in "${stamps[@]}"; do echo "$now" > "$stamp"; done
