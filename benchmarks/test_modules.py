"""Networks of torch modules: training 32 LeNet-5 at once, and the top eigenvalue of ResNet-20.

Beside them plain PyTorch: a loop over the modules, and Lanczos with products by double backward on
one module. Both must agree before they are timed.

    python -m benchmarks.test_modules [THREADS]

prints ratios of the two ways of training, by turns in one process, of the processor's time and the
clock's: of a call of 20 steps, in which edt also evaluates all data twice, and of a step more.
"""

from __future__ import annotations

import sys
import time
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

import edt
from benchmarks import names, settings
from benchmarks.figures import EDT, Figures
from benchmarks.timing import timed

SHAPE, BATCH, RATE = (1, 8, 8), 64, 1e-3
NETWORKS, STEPS = (2, 2) if settings.SMOKE else (32, 20)
FACTOR, SAMPLES, BLOCKS = (0.125, 8, 1) if settings.SMOKE else (1.0, 200, 3)
#: Residual, relative to the eigenvalue, at which both stop.
RESIDUAL = 1e-2 if settings.SMOKE else 1e-4
TRAINING, EIGENVALUE = "32 LeNet-5, digits, batches of 64", "top eigenvalue, ResNet-20"


@cache
def lenets() -> tuple[edt.ModuleEnsemble, edt.Task]:
    """LeNet-5 from unlike seeds, and the digits."""
    lenet = partial(edt.nets.lenet5, shape=SHAPE)
    networks = edt.ModuleEnsemble.build(lenet, [1.0], range(NETWORKS), input_shape=SHAPE)
    return networks, edt.tasks.digits("train", dtype=torch.float32)


def in_a_loop(networks: edt.ModuleEnsemble, task: edt.Task, steps: int) -> list[nn.Module]:
    """The same training by `torch.optim`, module after module."""
    from edt.training.epochs import Epochs

    epochs = Epochs(torch.zeros(1, dtype=torch.int64), task.N, BATCH)
    pixels, found = task.x.view(-1, *SHAPE), []
    for b in range(networks.B):
        module = networks.to_module(b).train()
        optimiser = torch.optim.Adam(module.parameters(), lr=RATE)
        for step in range(steps):
            chosen = epochs.at(step, 0)
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(pixels[chosen]), task.y[chosen]).backward()
            optimiser.step()
        found.append(module)
    return found


def together(networks: edt.ModuleEnsemble, task: edt.Task, steps: int) -> edt.ModuleEnsemble:
    """All at once."""
    return edt.masked_train(
        task, networks, optimizer="adam", lr=RATE, batch_size=BATCH, steps=steps, record=None,
        progress=False,
    ).networks  # fmt: skip


def test_training_together(benchmark: Any, figures: Figures) -> None:
    networks, task = lenets()
    # In float64: Adam divides gradients by their size, and makes of one that is 0 but for the
    # rounding of float32 a step that no tolerance between two orders of summation allows for.
    few, exact = networks.select([0, 1]).to(torch.float64), task.to(torch.float64)
    mine = together(few, exact, 2)
    for b, module in enumerate(in_a_loop(few, exact, 2)):
        for name, value in module.named_parameters():
            torch.testing.assert_close(mine.parameter(b, name), value.detach(), rtol=1e-6,
                                       atol=1e-9)  # fmt: skip
    timing = timed(benchmark, lambda: together(networks, task, STEPS), STEPS)
    figures.add(TRAINING, EDT, timing)


def test_training_in_a_loop(benchmark: Any, figures: Figures) -> None:
    timing = timed(benchmark, lambda: in_a_loop(*lenets(), STEPS), STEPS)
    figures.add(TRAINING, names.EAGER, timing)


@cache
def residual() -> tuple[edt.ModuleEnsemble, edt.ModuleTask]:
    """ResNet-20 at its start, in eval mode, on some digits."""
    data = edt.tasks.digits("train", dtype=torch.float32)
    build = partial(edt.nets.resnet20, shape=SHAPE, blocks=BLOCKS)
    task = edt.ModuleTask((data.x[:SAMPLES].view(-1, *SHAPE), data.y[:SAMPLES]))
    return edt.ModuleEnsemble.build(build, [FACTOR], [0]), task


def eigenvalue() -> float:
    """By edt."""
    networks, task = residual()
    (pair,) = edt.extreme_eigenpairs(task, networks, 1, which="LA", tol=RESIDUAL)
    return float(pair.values[0])


def plain_eigenvalue() -> float:
    """By scipy's Lanczos, with products by double backward."""
    networks, task = residual()
    module = networks.to_module(0)
    parameters = list(module.parameters())
    x, y = task.targets[0][0].content
    loss = nn.functional.cross_entropy(module(x), y)
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    sizes = [value.numel() for value in parameters]

    def product(vector: np.ndarray) -> np.ndarray:
        parts = torch.split(torch.from_numpy(vector.reshape(-1).astype(np.float32)), sizes)
        along = [part.view_as(value) for part, value in zip(parts, parameters, strict=True)]
        rows = torch.autograd.grad(slopes, parameters, along, retain_graph=True)
        return torch.cat([row.reshape(-1) for row in rows]).numpy()

    count = sum(sizes)
    operator = LinearOperator((count, count), matvec=product, dtype=np.float32)
    start = np.ones(count, dtype=np.float32)
    values = eigsh(operator, 1, which="LA", tol=RESIDUAL, v0=start, return_eigenvectors=False)
    return float(values[0])


def test_eigenvalue(benchmark: Any, figures: Figures) -> None:
    # Both residuals are relative to the eigenvalue.
    np.testing.assert_allclose(eigenvalue(), plain_eigenvalue(), rtol=10 * RESIDUAL)
    figures.add(EIGENVALUE, EDT, timed(benchmark, eigenvalue, 1))


def test_plain_eigenvalue(benchmark: Any, figures: Figures) -> None:
    figures.add(EIGENVALUE, names.SCIPY, timed(benchmark, plain_eigenvalue, 1))


def ratios(rounds: int = 5) -> None:
    """Print how many times longer the loop takes, round after round."""
    networks, task = lenets()
    ways = (together, in_a_loop)

    def seconds(way: Any, steps: int) -> np.ndarray:
        before = np.array([time.process_time(), time.perf_counter()])
        way(networks, task, steps)
        return np.array([time.process_time(), time.perf_counter()]) - before

    for way in ways:
        way(networks, task, 1)
    for _ in range(rounds):
        short, long = (np.array([seconds(way, n) for way in ways]) for n in (STEPS, 3 * STEPS))
        call, step = short[1] / short[0], (long - short)[1] / (long - short)[0]
        ms = 1e3 * (long - short)[:, 1] / (2 * STEPS)
        print(
            f"loop / edt: call of {STEPS} steps {call[0]:.2f} (clock {call[1]:.2f}), a step more "
            f"{step[0]:.2f} (clock {step[1]:.2f}); a step edt {ms[0]:.1f} ms, loop {ms[1]:.1f} ms"
        )


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    ratios()
