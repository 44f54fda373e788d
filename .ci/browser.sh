#!/usr/bin/env bash
# Gives the tests of reports a browser: playwright in .venv, and Debian's Chromium where this may be
# installed. Without them those tests are skipped; a line says so.
set -uo pipefail
cd "$(dirname "$0")/.."
python="${VENV:-.venv}/bin/python"
has() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
  command -v google-chrome >/dev/null; }
"$python" -c 'import playwright' 2>/dev/null ||
  "$python" -m pip install --quiet --disable-pip-version-check playwright
if ! has && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium; } >/dev/null 2>&1
fi
# The rules of accessibility, checked by axe-core: one file, from npm.
if [ ! -f build/axe/package/axe.min.js ] && command -v npm >/dev/null; then
  mkdir -p build/axe
  (cd build/axe && npm pack --silent axe-core@4.14.1 && tar -xzf axe-core-4.14.1.tgz package/axe.min.js) >/dev/null 2>&1
fi
[ -f build/axe/package/axe.min.js ] || echo "no axe-core: pages are not tested for accessibility by it"
if has && "$python" -c 'import playwright' 2>/dev/null; then
  echo "reports are tested in a browser"
else
  echo "no Chromium or no playwright: reports are not tested in a browser"
fi
