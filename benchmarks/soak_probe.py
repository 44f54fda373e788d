"""Run in a process of its own: memory in use over repeated work on many networks.

    python -m benchmarks.soak_probe NETWORKS ROUNDS

A round makes new networks and a new task, trains, converges a little, asks for products, Hessians,
their spectra and directions, and stores and reads the result. Prints JSON: bytes in use after each
round, and of the parameters.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import torch

import edt
from benchmarks import settings, subject, workload
from benchmarks.memory_probe import memory

#: Narrow, so that all Hessians of 10,000 networks fit beside one another.
WIDTHS = (2, 3, 4, 6)
SAMPLES = 64


def in_use() -> int:
    """Bytes in use, without what the allocator could give back."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library: fragmentation is counted, too
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return memory("VmRSS")


def work(networks: int, turn: int, folder: Path) -> int:
    """One round; returns the number of parameters."""
    task = workload.task(torch.float64, samples=SAMPLES, inputs=2)
    seeds = range(turn * networks, turn * networks + -(-networks // len(WIDTHS)))
    ens = edt.Ensemble.init(WIDTHS, seeds, d_in=2, d_out=1, sparsity=0.2)
    result = subject.train(ens, task, 5)
    ended = edt.converge(
        task, result.networks, lbfgs_steps=5, newton_steps=1, escape_saddles=False, progress=False
    )
    edt.hvp(ended.networks, task, torch.ones(2, ens.total, dtype=torch.float64))
    edt.hessian(ended.networks, task)
    edt.count_directions(ended.networks, task)
    theta = ens.theta.clone().requires_grad_(True)
    edt.loss(ens, task, theta).sum().backward()
    ended.save(folder / "ended.safetensors")
    edt.ConvergeResult.load(folder / "ended.safetensors").to_pandas()
    return ens.total


def main(networks: int, rounds: int) -> None:
    """Work and report."""
    torch.set_num_threads(settings.THREADS)
    used, total = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            total = work(networks, turn, Path(folder))
            used.append(in_use())
    print(json.dumps({"networks": networks, "used": used, "parameters": 8 * total}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
