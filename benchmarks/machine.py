"""The machine and the versions behind a set of figures."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import settings
from edt import _core


def cpu_name() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """CPU, threads, instruction set, date, commit and versions."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": settings.THREADS,
        "isa": _core.isa(),
        "isas": _core.isas(),
        "smoke": settings.SMOKE,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("torch", "jax", "jaxlib", "numpy")},
        },
    }


def slug(machine: dict[str, Any]) -> str:
    """``<date>-<machine>`` for file names."""
    cpu = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-")
    return f"{machine['date'][:10]}-{cpu}-{machine['threads']}-threads-{machine['isa']}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checked-out commit, with a plus sign if the compiled or Python sources differ from it.

    EDT_COMMIT says it where the sources came without their repository.
    """
    if os.environ.get("EDT_COMMIT"):
        return os.environ["EDT_COMMIT"]
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "csrc", "edt", "benchmarks/*.py")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
