#!/usr/bin/env bash
# Builds the source distribution and the wheel, and installs the wheel where edt's sources are not:
# what a stranger gets from `pip install`.
#
# The core is taken from the checkout's build folder, so that only what changed is compiled again.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
python="$VENV/bin/python"
out=build/dist
rm -rf "$out" && mkdir -p "$out"

tag=$("$python" -c 'import sys; print(sys.implementation.cache_tag)')
EDT_BUILD_DIR="build/core-$tag" EDT_CUDA_ARCHS=${EDT_CUDA_ARCHS:-native} "$python" -m pip wheel --quiet \
  --disable-pip-version-check --no-build-isolation --no-deps -w "$out" .
"$python" -c "from setuptools.build_meta import build_sdist; build_sdist('$out')" >"$out/sdist.log"
"$python" .ci/check_sdist.py "$out"

# Dependencies are borrowed from the environment of the tests, by a path alone: its editable edt is not.
"$python" -m venv --clear "$out/env"
there=$("$out/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig, torch, pathlib
print(sysconfig.get_path("purelib"))
print(pathlib.Path(torch.__file__).parent.parent)' >"$there/borrowed.pth"
"$out/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps "$out"/edt-*.whl
cd "$out"
env/bin/edt doctor
env/bin/python - <<'PY'
import pathlib
import sys

import edt

home = pathlib.Path(edt.__file__).resolve()
assert home.is_relative_to(pathlib.Path(sys.prefix).resolve()), f"not the wheel's edt: {home}"
task = edt.tasks.teacher_student(teacher_width=2, d_in=2, n=64)
result = edt.masked_train(task, widths=[2, 4], seeds=range(3), steps=200, lr=0.02, progress=False)
assert bool((result.loss < edt.loss(edt.Ensemble.init([2, 4], range(3), d_in=2, d_out=1), task)).all())
for name in ("py.typed", "show/style.css", "show/figures.js", "show/explore/explore.html"):
    assert (home.parent / name).is_file(), name
print(f"the wheel works: {result}")
PY
