"""``edt`` with little hurry of its own: ``python beside.py sweep ...``.

The shards of these tests are done in less time than a worker takes to start, so the process that
was called would compute them all.
"""

from __future__ import annotations

import sys
import time

from edt.runs.engines import local
from edt.studies.kinds import status

#: Seconds before each shard: about a worker's start, for all shards of the small sweep together.
PAUSE = 0.1
#: Seconds after which the first shard is computed whatever the workers do.
PATIENCE = 60.0


def late(directory, job, real=local.attempt):
    """Compute a shard here, but not before a worker has stored one."""
    end = time.monotonic() + PATIENCE
    time.sleep(PAUSE)
    while not status(directory).parts_done and time.monotonic() < end:
        time.sleep(0.01)
    return real(directory, job)


if __name__ == "__main__":
    from edt.cli import main

    local.attempt = late
    sys.exit(main(sys.argv[1:]))
