"""``edt`` with little hurry of its own: ``python beside.py sweep ...``.

The shards of these tests are done in less time than a worker takes to start, so the process that
was called would compute them all; and all of them before a busy machine lets a test look.
"""

from __future__ import annotations

import time

from patience import PATIENCE

from edt.runs.engines import local
from edt.studies.kinds import status

#: Seconds before each shard, here and in workers.
PAUSE = 0.1


def late(directory, job, real=local.attempt):
    """Compute a shard here, but not before a worker has stored one."""
    end = time.monotonic() + PATIENCE
    time.sleep(PAUSE)
    while not status(directory).parts_done and time.monotonic() < end:
        time.sleep(0.01)
    return real(directory, job)


SLOW = f"""
import time
from edt.runs.engines import worker
real = worker.attempt
worker.attempt = lambda *words: (time.sleep({PAUSE}), real(*words))[1]
worker.main()
"""

if __name__ == "__main__":
    from edt.cli import main

    local.attempt = late
    local.START = local.START.partition("from edt")[0] + SLOW
    main()
