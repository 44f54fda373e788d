"""The states in which a run is killed, and what is known of its processes.

A *moment* is exact: the process kills itself there (`forked`). A *state* is what somebody who looks
at the directory sees, and kills it for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

#: Name to (files, what of the file is done, how many such files a part has; 0: one a run).
MOMENTS: dict[str, tuple[str, str, int]] = {
    "start, edt.json half written": (r"edt\.json", "half", 0),
    "start, edt.json not renamed": (r"edt\.json", "synced", 0),
    "start, directory claimed": (r"edt\.json", "renamed", 0),
    "start, session half written": (r"session\.json", "half", 0),
    "start, session noted": (r"session\.json", "renamed", 0),
    "mid-part, networks half written": (r"parts/.*\.safetensors", "half", 1),
    "mid-part, networks alone": (r"parts/.*\.safetensors", "renamed", 1),
    "mid-part, table half written": (r"parts/.*\.parquet", "half", 2),
    "mid-part, table not renamed": (r"parts/.*\.parquet", "synced", 2),
    "between table and manifest": (r"parts/.*\.spectrum\.parquet", "renamed", 1),
    "manifest half written": (r"parts/.*\.manifest\.json", "half", 1),
    "manifest not renamed": (r"parts/.*\.manifest\.json", "synced", 1),
    "part just done": (r"parts/.*\.manifest\.json", "renamed", 1),
    "mid-merge, first table half written": (r"runs\.parquet", "half", 0),
    "mid-merge, one table there": (r"runs\.parquet", "renamed", 0),
    "mid-merge, second table half written": (r"spectrum\.parquet", "half", 0),
    "mid-merge, tables without manifest": (r"spectrum\.parquet", "renamed", 0),
    "mid-merge, manifest half written": (r"manifest\.json", "half", 0),
    "end, everything there": (r"manifest\.json", "renamed", 0),
}


def starting(folder: Path) -> bool:
    """The directory is being claimed, and no part is there."""
    return (folder / "edt.json").exists() or (folder / ".lock").exists()


def mid_part(folder: Path) -> bool:
    """A file is being written."""
    return any(name.endswith(".tmp") for name in listed(folder / "parts"))


def before_manifest(folder: Path) -> bool:
    """A table lies there whose manifest does not."""
    names = set(listed(folder / "parts"))
    tables = [name for name in names if name.endswith(".runs.parquet")]
    return any(name.replace(".runs.parquet", ".manifest.json") not in names for name in tables)


def mid_merge(folder: Path) -> bool:
    """The first table of the whole run is there or being written, the last thing is not."""
    names = set(listed(folder))
    begun = any(name.lstrip(".").startswith(("runs.parquet", "spectrum.parquet")) for name in names)
    return begun and "manifest.json" not in names


def some_parts(folder: Path) -> bool:
    """A part is done."""
    return len(manifests(folder)) >= 1


STATES: dict[str, Callable[[Path], bool]] = {
    "seen starting": starting,
    "seen mid-part": mid_part,
    "seen before a manifest": before_manifest,
    "seen mid-merge": mid_merge,
    "seen with some parts": some_parts,
}


def listed(folder: Path) -> list[str]:
    """Names in a folder that may not be there."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def manifests(folder: Path) -> list[str]:
    """Names of the parts that have a manifest."""
    end = ".manifest.json"
    return sorted(name.removesuffix(end) for name in listed(folder / "parts")
                  if name.endswith(end) and not name.startswith("."))  # fmt: skip


def running(pid: int) -> bool:
    """Whether a process is there and not merely unwaited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Processes that a process, any of its threads, has started."""
    found = []
    for task in listed(Path(f"/proc/{pid}/task")):
        try:
            text = Path(f"/proc/{pid}/task/{task}/children").read_text()
        except OSError:
            continue
        found += [int(child) for child in text.split()]
    return found


def is_worker(pid: int) -> bool:
    """Whether a process has begun to be a worker: before, it is a copy of its parent."""
    try:
        return b"edt.runs.engines" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
