"""A worker process: orders in, outcomes out. Started by `edt.runs.engines.local`.

An order is a job, or how many threads the core may use from now on. Orders and outcomes are pickled
on standard input and output, between this package and itself; nothing is unpickled that came from
a file.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import sys
import threading
from typing import BinaryIO

import torch

from edt.ops.threads import lend
from edt.runs.engines.base import Job, attempt


def main() -> None:
    """Serve until the input closes. The program's arguments: a directory, and threads."""
    directory, threads = sys.argv[1], int(sys.argv[2])
    gc.freeze()  # what has been imported stays
    gc.enable()
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not end up among the answers
    threading.Thread(target=_listen, args=(sys.stdin.buffer, jobs), daemon=True).start()

    torch.set_num_threads(threads)
    while True:
        pickle.dump(attempt(directory, jobs.get()), answers)
        answers.flush()


def _listen(source: BinaryIO, jobs: queue.SimpleQueue[Job]) -> None:
    while True:
        try:
            order = pickle.load(source)
        except EOFError:
            # The parent is gone or done. What is being written is not complete without its
            # manifest, and appears by renaming: ending here harms nothing.
            os._exit(0)
        if isinstance(order, int):
            lend(order)
        else:
            jobs.put(order)
