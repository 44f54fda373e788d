"""Write requirements/dev.lock: every package of this environment that development needs, pinned.

    make lock

What is pinned is what the environment holds, hence what continuous integration ran with: the
dependencies at run time, the extras test, lint and docs, and what builds the core. torch is left
out with what only it needs: `.ci/setup.sh` takes the machine's own, or a fixed version. Hashes are
those of the files that pip would take here (the first line names CPython and the system).
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "dev.lock"
EXTRAS = ("test", "lint", "docs")


def asked() -> list[str]:
    """What pyproject.toml asks for, and pip's own way to build wheels."""
    toml = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = toml["project"]["optional-dependencies"]
    listed = [*toml["build-system"]["requires"], *toml["project"]["dependencies"], "wheel"]
    return listed + [text for name in EXTRAS for text in extras[name]]


def needed() -> dict[str, str]:
    """Names and versions of the packages, by name."""
    found: dict[str, str] = {}
    todo = list(map(Requirement, asked()))
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue  # for other versions of Python
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in seen or name == "torch":
            continue
        seen.add(key)
        try:
            there = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed here: bash .ci/setup.sh {','.join(EXTRAS)}")
        found[name] = there.version
        for text in there.requires or []:
            further = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *wanted.extras)]
            if further.marker is None or any(map(further.marker.evaluate, extras)):
                further.marker = None
                todo.append(further)
    return dict(sorted(found.items()))


def hashes(versions: dict[str, str]) -> Iterator[str]:
    """Lines of the lock."""
    with tempfile.TemporaryDirectory() as folder:
        report, wanted = Path(folder, "report.json"), Path(folder, "wanted.txt")
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        options = ["--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report", report]
        command = [sys.executable, "-m", "pip", "install", *map(str, options), "-r", str(wanted)]
        subprocess.run(command, check=True)
        entries = json.loads(report.read_text())["install"]
    for entry in sorted(entries, key=lambda entry: canonicalize_name(entry["metadata"]["name"])):
        name, version = entry["metadata"]["name"], entry["metadata"]["version"]
        sha = entry["download_info"]["archive_info"]["hashes"]["sha256"]
        yield f"{canonicalize_name(name)}=={version} --hash=sha256:{sha}"


def main() -> None:
    where = f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"
    head = f"# {where}, {platform.system()} {platform.machine()}. Written by `make lock`."
    lines = [head, *hashes(needed())]
    LOCK.parent.mkdir(exist_ok=True)
    LOCK.write_text("\n".join(lines) + "\n")
    print(f"{LOCK.relative_to(ROOT)}: {len(lines) - 1} packages")


if __name__ == "__main__":
    main()
