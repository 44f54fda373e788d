"""A worker process: ``python -m edt.sweeps.worker DIRECTORY THREADS``, jobs in, outcomes out.

Started by `edt.sweeps.engines.local`. Jobs and outcomes are pickled on standard input and output,
between this package and itself; nothing is unpickled that came from a file.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from typing import BinaryIO

from edt.sweeps.plan import Job


def main(directory: str, threads: int) -> None:
    """Serve until the input closes."""
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not end up among the answers
    threading.Thread(target=_listen, args=(sys.stdin.buffer, jobs), daemon=True).start()

    import torch

    from edt.sweeps.engines.local import attempt

    torch.set_num_threads(threads)
    while True:
        pickle.dump(attempt(directory, jobs.get()), answers)
        answers.flush()


def _listen(source: BinaryIO, jobs: queue.SimpleQueue[Job]) -> None:
    while True:
        try:
            jobs.put(pickle.load(source))
        except EOFError:
            # The parent is gone or done. What is being written is not complete without its
            # manifest, and appears by renaming: ending here harms nothing.
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
