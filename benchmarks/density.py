"""Accuracies of sparse networks by edt and by plain PyTorch, at 31.6, 10 and 3.2% of the weights.

    python -m benchmarks.density [--seeds 5] [--steps 600] [--only grasp 0.316]

Six linear layers of width 100 on the digits, Adam at 1e-3, minibatches of 64. Initial values, order
of samples and random masks are drawn apart, so that only the distributions can agree: the table has
means and standard deviations over the seeds, and the difference with its 95% interval (Welch).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from scipy import stats

import edt
from benchmarks import plain_sparse
from edt.lottery.criteria import grasp, snip, synflow_prune
from edt.lottery.dynamic import SET, RigL
from edt.lottery.prune import keep_highest

DENSITIES = (0.316, 0.1, 0.032)
SIZES = [64, 100, 100, 100, 100, 100, 10]
NAMES = {
    "snip": "SNIP", "grasp": "GraSP", "synflow": "SynFlow", "set": "SET",
    "set zeros": "SET, all zeros go", "rigl": "RigL",
}  # fmt: skip


def pruned(method: str, task: edt.Task, networks: edt.Ensemble, density: float) -> edt.Ensemble:
    """Networks with their masks before training."""
    if method == "synflow":
        return synflow_prune(networks, density)  # type: ignore[no-any-return]
    if method in ("snip", "grasp"):
        scores = (snip if method == "snip" else grasp)(task, networks)
        return networks.with_state(keep_highest(networks, scores, density, "global"))
    scores = torch.rand(networks.total, generator=torch.Generator().manual_seed(7))
    return networks.with_state(keep_highest(networks, scores, density, "layer"))


def ours(
    method: str, density: float, seeds: int, train: edt.Task, test: edt.Task, steps: int
) -> list[float]:
    """Test accuracies, one a seed."""
    start = edt.Ensemble.init(
        [tuple(SIZES[1:-1])], range(seeds), d_in=SIZES[0], d_out=SIZES[-1], activation="relu",
        scheme="he", dtype=torch.float32,
    )  # fmt: skip
    every, share = plain_sparse.EVERY, plain_sparse.FRACTION
    updates = {
        "set": SET(every=every, fraction=share),
        "set zeros": SET(every=every, fraction=share, zeros=True),
        "rigl": RigL(every=every, fraction=share),
    }
    result = edt.masked_train(
        train, pruned(method, train, start, density), lr=1e-3, steps=steps, batch_size=64,
        data_seed=range(seeds), mask_updates=updates.get(method), record=None, progress=False,
    )  # fmt: skip
    outputs = edt.predict(result.networks, test.x)
    return (outputs.argmax(-1) == test.y).double().mean(-1).tolist()  # type: ignore[no-any-return]


def row(method: str, density: float, mine: Sequence[float], theirs: Sequence[float]) -> str:
    """One line of the table, in percent."""
    a, b = (100 * torch.tensor(each, dtype=torch.float64) for each in (mine, theirs))
    found = stats.ttest_ind(a.numpy(), b.numpy(), equal_var=False).confidence_interval()
    return (
        f"| {NAMES[method]} | {100 * density:.1f}% | {a.mean():.1f} ({a.std():.1f}) "
        f"| {b.mean():.1f} ({b.std():.1f}) "
        f"| {a.mean() - b.mean():+.1f} ({found.low:.1f} to {found.high:.1f}) |"
    )


def main() -> None:
    """Measure, print the table, keep the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", nargs=2, metavar=("METHOD", "DENSITY"), help="one row")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/density.json"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # matrices of a hundred: threads only wait for each other
    train, test = (edt.tasks.digits(part, dtype=torch.float32) for part in ("train", "test"))
    print("| method | weights left | edt, % | plain PyTorch, % | difference, points |")
    print("|---|---|---|---|---|")
    found = []
    for method in plain_sparse.METHODS:
        for density in DENSITIES:
            if chosen.only not in (None, [method, str(density)]):
                continue
            mine = ours(method, density, chosen.seeds, train, test, chosen.steps)
            theirs = [
                plain_sparse.accuracy(
                    method, density, seed, SIZES, (train.x, train.y), (test.x, test.y), chosen.steps
                )
                for seed in range(chosen.seeds)
            ]
            print(row(method, density, mine, theirs), flush=True)
            found.append({"method": method, "density": density, "edt": mine, "torch": theirs})
    chosen.out.write_text(json.dumps({**vars(chosen), "out": None, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
