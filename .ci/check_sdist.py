"""Insist that the source distribution in a folder holds every tracked file that a build needs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

NEEDED = [
    *("csrc", "edt", "tests", "benchmarks", "docs", "examples", "requirements", ".ci", ".github"),
    *("CMakeLists.txt", "MANIFEST.in", "Makefile", "mkdocs.yml", "setup.py", "pyproject.toml"),
    *(".clang-format", "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE"),
]


def main(folder: str) -> int:
    (archive,) = Path(folder).glob("edt-*.tar.gz")
    with tarfile.open(archive) as tar:
        inside = {name.partition("/")[2] for name in tar.getnames()}
    listed = subprocess.run(
        ["git", "ls-files", "-z", *NEEDED], capture_output=True, text=True, check=True
    )
    tracked = [name for name in listed.stdout.split("\0") if name]
    missing = [name for name in tracked if name not in inside]
    for name in missing:
        print(f"{archive.name} lacks {name}", file=sys.stderr)
    print(f"{archive.name}: {len(tracked) - len(missing)} of {len(tracked)} tracked files")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
