"""Attacks on one small sweep after another, each followed by a look at what it left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import beside
import pandas as pd
from forked import FAILED, NO_FILE, REFUSED
from forks import Forks
from patience import Stopwatch
from small_sweep import SPEC, write_toml

from edt.runs.store import PartFiles, in_use, read_marker
from edt.runs.sweeps import SweepSpec, sweep
from edt.studies.kinds import status
from tests.chaos.states import MOMENTS, STATES, children, is_worker, manifests, running, some_parts
from tests.chaos.verdict import Verdict

#: Six parts in two groups, with spectra.
TINY = {
    **SPEC,
    "task": {"name": "teacher_student", "n": 16, "normalise": True},
    "grid": {**SPEC["grid"], "width": 2, "seed": "0..5", "lr": 0.01, "steps": 30},
    "shard_seconds": 2.8e-4,
}
TABLES = ("runs.parquet", "spectrum.parquet")
#: Seconds that a state may take to come, a process to end.
PATIENCE = 300.0
#: Seconds in which a killed process is gone, on a machine that has other things to do.
GONE = 60.0
#: Seconds after Ctrl-C in which workers are gone, by a `Stopwatch`.
INTERRUPTED = 2.0
#: Seconds between two looks at a directory.
LOOK = 0.0005
#: Attacks between two resumes to the end.
ROUND = 6
#: What dies before a run is there does so in a new directory.
MARKER = r"edt\.json"
#: Somebody else: nobody.
OTHER = 65534


class Chaos:
    """Attacks.

    Args:
        seed: of their order and of where exactly they hit.
        root: an empty folder.
        real: also attack the program itself, in processes that are no forks (seconds each).
    """

    def __init__(self, seed: int, root: Path, *, real: bool = False) -> None:
        self.draw, self.root = random.Random(seed), root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        self.spec = SweepSpec.from_dict(TINY)
        self.verdict = Verdict()
        self.errors = (root / "errors.txt").open("w")
        self.forks = Forks(self.errors)
        self.pids: set[int] = set()
        self.reference = root / "reference"
        sweep(self.spec, self.reference, workers=0, progress=False)
        self.toml = write_toml(root / "spec.toml", TINY)
        self.number, self.real = 0, real
        self.folder = self.new()

    def new(self) -> Path:
        """The next directory."""
        self.number += 1
        return self.root / f"run-{self.number}"

    def deck(self) -> list[tuple[str, Callable[[], None]]]:
        """Every attack once, in a random order."""
        attacks: list[tuple[str, Callable[[], None]]] = [
            *[("", partial(self.killed_at, name)) for name in MOMENTS],
            *[("", partial(self.killed_when, name)) for name in STATES],
            *[("", self.killed_with_workers)] * (3 if self.real else 1),
            ("", self.killed_between_steps),
            *[("worker killed", self.worker_killed)] * 2,
            ("stopped", self.stopped),
            ("file too large", self.too_large),
            ("disk full", self.disk_full),
            ("second writer", self.second_writer),
            ("second user", self.second_user),
            ("deleted", self.deleted),
            ("linked", self.linked),
            ("read-only", self.read_only),
        ]
        if self.real:
            attacks += [
                *[("", self.program_killed)] * 2,
                ("edt: Ctrl-C, a worker stopped", self.program_interrupted),
            ]
        self.draw.shuffle(attacks)
        return attacks

    def go(self, kills: int, seconds: float, decks: int = 1000) -> Verdict:
        """Attack until so many kills met their process, all was done so often, or time is up."""
        end, turn = time.monotonic() + seconds, 0
        deck: list[tuple[str, Callable[[], None]]] = []
        while self.verdict.kills.total() < kills and time.monotonic() < end:
            if not deck:
                if decks == 0:
                    break
                deck, decks = self.deck(), decks - 1
            name, attack = deck.pop()
            folder, before = self.folder, self.whole()
            attack()
            if name:
                self.verdict.attacks[name] += 1
            self.check(before if self.folder == folder else [])
            turn += 1
            if turn % ROUND == 0:
                self.finish()
        self.finish()
        until(lambda: not any(map(running, self.pids)), GONE)
        self.verdict.orphans += sum(map(running, self.pids))
        self.forks.close()
        self.errors.close()
        return self.verdict

    # How processes start and end.

    def start(self, **more: object) -> int:
        """Process id of a sweep on the directory."""
        pid = self.forks.start(self.spec, self.folder, **more)
        self.pids.add(pid)
        return pid

    def until(self, pid: int, state: Callable[[Path], bool]) -> bool:
        """Wait for a state; False where the process ended before."""
        end = time.monotonic() + PATIENCE
        while not state(self.folder):
            if not running(pid) or time.monotonic() > end:
                return False
            time.sleep(LOOK)
        return True

    def expect(self, pid: int, what: str, *codes: int) -> int:
        """Wait for the end, which must be one of these."""
        code = self.forks.wait(pid)
        if code not in codes:
            self.trouble(f"{what} ended with {code}")
        return code

    def trouble(self, words: str) -> None:
        last = Path(self.errors.name).read_text().splitlines()[-1:]
        self.verdict.trouble.append(f"{self.folder.name}: {words} {last}")

    # Kills.

    def killed_at(self, name: str) -> None:
        pattern, moment, each = MOMENTS[name]
        left = len(manifests(self.reference)) - len(self.whole())
        if left == 0 or pattern == MARKER:
            self.afresh()
            left = len(manifests(self.reference))
        pid = self.start(die=[pattern, moment, self.draw.randint(1, max(1, left * each))])
        self.expect(pid, name, -signal.SIGKILL)
        self.verdict.kills[name.partition(",")[0]] += 1

    def killed_when(self, name: str) -> None:
        """As soon as it is seen."""
        if self.finished():
            self.afresh()
        pid = self.start()
        self.until(pid, STATES[name])
        self.verdict.kills[name] += self.forks.kill(pid)

    def killed_between_steps(self) -> None:
        pid = self.start(die_at=self.draw.randrange(1, 50))
        code = self.expect(pid, "killed between steps", 0, -signal.SIGKILL)
        self.verdict.kills["between two steps to disk"] += code == -signal.SIGKILL

    def killed_with_workers(self) -> None:
        """Workers must end with it; one may be at any moment of its part."""
        if self.finished():
            self.afresh()
        pid = self.start(workers=3, pause=0.03)
        self.until(pid, some_parts if self.draw.random() < 0.5 else STATES["seen mid-part"])
        workers = children(pid)
        killed = self.forks.kill(pid)
        self.verdict.kills["with workers"] += killed
        self.gone(workers)

    def worker_killed(self) -> None:
        """At a moment of its first part; the run goes on without loss."""
        self.afresh()
        pattern, moment, _ = MOMENTS[
            self.draw.choice([name for name in MOMENTS if MOMENTS[name][0].startswith("parts/")])
        ]
        pid = self.start(workers=2, pause=0.1, who="worker", die=[pattern, moment, 1])
        workers: set[int] = set()
        while running(pid):
            workers |= set(children(pid))
            time.sleep(0.01)
        self.expect(pid, "a run that lost a worker", 0)
        self.gone(workers)
        self.verdict.workers += bool(workers)

    def program_killed(self) -> None:
        """`edt` itself, with workers that are interpreters of their own."""
        if self.finished():
            self.afresh()
        process = self.program()
        self.until(process.pid, some_parts)
        workers = children(process.pid)
        if self.draw.random() < 0.5:
            for worker in workers:  # its end must not wait for them to go on
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGSTOP)
        process.kill()
        process.communicate()
        self.verdict.kills["edt with workers"] += process.returncode == -signal.SIGKILL
        self.gone(workers)

    def program_interrupted(self) -> None:
        """Ctrl-C eight times while a worker is stopped: one line, 130, nobody left."""
        self.afresh()
        process = self.program()
        if not self.until(process.pid, lambda folder: any(map(is_worker, children(process.pid)))):
            self.trouble("started no worker")
        workers = children(process.pid)
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGSTOP)
        with Stopwatch(process.pid) as watch:
            for _ in range(8):
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.01)
            until(lambda: watch.look() and not any(map(running, workers)), PATIENCE)
            self.verdict.slowest = max(self.verdict.slowest, watch.seconds)
            if watch.seconds > INTERRUPTED:
                self.trouble(
                    f"Ctrl-C: workers gone after {watch.seconds:.1f} s ({watch.elapsed:.1f} s)"
                )
        try:
            _, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            errors = "did not end"
        if process.returncode != 130 or errors.count("\n") > 1 or "Traceback" in errors:
            self.trouble(f"Ctrl-C: exit code {process.returncode}, {errors!r:.300}")
        self.gone(workers)

    def program(self) -> subprocess.Popen[str]:
        """The program, which leaves work for its workers."""
        process = subprocess.Popen(
            [sys.executable, beside.__file__, "sweep", str(self.toml), "--out", str(self.folder),
             "--no-progress", "--workers", "2"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pids.add(process.pid)
        return process

    def gone(self, pids: list[int] | set[int]) -> None:
        """Count those that are still there after some time."""
        until(lambda: not any(map(running, pids)), GONE)
        self.verdict.orphans += sum(map(running, pids))

    # Everything else that happens to runs.

    def stopped(self) -> None:
        """It still holds the directory."""
        if self.finished():
            self.afresh()
        pid = self.start()
        held = self.until(pid, lambda folder: some_parts(folder) and in_use(folder) is True)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        # One that had come to its end by then has given the lock back.
        over = (self.folder / "manifest.json").exists()
        if held and not over and running(pid) and in_use(self.folder) is not True:
            self.trouble("a stopped run looks dead")
        self.verdict.kills["stopped"] += self.forks.kill(pid)

    def too_large(self) -> None:
        """No file may be larger than a few kilobytes."""
        self.expect(self.start(fsize=self.draw.choice((100, 2000, 6000))), "no room in files",
                    0, NO_FILE)  # fmt: skip

    def disk_full(self) -> None:
        """A small file system of its own, which fills up and then grows."""
        disk = self.root / f"disk-{self.number}-{self.verdict.attacks['disk full']}"
        disk.mkdir()
        if not mount(disk, f"size={self.draw.choice((8, 40, 80, 120))}k"):
            self.verdict.skipped.add("disk full: no right to mount a file system")
            return
        aside, self.folder = self.folder, disk / "run"
        try:
            workers = self.draw.choice((0, 2))
            self.expect(self.start(workers=workers), "a full disk", NO_FILE)
            self.check([])
            mount(disk, "remount,size=20m")
            self.finish()
        finally:
            self.folder = aside
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def second_writer(self) -> None:
        """One of the two is refused."""
        if self.finished():
            self.afresh()
        first = self.start()
        self.until(first, STATES["seen starting"])
        self.expect(self.start(), "a second writer", 0, REFUSED)
        self.verdict.kills["with a second writer"] += self.forks.kill(first)

    def second_user(self) -> None:
        """Somebody else looks all the time, and tries to write; neither harms."""
        if self.finished():
            self.afresh()
        other = OTHER if os.geteuid() == 0 else 0
        if not other:
            self.verdict.skipped.add("second user: only root can become one (the same user looks)")
        pid = self.start()
        looks = self.ask_as(other, look=pid)
        if self.until(pid, lambda folder: some_parts(folder) and in_use(folder) is True):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            if running(pid) and in_use(self.folder) and read_marker(self.folder) is not None:
                # It holds the directory, whoever asks.
                self.expect(self.ask_as(other), "another user's run", REFUSED, NO_FILE)
                asker = self.ask_as(other, look=pid, alive=True)
                time.sleep(0.05)
                with suppress(ProcessLookupError):
                    os.kill(asker, signal.SIGTERM)
                self.expect(asker, "another user's status", 0, -signal.SIGTERM)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.expect(pid, "a run that was looked at", 0)
        self.expect(looks, "another user's looks", 0)

    def ask_as(self, user: int, **more: object) -> int:
        return self.start(uid=user, **more)

    def deleted(self) -> None:
        """The rest of the run must not make the directory again."""
        if self.finished():
            self.afresh()
        pid = self.start()
        self.until(pid, some_parts)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.expect(pid, "a run whose directory was deleted", 0, NO_FILE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def linked(self) -> None:
        """`parts` becomes a link under way: what it leads to must stay as it is."""
        if self.finished():
            self.afresh()
        outside = self.root / f"outside-{self.number}-{self.verdict.attacks['linked']}"
        outside.mkdir()
        mine = outside / "shard-000000.manifest.json"
        mine.write_text("mine")
        pid = self.start()
        self.until(pid, some_parts)
        aside = self.root / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):
            (self.folder / "parts").rename(aside)
            (self.folder / "parts").symlink_to(outside)
        self.expect(pid, "a run whose parts became a link", 0, 1, FAILED)
        if os.listdir(outside) != [mine.name] or mine.read_text() != "mine":
            self.trouble("was written to through a link")
        if (self.folder / "parts").is_symlink():
            (self.folder / "parts").unlink()
            aside.rename(self.folder / "parts")

    def read_only(self) -> None:
        """Somebody takes the right to write away; root needs none, so another user runs it."""
        self.afresh()
        other = OTHER if os.geteuid() == 0 else 0
        self.folder.mkdir(exist_ok=True)
        if other:
            os.chown(self.folder, other, other)
        pid = self.start(uid=other)
        self.until(pid, some_parts)
        parts = self.folder / "parts"
        with suppress(OSError):
            parts.chmod(0o500)
        self.expect(pid, "a run that may not write any more", 0, NO_FILE)
        with suppress(OSError):
            parts.chmod(0o755)
        for place in (self.folder, *self.folder.rglob("*")) if other else ():
            os.chown(place, 0, 0)

    # What they left.

    def whole(self) -> list[str]:
        """The parts that are done, to the last bit."""
        if read_marker(self.folder) is None:
            return []
        files = PartFiles(self.folder)
        return [name for name in manifests(self.folder) if files.intact(name) is not None]

    def check(self, before: list[str]) -> None:
        """What counts as done is right, whatever else lies about, and stays so."""
        done = self.whole()
        for name in set(manifests(self.folder)) - set(done):
            if read_marker(self.folder) is not None:
                self.trouble(f"{name} counts as done and is not whole")
        if self.folder.exists():
            self.verdict.undone += len(set(before) - set(done))
        for name in TABLES:
            file = self.folder / name
            if file.exists() and file.read_bytes() != (self.reference / name).read_bytes():
                self.trouble(f"{name} is there, with other bits")
        if read_marker(self.folder) is not None and status(self.folder).running:
            self.trouble("looks alive, and nobody is there")

    def finished(self) -> bool:
        """Whether all parts are there."""
        return len(manifests(self.folder)) == len(manifests(self.reference))

    def afresh(self) -> None:
        """Leave what earlier attacks did behind."""
        if self.folder.exists():
            self.finish()

    def finish(self) -> None:
        """Resume to the end, and compare."""
        self.expect(self.start(workers=self.draw.choice((0, 0, 2))), "the last resume", 0)
        runs = pd.read_parquet(self.folder / "runs.parquet")["run"]
        wanted = pd.read_parquet(self.reference / "runs.parquet")["run"]
        self.verdict.lost += len(set(wanted) - set(runs))
        self.verdict.doubled += len(runs) - runs.nunique()
        self.verdict.differ += any(
            (self.folder / name).read_bytes() != (self.reference / name).read_bytes()
            for name in TABLES
        )
        self.verdict.compared += 1
        shutil.rmtree(self.folder)
        self.folder = self.new()


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for it, or so long."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


def mount(place: Path, options: str) -> bool:
    """Mount memory as a file system; whether that was allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "edt-chaos", str(place)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False
