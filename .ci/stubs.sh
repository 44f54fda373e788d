#!/usr/bin/env bash
# Compares edt/_core.pyi with the compiled core: what there is, and of which kind. Compiled functions do
# not tell their arguments; tests/test_stub.py reads those from their documentation.
#
# As a module of its own: as a part of edt all of edt would be checked again.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
python="$PWD/$VENV/bin/python"
folder=build/stubs
rm -rf "$folder" && mkdir -p "$folder"
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
cp "edt/_core$suffix" edt/_core.pyi "$folder"
# pybind11 has a metaclass of its own; the CUDA engine is not in every build.
printf '%s\n' '_core\.(Plan|Dataset|Taps|Recycled|Chain|ChainMask)' '_core\.cuda' >"$folder/allowed"
cd "$folder"
"$python" -m mypy.stubtest _core --ignore-disjoint-bases --allowlist allowed --ignore-unused-allowlist
