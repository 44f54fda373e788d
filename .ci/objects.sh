#!/usr/bin/env bash
# Runs the tests of sweeps in a store of objects, over S3's protocol against moto's server on this
# machine's own loopback.
#
# In an environment of their own: botocore, which s3fs and moto need, insists on older versions of
# packages than the tests' environment has. The rest is borrowed from there, by a path alone. Where the
# packages cannot be had, a line says so.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
there=build/objects
pip() { "$there/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
if ! "$there/bin/python" -c 'import moto.server, s3fs' 2>/dev/null; then
  "$VENV/bin/python" -m venv --clear "$there"
  folder=$("$there/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$VENV/bin/python" -c 'import sysconfig, torch, pathlib
print(sysconfig.get_path("purelib"))
print(pathlib.Path(torch.__file__).parent.parent)' >"$folder/borrowed.pth"
  if ! pip 'moto[s3]>=5' flask flask-cors 's3fs>=2025.2'; then
    echo "no moto or no s3fs: sweeps are not tested in a store of objects"
    exit 0
  fi
fi
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" "$there/bin/python" -m pytest tests/runs/test_s3.py "$@"
