"""Sweeps in processes that may be killed: ``python forked.py``, orders in, process ids out.

Starting Python and importing everything takes longer than the sweep of these tests, so it is done
once; each sweep is a fork. An order is a line of JSON: ``{"spec", "folder"}``, with

- ``"die_at": n``: the process kills itself with SIGKILL before the n-th time that it syncs a file
  or renames one;
- ``"fsize": n``: no file may have more than n bytes;
- ``"locked": false``: without the directory's lock, as behind a URL.

``{"wait": pid}`` answers with the exit code: 0, 2 for a refused directory, -9 for SIGKILL.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

import torch

torch.set_num_threads(1)  # a pool of threads would not survive the fork

from edt.runs.store import DirectoryError, Store  # noqa: E402
from edt.runs.sweeps import SweepSpec, sweep  # noqa: E402
from edt.runs.sweeps.shard import compute  # noqa: E402, F401  (imports what computing needs)


def count_down(left: int) -> None:
    """Let the process die before one of its steps to disk."""

    def counted(real):
        def step(*words, **named):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words, **named)

        return step

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def work(order: dict) -> int:
    if order.get("die_at"):
        count_down(order["die_at"])
    if order.get("fsize"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["fsize"],) * 2)
    if not order.get("locked", True):
        Store._acquire = lambda self: None
    try:
        sweep(SweepSpec.from_dict(order["spec"]), order["folder"], workers=0, progress=False)
    except DirectoryError as error:
        return 2 if "in use" in str(error) else 1
    return 0


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                try:
                    code = work(order)
                except BaseException as error:
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)
                    code = 1
                os._exit(code)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
