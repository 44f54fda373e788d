"""Fuzz the readers of files with atheris: ``python -m tests.fuzz.fuzz [TARGET ...]``.

Each target runs in a process of its own. What it starts from and finds is kept in build/fuzz; an
input that ends in an undocumented error is written there as ``crash-TARGET-...`` and named at the
end. ``--keep`` adds what reached new code to tests/fuzz/corpus, which continuous integration runs.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "fuzz"
#: Inputs kept for each target (the smallest), and their size at most in bytes.
MOST, LARGEST = 25, 6000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--keep", action="store_true", help="grow tests/fuzz/corpus")
    options = parser.parse_args()
    names = options.targets or _names()
    for name in names:
        print(f"== {name}", flush=True)
        _run(name, [f"-max_total_time={options.seconds}", str(_prepared(name))])
        if options.keep:
            _keep(name)
    # libFuzzer also notes what was slow, which a busy machine explains.
    crashes = [file for file in sorted(WORK.glob("crash-*")) if "-slow-unit-" not in file.name]
    for file in crashes:
        print(f"{file.relative_to(ROOT)}: ends in an undocumented error")
    return 1 if crashes else 0


def _names() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return list(TARGETS)


def _prepared(name: str) -> Path:
    """Folder of the target's inputs: good files, and the kept corpus."""
    from tests.fuzz.targets import TARGETS

    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for data in TARGETS[name].seeds():
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    for file in (HERE / "corpus" / name).glob("*"):
        shutil.copy(file, folder)
    return folder


def _run(name: str, options: list[str]) -> None:
    limits = ["-max_len=20000", "-timeout=20", "-rss_limit_mb=3000"]
    script = WORK / f"run-{name}"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.fuzz.inside {name} "$0" "$@"\n')
    script.chmod(0o755)
    command = [str(script), *limits, f"-artifact_prefix={WORK}/crash-{name}-", *options]
    subprocess.run(command, cwd=ROOT, check=False)


def _keep(name: str) -> None:
    """Of all inputs, few and small ones that reach the same code."""
    merged = WORK / f"merged-{name}"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    _run(name, ["-merge=1", str(merged), str(WORK / name)])
    small = sorted(merged.iterdir(), key=lambda file: (file.stat().st_size, file.name))
    kept = HERE / "corpus" / name
    kept.mkdir(parents=True, exist_ok=True)
    for file in small[:MOST]:
        if file.stat().st_size <= LARGEST:
            shutil.copy(file, kept)


if __name__ == "__main__":
    sys.exit(main())
