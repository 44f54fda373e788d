"""Sweeps in processes that may be killed: ``python forked.py``, orders in, process ids out.

Starting Python and importing everything takes longer than the sweep of these tests, so it is done
once; each sweep is a fork. An order is a line of JSON: ``{"spec", "folder"}``, with

- ``"die": [pattern, moment, n]``: the process kills itself with SIGKILL at the n-th file whose
  path below the directory fits the pattern: "half" written, "synced" but not renamed, or "renamed";
  in the first worker where ``"who": "worker"``;
- ``"die_at": n``: it does so before the n-th time that it syncs a file or renames one;
- ``"workers": n``: so many at once; workers are forks, too, which have begun before the sweep;
- ``"pause": s``: it sleeps before each of its own parts, so that workers get some;
- ``"stop": true``: it stops (SIGSTOP) when the first of its own parts is done;
- ``"fsize": n``: no file may have more than n bytes;
- ``"locked": false``: without the directory's lock, as behind a URL;
- ``"uid": n``: as another user (root only);
- ``"look": pid``: no sweep: asks for the status until that process ends, exit code 3 where the
  run was called dead while ``"alive"`` said otherwise.

``{"wait": pid}`` answers with the exit code: 0, 2 for a refused directory, 4 for a file system that
refuses, 5 for parts that failed, -9 for SIGKILL.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import torch

torch.set_num_threads(1)  # a pool of threads would not survive the fork

from edt.runs.engines import local, worker  # noqa: E402
from edt.runs.store import DirectoryError, Store, in_use  # noqa: E402
from edt.runs.sweeps import SweepError, SweepSpec, sweep  # noqa: E402
from edt.runs.sweeps.shard import compute  # noqa: E402, F401  (imports what computing needs)
from edt.studies.kinds import status  # noqa: E402

REFUSED, NO_FILE, FAILED = 2, 4, 5


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count_down(left: int) -> None:
    """Let the process die before one of its steps to disk."""

    def counted(real):
        def step(*words, **named):
            nonlocal left
            left -= 1
            if left == 0:
                die()
            return real(*words, **named)

        return step

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def die_by(folder: str, pattern: str, moment: str, nth: int) -> None:
    """Let the process die at a moment of the n-th file that fits a pattern."""
    fsync, replace, left = os.fsync, os.replace, nth
    fits = re.compile(pattern).fullmatch

    def below(handle: int, name: str) -> str:
        place = Path(os.readlink(f"/proc/self/fd/{handle}")) / name
        return os.path.relpath(place, os.path.realpath(folder))

    def its_turn(path: str) -> bool:
        nonlocal left
        left -= bool(fits(path))
        return left == 0 and bool(fits(path))

    def synced(handle):
        # Files are written as .NAME.RANDOM.tmp beside their place.
        made = Path(os.readlink(f"/proc/self/fd/{handle}"))
        path = os.path.relpath(made.with_name(made.name[1:-17]), os.path.realpath(folder))
        dies = moment != "renamed" and its_turn(path)
        if dies and moment == "half":
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            die()
        fsync(handle)
        if dies:
            die()

    def renamed(source, target, *, src_dir_fd, dst_dir_fd):
        replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if moment == "renamed" and its_turn(below(dst_dir_fd, target)):
            die()

    os.fsync, os.replace = synced, renamed


class Spare:
    """A worker process that was forked before the sweep began; otherwise like `Popen`'s."""

    waiting: list[Spare] = []  # noqa: RUF012

    def __init__(self, order: dict, first: bool) -> None:
        orders, self.stdin = os.pipe()
        self.stdout, answers = os.pipe()
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(orders, 0)
            os.dup2(answers, 1)
            os.closerange(3, 256)
            sys.stdin = os.fdopen(0)
            os.setsid()
            if first and order.get("who") == "worker":
                die_by(order["folder"], *order["die"])
            sys.argv = ["worker", order["folder"], "1"]
            worker.main()
        os.close(orders)
        os.close(answers)
        self.stdin, self.stdout = os.fdopen(self.stdin, "wb"), os.fdopen(self.stdout, "rb")
        Spare.waiting.append(self)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, state = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(state) if pid else None
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise local.subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.001)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class Forking:
    """In place of the module `subprocess`: hands out spares."""

    PIPE = local.subprocess.PIPE
    TimeoutExpired = local.subprocess.TimeoutExpired

    @staticmethod
    def Popen(*_, **__) -> Spare:
        return Spare.waiting.pop(0)


def with_spares(order: dict) -> None:
    """Fork workers while there are no threads."""
    for k in range(4 * (order["workers"] - 1)):
        Spare(order, k == 0)
    local.subprocess = Forking
    real = local.attempt

    def late(directory, job):
        time.sleep(order.get("pause", 0.0))
        return real(directory, job)

    local.attempt = late


def stop_after_one() -> None:
    """Stop this process, until somebody lets it go on."""
    real = local.attempt

    def stopping(directory, job):
        local.attempt = real
        done = real(directory, job)
        os.kill(os.getpid(), signal.SIGSTOP)
        return done

    local.attempt = stopping


def work(order: dict) -> int:
    if order.get("uid"):
        os.setgroups([])
        os.setgid(order["uid"])
        os.setuid(order["uid"])
    if order.get("look"):
        return look(order)
    if order.get("workers", 0) > 1:
        with_spares(order)
    if order.get("die_at"):
        count_down(order["die_at"])
    if order.get("die") and order.get("who") != "worker":
        die_by(order["folder"], *order["die"])
    if order.get("stop"):
        stop_after_one()
    if order.get("fsize"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["fsize"],) * 2)
    if not order.get("locked", True):
        Store._acquire = lambda self: None
    spec = SweepSpec.from_dict(order["spec"])
    try:
        sweep(spec, order["folder"], workers=order.get("workers", 0), progress=False)
    except DirectoryError as error:
        return REFUSED if "in use" in str(error) else 1
    except OSError as error:
        tell(error)
        return NO_FILE
    except SweepError as error:
        tell(error)
        return FAILED
    return 0


def tell(error: BaseException) -> None:
    with suppress(OSError):  # the limit of files' sizes is also that of where errors go
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)


def look(order: dict) -> int:
    """Ask how far a run is, all the time."""
    folder, dead = Path(order["folder"]), False
    while Path(f"/proc/{order['look']}").exists():
        if order.get("alive"):
            dead |= in_use(folder) is False or status(folder).running is False
        else:
            in_use(folder)
    return 3 if dead else 0


def know_all(order: dict) -> None:
    """Import what a sweep imports: another user may not read where Python lies."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        sweep(SweepSpec.from_dict(order["spec"]), workers=0, progress=False)
        os.write(sink, json.dumps(list(sys.modules)).encode())
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as file:
        names = json.load(file)
    os.waitpid(pid, 0)
    for name in names:
        if name not in sys.modules:
            import_module(name)


def main() -> None:
    known = False
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            if order.get("uid") and not known:
                know_all(order)
                known = True
            answer = os.fork()
            if answer == 0:
                try:
                    code = work(order)
                except BaseException as error:
                    tell(error)
                    code = 1
                os._exit(code)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
