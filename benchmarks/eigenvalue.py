"""The top eigenvalue of ResNet-20's Hessian, beside PyHessian, curvlinops and hessian-eigenthings.

    python -m benchmarks.eigenvalue [THREADS]

One network at its start, 200 digits, float32, eval mode; of each library the loosest setting of a
ladder whose eigenvector has a residual ``|H v - lambda v|`` below a share of lambda (`RESIDUALS`),
measured in the same way for all (PyHessian's start is drawn anew each time). Which setting that is
counts for nothing: it is known before the clock starts. Then all run by turns, several times.
Libraries that are not installed are left out (``.ci/peers.sh`` brings them).
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from scipy.sparse.linalg import eigsh
from torch import nn

import edt

SHAPE, SAMPLES, ROUNDS = (1, 8, 8), 200, 3
#: Relative to the eigenvalue.
RESIDUALS = (1e-3, 1e-5)
#: tolerance or number of steps -> (eigenvalue, eigenvector ``[P]``).
Way = Callable[[Any], tuple[float, torch.Tensor]]


class Subject:
    """The network, its data, and one way of finding the eigenvalue for each library."""

    def __init__(self, samples: int = SAMPLES, blocks: int = 3) -> None:
        data = edt.tasks.digits("train", dtype=torch.float32)
        self.x, self.y = data.x[:samples].view(-1, *SHAPE), data.y[:samples]
        build = partial(edt.nets.resnet20, shape=SHAPE, blocks=blocks)
        self.networks = edt.ModuleEnsemble.build(build, [1.0], [0])
        self.task = edt.ModuleTask((self.x, self.y))
        self.module = self.networks.to_module(0).eval()
        self.parameters = list(self.module.parameters())

    def residual(self, value: float, vector: torch.Tensor) -> float:
        """``|H v - lambda v| / (|v| lambda)``, by double backward."""
        loss = nn.functional.cross_entropy(self.module(self.x), self.y)
        slopes = torch.autograd.grad(loss, self.parameters, create_graph=True)
        unit = vector / vector.norm()
        sizes = [p.numel() for p in self.parameters]
        along = [v.view_as(p) for v, p in zip(unit.split(sizes), self.parameters, strict=True)]
        rows = torch.autograd.grad(slopes, self.parameters, along)
        product = torch.cat([row.reshape(-1) for row in rows])
        return float((product - value * unit).norm() / abs(value))

    def edt(self, tol: float, confirm: bool = True) -> tuple[float, torch.Tensor]:
        """As it comes: until a larger one is missed by one start in a thousand at most."""
        (found,) = edt.extreme_eigenpairs(
            self.task, self.networks, 1, which="LA", tol=tol, confirm=confirm
        )
        return float(found.values[0]), found.vectors[0].float()

    def edt_unconfirmed(self, tol: float) -> tuple[float, torch.Tensor]:
        """Lanczos until the residual is reached, which is where the others stop."""
        return self.edt(tol, confirm=False)

    def pyhessian(self, tol: float) -> tuple[float, torch.Tensor]:
        """Power iteration on one batch, whose gradient is kept."""
        package = importlib.import_module("pyhessian")
        made = package.hessian(
            self.module, nn.CrossEntropyLoss(), data=(self.x, self.y), cuda=False
        )
        values, vectors = made.eigenvalues(maxIter=1000, tol=tol, top_n=1)
        self.module.zero_grad()
        return values[0], torch.cat([part.reshape(-1) for part in vectors[0]])

    def curvlinops(self, tol: float) -> tuple[float, torch.Tensor]:
        """Its operator, under scipy's Lanczos, as its tutorials do."""
        package = importlib.import_module("curvlinops")
        loss, data = nn.CrossEntropyLoss(), [(self.x, self.y)]
        made = package.HessianLinearOperator(
            self.module, loss, self.parameters, data, num_data=len(self.x),
            check_deterministic=False,
        )  # fmt: skip
        values, vectors = eigsh(made.to_scipy(), k=1, which="LA", tol=tol)
        return float(values[0]), torch.from_numpy(vectors[:, 0]).float()

    def hessian_eigenthings(self, steps: int) -> tuple[float, torch.Tensor]:
        """Its Lanczos, told how many steps to take."""
        package = importlib.import_module("hessian_eigenthings")
        loss = package.supervised_loss(nn.functional.cross_entropy)
        made = package.HessianOperator(self.module, [(self.x, self.y)], loss)
        found = package.lanczos(made, k=1, max_iter=steps, which="LA", seed=0)
        return float(found.eigenvalues[0]), found.eigenvectors.reshape(1, -1)[0]


LADDERS: dict[str, tuple[Any, ...]] = {
    "edt": (1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    "edt_unconfirmed": (1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    "pyhessian": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7),
    "curvlinops": (1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    "hessian_eigenthings": (6, 8, 10, 12, 14, 16, 20, 26, 34),
}


def compare(
    subject: Subject, goal: float, rounds: int = ROUNDS
) -> dict[str, tuple[float, float, float]]:
    """(eigenvalue, residual, seconds) of every library that is here and reaches the residual."""
    ways: dict[str, Callable[[], tuple[float, torch.Tensor]]] = {}
    found: dict[str, tuple[float, float]] = {}
    for name, ladder in LADDERS.items():
        try:
            importlib.import_module(name.removesuffix("_unconfirmed"))
        except ImportError:
            print(f"{name}: not installed")
            continue
        for setting in ladder:
            value, vector = getattr(subject, name)(setting)
            residual = subject.residual(value, vector)
            if residual <= goal:
                ways[name], found[name] = (
                    partial(getattr(subject, name), setting),
                    (value, residual),
                )
                print(f"{name}: {setting:g} reaches {residual:.1e}", flush=True)
                break
        else:
            print(f"{name}: no setting reaches a residual of {goal:g}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: (*found[name], statistics.median(seconds[name])) for name in ways}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    subject = Subject()
    for goal in RESIDUALS:
        results = compare(subject, goal)
        for name, (value, residual, taken) in results.items():
            ratio = taken / results["edt"][2]
            print(f"{name:20} {value:9.4f}  residual {residual:.1e}  {taken:6.2f} s  {ratio:.2f}")
