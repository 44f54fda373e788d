"""Runs attacked until nothing new can happen to them: ``python -m tests.chaos [--kills N]``.

A small sweep is killed, filled up, deleted, linked away, stopped and contended, again and again,
each time at a moment that is told by the state of its directory. After every attack what counts as
done must be right to the last bit; in the end the sweep is resumed, and its tables must have the
bytes of one that nobody touched. The verdict counts rows lost, rows doubled, processes left, and
bits that differ; the exit code is 0 only where all are 0. Short form: `tests/runs/test_chaos.py`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("support")))

import pandas as pd
from small_sweep import SPEC

from edt.runs.store import PartFiles, in_use, read_marker
from edt.runs.sweeps import SweepSpec, sweep
from edt.studies.kinds import resume, status
from tests.runs.test_faults import TABLES, Forks, manifests

#: Seconds that a state may take to come; a sweep alone takes less than two.
PATIENCE = 30.0


@dataclass
class Verdict:
    """What attacks did.

    Attributes:
        kills: processes that SIGKILL met at work.
        attacks: of every kind.
        lost, doubled: rows of the tables in the end.
        orphans: processes that outlived what had started them.
        differ: directories whose tables have other bytes in the end.
        trouble: what else went wrong, in words.
    """

    kills: int = 0
    attacks: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    orphans: int = 0
    differ: int = 0
    trouble: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.orphans or self.differ or self.trouble)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.attacks.items()))
        return "\n".join(
            [
                f"{self.kills} kills; attacks: {kinds}",
                f"rows lost {self.lost}, doubled {self.doubled}; orphans {self.orphans}; "
                f"directories with other bits {self.differ}",
                *self.trouble,
            ]
        )


# States of a directory ---------------------------------------------------------------------------


def starting(folder: Path) -> bool:
    """The directory is claimed, and no part is there."""
    return (folder / "edt.json").exists() or (folder / ".lock").exists()


def mid_part(folder: Path) -> bool:
    """A file is being written."""
    return any(name.endswith(".tmp") for name in listed(folder / "parts"))


def before_manifest(folder: Path) -> bool:
    """A table lies there whose manifest does not."""
    names = set(listed(folder / "parts"))
    tables = [name for name in names if name.endswith(".runs.parquet")]
    return any(name.replace(".runs.", ".").replace("parquet", "manifest.json") not in names
               for name in tables)  # fmt: skip


def mid_merge(folder: Path) -> bool:
    """The first table of the whole run is there or being written, the last thing is not."""
    names = set(listed(folder))
    begun = any(name.lstrip(".").startswith(("runs.parquet", "spectrum.parquet")) for name in names)
    return begun and "manifest.json" not in names


def some_parts(folder: Path) -> bool:
    return len(manifests(folder)) >= 5


STATES: dict[str, Callable[[Path], bool]] = {
    "start": starting,
    "mid-part": mid_part,
    "before-manifest": before_manifest,
    "mid-merge": mid_merge,
    "some-parts": some_parts,
}


def listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


# Attacks --------------------------------------------------------------------------------------


class Chaos:
    """Attacks on one sweep after another."""

    def __init__(self, seed: int, root: Path) -> None:
        self.draw, self.root = random.Random(seed), root
        self.spec = SweepSpec.from_dict(SPEC)
        self.verdict, self.forks = Verdict(), Forks()
        self.pids: set[int] = set()
        sweep(self.spec, root / "reference", workers=0, progress=False)
        self.number = 0
        self.folder = self.new()

    def new(self) -> Path:
        self.number += 1
        return self.root / f"run-{self.number}"

    def start(self, **more: object) -> int:
        pid = self.forks.start(self.spec, self.folder, **more)
        self.pids.add(pid)
        return pid

    def until(self, pid: int, state: Callable[[Path], bool]) -> bool:
        """Wait for a state; False where the process ended before."""
        end = time.monotonic() + PATIENCE
        while not state(self.folder):
            if not running(pid) or time.monotonic() > end:
                return False
        return True

    def kill(self, pid: int) -> None:
        self.verdict.kills += self.forks.kill(pid)

    # One attack each; after it, `check`.

    def killed(self, name: str) -> None:
        pid = self.start()
        self.until(pid, STATES[name])
        self.kill(pid)

    def killed_at_step(self) -> None:
        """Between two steps to disk."""
        pid = self.start(die_at=self.draw.randrange(1, 80))
        self.verdict.kills += self.forks.wait(pid) == -signal.SIGKILL

    def stopped(self) -> None:
        pid = self.start()
        held = self.until(pid, lambda folder: some_parts(folder) and in_use(folder) is True)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        # One that had come to its end by then has given the lock back.
        over = (self.folder / "manifest.json").exists()
        if held and not over and running(pid) and in_use(self.folder) is not True:
            self.verdict.trouble.append(f"{self.folder}: a stopped run looks dead")
        self.kill(pid)

    def full(self) -> None:
        """No file may be larger than a few kilobytes: parts fit, tables do not."""
        self.forks.wait(self.start(fsize=self.draw.choice((100, 4000, 18_000))))

    def second_writer(self) -> None:
        first = self.start()
        self.until(first, starting)
        code = self.forks.wait(self.start())
        if code not in (0, 2):
            self.verdict.trouble.append(f"{self.folder}: a second writer ended with {code}")
        self.kill(first)

    def deleted(self) -> None:
        """The rest of the run must not make the directory again."""
        pid = self.start()
        self.until(pid, some_parts)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.forks.wait(pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def linked(self) -> None:
        """`parts` becomes a link under way: what it leads to must stay as it is."""
        outside = self.root / f"outside-{self.verdict.attacks['linked']}"
        outside.mkdir()
        (outside / "shard-000000.manifest.json").write_text("mine")
        pid = self.start()
        self.until(pid, some_parts)
        aside = self.root / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):
            (self.folder / "parts").rename(aside)
            (self.folder / "parts").symlink_to(outside)
        self.forks.wait(pid)
        if (
            sorted(listed(outside)) != ["shard-000000.manifest.json"]
            or (outside / "shard-000000.manifest.json").read_text() != "mine"
        ):
            self.verdict.trouble.append(f"{outside}: was written to through a link")
        if (self.folder / "parts").is_symlink():
            (self.folder / "parts").unlink()
            aside.rename(self.folder / "parts")

    def read_only(self) -> None:
        """Somebody takes the right to write away (to root nobody can)."""
        pid = self.start()
        self.until(pid, some_parts)
        with suppress(OSError):
            (self.folder / "parts").chmod(0o500)
        self.kill(pid)
        with suppress(OSError):
            (self.folder / "parts").chmod(0o755)

    def second_user(self) -> None:
        """Somebody else asks how far it is, all the time: the start must not fail for it."""
        pid = self.start()
        end = time.monotonic() + 0.5
        while time.monotonic() < end and running(pid):
            in_use(self.folder)
        if running(pid) and read_marker(self.folder) is not None:
            self.kill(pid)
        elif self.forks.wait(pid) not in (0,):
            self.verdict.trouble.append(f"{self.folder}: a start failed while it was looked at")

    def check(self) -> None:
        """What counts as done is right, whatever else lies about."""
        files = PartFiles(self.folder)
        for manifest in manifests(self.folder):
            if files.whole(manifest.name.removesuffix(".manifest.json")) is None:
                self.verdict.trouble.append(f"{manifest}: done, and not whole")
        if read_marker(self.folder) is not None and status(self.folder).running:
            self.verdict.trouble.append(f"{self.folder}: runs, and nobody is there")

    def finish(self) -> None:
        """Resume to the end, and compare."""
        if read_marker(self.folder) is None:
            sweep(self.spec, self.folder, workers=0, progress=False)
        else:
            resume(self.folder, workers=0, progress=False)
        runs = pd.read_parquet(self.folder / "runs.parquet")["run"]
        wanted = pd.read_parquet(self.root / "reference" / "runs.parquet")["run"]
        self.verdict.lost += len(set(wanted) - set(runs))
        self.verdict.doubled += len(runs) - runs.nunique()
        self.verdict.differ += any(
            (self.folder / name).read_bytes() != (self.root / "reference" / name).read_bytes()
            for name in TABLES
        )
        shutil.rmtree(self.folder)
        self.folder = self.new()

    def go(self, kills: int, seconds: float) -> Verdict:
        """Attack until so many kills met their process, or the time is up."""
        others: list[Callable[[], None]] = [
            self.stopped, self.full, self.second_writer, self.deleted, self.linked,
            self.read_only, self.second_user, self.killed_at_step,
        ]  # fmt: skip
        end = time.monotonic() + seconds
        turn = 0
        while self.verdict.kills < kills and time.monotonic() < end:
            if turn % 2:
                attack = others[turn // 2 % len(others)]
                name = attack.__name__.replace("_", "-")
                attack()
            else:
                name = list(STATES)[turn // 2 % len(STATES)]
                self.killed(name)
            self.verdict.attacks[name] += 1
            self.check()
            turn += 1
            if turn % 6 == 0:
                self.finish()
        self.finish()
        self.verdict.orphans = sum(map(running, self.pids))
        self.forks.server.stdin.close()
        self.forks.server.wait()
        return self.verdict


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="until so many (default 200)")
    parser.add_argument("--seconds", type=float, default=1800.0, help="or so long (default 1800)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edt-chaos-") as root:
        verdict = Chaos(options.seed, Path(root)).go(options.kills, options.seconds)
    print(verdict)
    return 0 if verdict.clean and verdict.kills >= options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
