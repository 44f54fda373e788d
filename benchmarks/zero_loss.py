"""Students of teachers to the bottom: how they end, cell by cell, and what keeps some above zero.

    python -m benchmarks.zero_loss [activation ...]   (writes benchmarks/results/zero_loss.json)

Cells are activation x d_in x width of the student (teacher width 4, N 1,000), a few with a teacher
of width 5 or N 10,000, and two teachers that are harder, ten seeds each. A student narrower than
its teacher has no zero to reach. The others are counted as

- *zero*: loss below 1e-25;
- *floor*: above, but within 100 times of what rounding its parameters makes (`loss_floor`);
- *minimum*: converged, and the loss is above 1e-8 of the targets' size, or all eigenvalues are
  positive, or the residual is orthogonal to the range of the Jacobian: no first-order change
  lowers it;
- *open*: the rest. Each is listed with its numbers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import edt
from edt.tasks.given import objective_of

SMOKE = bool(os.environ.get("EDT_BENCH_SMOKE"))
ACTIVATIONS = ("softplus", "tanh", "erf", "g", "sigmoid")
SEEDS = 2 if SMOKE else 10
RESULT = Path(__file__).parent / "results" / "zero_loss.json"
#: Loss that counts as zero, and share of the targets' size that is on its way there.
ZERO, GOOD = 1e-25, 1e-8
#: Multiples of `loss_floor` that count as rounding.
ROUNDING = 100.0
#: Share of the squared residual outside the Jacobian's range that makes a minimum above zero.
ORTHOGONAL = 0.5


@dataclass(frozen=True)
class Cell:
    """One kind of student on one task."""

    activation: str
    d_in: int
    width: int
    teacher: int = 4
    samples: int = 1000
    seed: int = 0  # of the teacher

    def __str__(self) -> str:
        more = "" if self.teacher == 4 else f", teacher {self.teacher}"
        more += "" if self.samples == 1000 else f", N {self.samples:,}"
        more += f", teacher's seed {self.seed}" if self.seed else ""
        return f"{self.activation}, {self.d_in} -> {self.width}{more}"


def cells(activations: Sequence[str]) -> Iterator[Cell]:
    """The grid, then the larger ones."""
    dims, widths = ((2,), (3, 6)) if SMOKE else ((2, 5, 8), (3, 6, 12, 32))
    for activation in activations:
        for d_in in dims:
            for width in widths:
                yield Cell(activation, d_in, width)
    if SMOKE:
        return
    for activation in activations:
        yield Cell(activation, 2, 10, teacher=5)
        yield Cell(activation, 2, 12, samples=10_000)
    for activation in activations:
        for teacher, seed in ((4, 1), (5, 2)):
            for d_in in (2, 3):
                for width in (5, 8, 16, 24):
                    yield Cell(activation, d_in, width, teacher=teacher, seed=seed)


def outside(ends: edt.training.ConvergeResult, task: edt.Task, b: int) -> float:
    """Share of the squared residual that is orthogonal to the range of the Jacobian."""
    one = ends.networks.network(b)
    objective = objective_of(one, task, torch.zeros(1, dtype=torch.int64))
    both = objective.jacobians(one.theta, torch.arange(1))[0]  # type: ignore[attr-defined]
    factor = torch.linalg.qr(both, mode="r")[1]
    return float(factor[-1, -1] ** 2 / (both[:, -1] ** 2).sum())


def kinds(ends: edt.training.ConvergeResult, task: edt.Task, cell: Cell) -> list[str]:
    """What each network is counted as."""
    size = float((task.y**2).sum(1).mean())
    out = []
    for b, status in enumerate(ends.status):
        loss = float(ends.loss[b])
        if loss < ZERO:
            out.append("zero")
        elif loss <= ROUNDING * float(ends.loss_floor[b]):
            out.append("floor")
        elif status == "channel":
            out.append("channel")
        elif status == "converged" and (
            ends.verdict[b] == "minimum"
            or loss > GOOD * size
            or cell.width < cell.teacher
            or outside(ends, task, b) > ORTHOGONAL
        ):
            out.append("minimum")
        else:
            out.append("open")
    return out


def main(activations: Sequence[str]) -> None:
    """Print the table and the networks that are open."""
    print("| student | statuses | zero | worst | floor | minimum | channel | open | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    total: Counter[str] = Counter()
    wide: Counter[str] = Counter()
    listed = []
    record = []
    for cell in cells(activations):
        task = edt.tasks.teacher_student(
            cell.d_in, cell.teacher, n=cell.samples, activation=cell.activation, seed=cell.seed
        )
        ens = edt.Ensemble.init(
            widths=[cell.width], seeds=range(SEEDS), d_in=cell.d_in, d_out=1,
            activation=cell.activation,
        )  # fmt: skip
        began = time.monotonic()
        ends = edt.converge(task, ens, progress=False)
        seconds = time.monotonic() - began
        found = kinds(ends, task, cell)
        total.update(ends.status)
        counts = Counter(found)
        if cell.width >= cell.teacher:
            wide.update(counts)
        record.append(
            asdict(cell) | {
                "ends": dict(counts), "statuses": dict(Counter(ends.status)),
                "open": [float(v) for v, kind in zip(ends.loss, found, strict=True)
                         if kind == "open"],
            }
        )  # fmt: skip
        reached = [float(v) for v, kind in zip(ends.loss, found, strict=True) if kind == "zero"]
        statuses = ", ".join(f"{n} {name}" for name, n in Counter(ends.status).most_common())
        print(
            f"| {cell} | {statuses} | {counts['zero']} | "
            f"{f'{max(reached):.0e}' if reached else ''} | "
            + " | ".join(str(counts[k] or "") for k in ("floor", "minimum", "channel", "open"))
            + f" | {seconds:.1f} |",
            flush=True,
        )
        for b, kind in enumerate(found):
            if cell.width >= cell.teacher and kind not in ("zero", "minimum"):
                listed.append(
                    f"- {cell}, seed {b}: {kind}, {ends.status[b]} ({ends.verdict[b]}), loss "
                    f"{float(ends.loss[b]):.1e}, gradient {float(ends.grad_max[b]):.0e}, floor "
                    f"{float(ends.loss_floor[b]):.0e}, largest weight "
                    f"{float(ends.networks.network(b).theta.abs().max()):.1f}, closest opponents "
                    f"{float(ends.closeness[b]):.0e}"
                )
    print(f"\nAll: {', '.join(f'{n} {name}' for name, n in total.most_common())}.")
    print(f"At least as wide as the teacher: {dict(wide)}.")
    print("\n".join(listed))
    if not SMOKE:
        RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ACTIVATIONS)
