"""One network, and few, on all cores: speed against threads, and what more cores would give.

    python -m benchmarks.cores [--threads 1 2 4]     measures; table, JSON and plot in the results
    python -m benchmarks.cores --simulate 64         measures nothing

Measured: rounds go over the numbers of threads in turn, so that a change of the machine's mood
meets all of them; the fastest round counts. Simulated: the core's own chunks on that many cores of
one speed, handed out as the core does (the dearest network first, threads without one take chunks),
with the plan's cost of a sample; no time is lost but by waiting for the last.
"""

from __future__ import annotations

import argparse
import heapq
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

import edt
from benchmarks import machine, settings, workload
from edt import Ensemble
from edt.functional import hessian, loss_and_grad
from edt.ops.checks import inputs_only
from edt.ops.compiled import structure

ROUNDS = 1 if settings.SMOKE else 7
MANY, PICTURES, BATCH = (5_000, 300, 64) if settings.SMOKE else (100_000, 60_000, 1_024)


@dataclass(frozen=True)
class Curve:
    """Best seconds of one case for every number of threads."""

    case: str
    threads: list[int]
    seconds: list[float]

    @property
    def speedup(self) -> list[float]:
        """Against one thread."""
        return [self.seconds[0] / s for s in self.seconds]


def cases() -> dict[str, Callable[[], object]]:
    """What is measured; each call returns when its work is done."""
    found: dict[str, Callable[[], object]] = {}
    for name, dtype in workload.DTYPES.items():
        one = workload.networks("softplus", dtype, widths=(64,), seeds=1, sparsity=None)
        task = workload.task(dtype, MANY)
        found[f"width 64, N {MANY:,}, gradient, {name}"] = _call(loss_and_grad, one, task)
        found[f"width 64, N {MANY:,}, Hessian, {name}"] = _call(hessian, one, task)
    lenet, pictures = workload.lenets(None, torch.float32, PICTURES, 1)
    found[f"LeNet-300-100, N {PICTURES:,}, gradient"] = _call(loss_and_grad, lenet, pictures)
    for sparsity in (None, 0.9):
        ens, small = workload.lenets(sparsity, torch.float32, BATCH * 4, 1)
        found[f"LeNet-300-100, sparsity {sparsity or 0}, 8 steps of {BATCH:,}"] = _steps(ens, small)
    return found


def _call(op: Callable[..., object], ens: Ensemble, task: edt.Task) -> Callable[[], object]:
    return lambda: op(ens, task)


def _steps(ens: Ensemble, task: edt.Task) -> Callable[[], object]:
    return lambda: edt.masked_train(
        task, ens, steps=8, lr=1e-3, optimizer="adam", batch_size=BATCH, progress=False
    )


def measure(threads: Sequence[int]) -> list[Curve]:
    """Every case on every number of threads."""
    before = torch.get_num_threads()
    curves = []
    try:
        for case, call in cases().items():
            best = dict.fromkeys(threads, float("inf"))
            for lap in range(ROUNDS + 1):
                for count in threads:
                    torch.set_num_threads(count)
                    begin = time.perf_counter()
                    call()
                    took = time.perf_counter() - begin
                    if lap > 0 or settings.SMOKE:  # the first warms up
                        best[count] = min(best[count], took)
            curves.append(Curve(case, list(threads), [best[count] for count in threads]))
    finally:
        torch.set_num_threads(before)
    return curves


def makespan(chunks: Sequence[Sequence[float]], cores: int) -> float:
    """Time until all networks are done, each given by the costs of its chunks."""
    left = sorted((list(reversed(own)) for own in chunks), key=sum, reverse=True)
    working: list[list[float]] = []
    free = [(0.0, core) for core in range(cores)]
    own: dict[int, list[float]] = {}
    last = 0.0
    while True:
        now, core = heapq.heappop(free)
        # Its own network first, then a fresh one, then whichever has most left.
        mine = own.get(core)
        if not mine and left:
            mine = own[core] = left.pop(0)
            working.append(mine)
        if not mine:
            working = [chunks_ for chunks_ in working if chunks_]
            mine = max(working, key=len, default=None)
        if not mine:
            return last
        end = now + mine.pop()
        last = max(last, end)
        heapq.heappush(free, (end, core))


def plan_of(ens: Ensemble) -> Any:
    """The core's own structure of the networks."""
    x = torch.zeros(1, ens.d_in, dtype=ens.dtype)
    return structure(inputs_only(ens, x)).plan


def simulate(cores: int) -> dict[str, float]:
    """Case -> share of the cores' time that is work."""
    lenet = workload.lenets(None, torch.float32, 2, 1)[0]
    plans = {
        f"1 of width 64, N {MANY:,}": (_wide(64, 1), MANY),
        f"1 LeNet-300-100, N {PICTURES:,}": (lenet, PICTURES),
        f"5 of width 64, N {MANY:,}": (_wide(64, 5), MANY),
        "100 of width 64, N 10,000": (_wide(64, 100), 10_000),
        "192 networks of W, N 1,024": (workload.networks("softplus", torch.float64), 1_024),
    }
    found = {}
    for case, (ens, samples) in plans.items():
        plan = plan_of(ens)
        costs = [
            [cost * size for size in sizes]
            for cost, sizes in zip(plan.cost, plan.chunks(samples), strict=True)
        ]
        found[case] = sum(map(sum, costs)) / (cores * makespan(costs, cores))
    return found


def _wide(width: int, seeds: int) -> Ensemble:
    return workload.networks("softplus", torch.float64, widths=(width,), seeds=seeds, sparsity=None)


def write(curves: Sequence[Curve]) -> None:
    """Table on the screen, JSON and plot in the results."""
    for curve in curves:
        pairs = zip(curve.threads, curve.seconds, curve.speedup, strict=True)
        print(f"{curve.case}: ", *(f"{t}: {s * 1e3:.2f} ms ({x:.2f}x)" for t, s, x in pairs))
    facts = machine.describe()
    path = settings.results_folder() / f"{machine.slug(facts)}-cores.json"
    path.write_text(json.dumps({"machine": facts, "curves": [asdict(c) for c in curves]}, indent=1))
    picture = path.with_suffix(".png")
    picture.write_bytes(_plot(curves, facts))
    print(path, picture, sep="\n")


def _plot(curves: Sequence[Curve], facts: dict[str, object]) -> bytes:
    from edt.show.style import LIGHT, new_figure, png, styled

    with styled(LIGHT):
        figure, axes = new_figure(size=(10.0, 6.5))
        ax = axes[0, 0]
        for marker, curve in zip("osvDP^X*", curves, strict=False):
            ax.plot(curve.threads, curve.speedup, marker=marker, label=curve.case)
        most = max(max(curve.threads) for curve in curves)
        ax.plot([1, most], [1, most], color=LIGHT.soft, linestyle="--", linewidth=1)
        ax.set_xlabel("threads")
        ax.set_ylabel("times as fast as one thread")
        ax.set_title(f"One network on all cores, {facts['cpu']}, {facts['isa']}")
        ax.legend(fontsize=10)
        return png(figure, dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+")
    parser.add_argument("--simulate", type=int, metavar="CORES")
    given = parser.parse_args(arguments)
    if given.simulate:
        for case, share in simulate(given.simulate).items():
            print(f"{case}: {share:.0%} of {given.simulate} cores at work")
        return
    powers = [2**k for k in range(12) if 2**k < settings.THREADS]
    write(measure(given.threads or [*powers, settings.THREADS]))


if __name__ == "__main__":
    main()
