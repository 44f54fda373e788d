"""Run in a process of its own: peak memory of training many networks of W.

    python -m benchmarks.memory_probe NETWORKS STEPS

Prints JSON: bytes in use before, peak bytes, bytes of parameters and optimiser state.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks import settings, subject, workload

KIB = 1024


def memory(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (peak) of this process.

    Not `resource.getrusage`: its peak is inherited from the parent across exec.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * KIB
    raise RuntimeError(f"/proc/self/status has no {field}")


def main(networks: int, steps: int) -> None:
    """Train and report."""
    torch.set_num_threads(settings.THREADS)
    task = workload.task(torch.float64)
    subject.train(workload.networks("softplus", torch.float64, seeds=1), task, 1)
    before = memory("VmRSS")
    seeds = -(-networks // len(workload.WIDTHS))
    ens = workload.networks("softplus", torch.float64, seeds=seeds)
    subject.train(ens, task, steps)
    print(
        json.dumps(
            {
                "networks": ens.B,
                "before": before,
                "peak": memory("VmHWM"),
                # Parameters and Adam's two moments.
                "state": 3 * ens.theta.numel() * ens.theta.element_size(),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
