"""What a loss other than mse, and a look every 100 steps, cost a training run: ratios, in one run.

    python -m benchmarks.loops [--rounds 8] [--only losses|hooks]

Workload W (`benchmarks.workload`), float64 and float32. Both sides of a ratio are trained in turn,
so that a change of the machine's mood meets both; a ratio is that of the fastest rounds. The median
of the rounds' own ratios beside it says how quiet the machine was. Bounds: a step with bce takes at
most 1.3 times that with mse, and ``on_record`` every 100 steps at most 2% more than recording them.
A look costs the same whatever a step does (but for the losses that it is given, a forward pass), so
its microseconds are those of networks that cost nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import edt
from benchmarks import machine, settings, timing, workload

STEPS = 4 if settings.SMOKE else 20
HOOK_EVERY = 4 if settings.SMOKE else 100
HOOKS = 3
LOSSES = ("bce", "logistic", "huber")
#: Most that a loss, and a hook, may take of what is without it.
LOSS_BOUND, HOOK_BOUND = 1.3, 1.02


def _task(loss: str, dtype: torch.dtype) -> edt.Task:
    plain = workload.task(torch.float64)
    y = (plain.y > 0).double() if loss in ("bce", "logistic") else plain.y
    return edt.Task(plain.x, 2 * y - 1 if loss == "logistic" else y, loss).to(dtype)


def _train(task: edt.Task, networks: edt.Ensemble, steps: int, **more: Any) -> Callable[[], object]:
    more = {"record": None, **more}
    return lambda: edt.masked_train(
        task, networks, steps=steps, lr=workload.LEARNING_RATE, device="cpu", progress=False, **more
    )


def ratio(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """(ratio of the fastest rounds, median of the rounds' ratios) of each call to the first."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for turn in range(rounds):
        for name, call in list(calls.items())[:: 1 if turn % 2 else -1]:
            clock = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - clock)
            # A process that never pauses is made to, where it runs before all others.
            time.sleep(0.06 * times[name][-1])
    first = next(iter(times.values()))
    return {
        name: (
            min(mine) / min(first),
            statistics.median(a / b for a, b in zip(mine, first, strict=True)),
        )
        for name, mine in times.items()
    }


def losses(rounds: int) -> list[dict[str, Any]]:
    """A row for each loss, activation and dtype."""
    rows = []
    for activation in ("softplus", "tanh"):
        for name, dtype in workload.DTYPES.items():
            networks = workload.networks(activation, dtype)
            calls = {loss: _train(_task(loss, dtype), networks, STEPS) for loss in ("mse", *LOSSES)}
            found = ratio(calls, rounds)
            rows += [
                {
                    "what": f"{loss} / mse, {activation}, {name}",
                    "ratio": found[loss],
                    "bound": LOSS_BOUND,
                }
                for loss in LOSSES
            ]
    return rows


def hooks(rounds: int) -> list[dict[str, Any]]:
    """A row for W, and one for a look by itself, in microseconds."""
    networks, task = workload.networks("tanh", torch.float64), _task("mse", torch.float64)
    found = ratio(_hooks(task, networks, HOOKS * HOOK_EVERY), rounds)["hooks"]
    tiny = edt.Task(task.x[:4], task.y[:4])
    calls = _hooks(tiny, networks.select(range(min(8, networks.B))), 50 * HOOK_EVERY)
    plain, hooked = (timing.quick_time(call, rounds=9) for call in calls.values())
    what = f"hook every {HOOK_EVERY} steps"
    return [
        {"what": what, "ratio": found, "bound": HOOK_BOUND},
        {"what": "a hook by itself, us", "ratio": (1e6 * (hooked - plain) / 50,) * 2},
    ]


def _hooks(task: edt.Task, networks: edt.Ensemble, steps: int) -> dict[str, Callable[[], object]]:
    more = {"on_record": lambda step, networks, losses: None}
    return {
        "recorded": _train(task, networks, steps, record=HOOK_EVERY),
        "hooks": _train(task, networks, steps, record=HOOK_EVERY, **more),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2 if settings.SMOKE else 8)
    parser.add_argument("--only", choices=("losses", "hooks"))
    chosen = parser.parse_args()
    rows = []
    for name, measure in (("losses", losses), ("hooks", hooks)):
        if chosen.only in (None, name):
            rows += measure(chosen.rounds)
    for row in rows:
        best, median = row["ratio"]
        bound = f"(median {median:.3f}, at most {row['bound']})" if "bound" in row else ""
        print(f"{row['what']:<36} {best:7.3f}  {bound}")
    facts = machine.describe()
    words = "loops" if chosen.only is None else chosen.only
    path = settings.results_folder() / f"{machine.slug(facts)}-{words}.json"
    path.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
