"""Runs attacked until nothing new can happen to them: ``python -m tests.chaos [--kills N]``.

A small sweep is killed, filled up, deleted, linked away, stopped, made read-only and contended,
again and again, at moments that its own files tell. After every attack what counts as done must be
right to the last bit, and what was done before must still be; every few attacks the sweep is
resumed to its end, and its tables must have the bytes of one that nobody touched. The exit code is
0 only where nothing was lost, doubled, left running or changed. Short form:
`tests/runs/test_chaos.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from tests.chaos.attacks import Chaos
from tests.chaos.verdict import Verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="until so many (default 200)")
    parser.add_argument("--seconds", type=float, default=1800.0, help="or so long (default 1800)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=2, help="directories at once (default 2)")
    options = parser.parse_args()
    clock, verdict = time.monotonic(), Verdict()
    share = -(-options.kills // options.lanes)
    with tempfile.TemporaryDirectory(prefix="edt-chaos-") as root:
        Path(root).chmod(0o755)
        lanes = [
            Chaos(1000 * options.seed + k, Path(root) / f"lane-{k}", real=True)
            for k in range(options.lanes)
        ]
        with ThreadPoolExecutor(options.lanes) as pool:
            for found in pool.map(lambda lane: lane.go(share, options.seconds), lanes):
                verdict += found
    print(f"{time.monotonic() - clock:.0f} seconds, seed {options.seed}")
    print(verdict)
    return 0 if verdict.clean and verdict.kills.total() >= options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
