"""Write the files in requirements/: all packages that development needs here, pinned.

    make lock

What is pinned is what the environment holds, hence what continuous integration ran with: the
dependencies at run time, the extras test, lint and docs, and what builds the core. torch is left
out with what only it needs: `.ci/setup.sh` takes the machine's own, or a fixed version. Hashes are
those of the files that pip would take here (the first line names CPython and the system).

`peers.lock` has the curvature libraries that tests compare with, at the versions named below, and
what they import: not what they ask for, which includes a torchvision that would replace torch.
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
LOCKS = ROOT / "requirements"
EXTRAS = ("test", "lint", "docs")
PEERS = {
    "curvlinops-for-pytorch": "3.0.1",
    "einconv": "0.1.0",
    "einops": "0.8.2",
    "hessian-eigenthings": "1.0.0a5",
    "jaxtyping": "0.3.11",
    "linear-operator": "0.6.1",
    "opt-einsum": "3.4.0",
    "pyhessian": "0.1",
    "tqdm": "4.70.1",
    "wadler-lindig": "0.1.8",
}


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
    LOCKS.mkdir(exist_ok=True)
    for name, versions in (("dev.lock", needed()), ("peers.lock", PEERS)):
        lines = [head, *hashes(versions)]
        (LOCKS / name).write_text("\n".join(lines) + "\n")
        print(f"requirements/{name}: {len(lines) - 1} packages")


if __name__ == "__main__":
    main()
