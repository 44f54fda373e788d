"""Many iterative methods, one product: every network's solver asks, all are answered together.

A solver is a generator over blocks: it yields vectors ``[k, P]`` over its network's coordinates
(float64) and is sent ``H`` times each of them; what it returns is its result. `drive` runs the
solvers of many networks side by side and answers all their requests with one call of
`Objective.hvp`, where every core and every vector lane has work.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch

from edt.objectives import Coordinates, ModuleObjective, Objective
from edt.ops.threads import one_blas_thread

__all__ = ["Solver", "drive", "product_threads"]

Result = TypeVar("Result")
Solver = Generator[torch.Tensor, torch.Tensor, Result]


def product_threads(objective: Objective) -> AbstractContextManager[Any]:
    """What solvers run in: one BLAS thread, as bits must not depend on how many there are.

    Products of modules that PyTorch makes, on all its threads, depend on them anyway.
    """
    torchs = isinstance(objective, ModuleObjective) and not objective.products_in_core
    return nullcontext() if torchs else one_blas_thread()


def drive(
    objective: Objective,
    theta: torch.Tensor,
    solvers: dict[int, Solver[Result]],
    *,
    ggn: bool = False,
) -> dict[int, Result]:
    """Run the solvers to their ends.

    Args:
        objective: of B networks.
        theta: flat ``[total]``.
        solvers: by network.
        ggn: answer with the Gauss-Newton matrix instead of the Hessian.

    Returns:
        what each solver returned, by network.
    """
    results: dict[int, Result] = {}
    waiting: dict[int, torch.Tensor] = {}

    def advance(b: int, answer: torch.Tensor | None) -> None:
        try:
            waiting[b] = next(solvers[b]) if answer is None else solvers[b].send(answer)
        except StopIteration as stop:
            waiting.pop(b, None)
            results[b] = stop.value

    for b in solvers:
        advance(b, None)
    while waiting:
        rows = max(block.shape[0] for block in waiting.values())
        chosen = torch.tensor(sorted(waiting), dtype=torch.int64)
        at = Coordinates(objective, chosen)
        if not (rows and at.count):
            # Networks without coordinates: nothing to multiply.
            for b in chosen.tolist():
                advance(b, waiting[b].clone())
            continue
        packed = torch.zeros(rows, at.count, dtype=theta.dtype)
        for k, b in enumerate(chosen.tolist()):
            at.part(packed, k)[: waiting[b].shape[0]] = waiting[b].to(theta.dtype)
        vectors = torch.zeros(rows, theta.numel(), dtype=theta.dtype)
        vectors[:, at.places] = packed
        out = torch.zeros_like(vectors)
        objective.hvp(theta, vectors, out, at.active, ggn=ggn)
        answers = at.pack(out).to(torch.float64)
        for k, b in enumerate(chosen.tolist()):
            advance(b, at.part(answers, k)[: waiting[b].shape[0]].clone())
    return results
