"""Census of minima: how many different ones there are, how often each is met, how many are unseen.

Runs are sorted three times, each finer than the last:

- *level*: equal loss (`loss_levels`);
- *function*: equal outputs on the data;
- *core*: equal irreducible parameters up to permutation and the activation's symmetries
  (`reduce_network`, `aligned_distance`).

A *minimum* is a core, so a narrow minimum and its embeddings into wider networks are one. Networks
are of neurons, or modules made of convolutions and linear layers, whose units are channels. Where
the function does not determine the parameters, the function decides: for good runs, whose minima
form continua, for flat ones beyond what the core removes, and for soft ones, where a step of the
parameters' tolerance along the softest direction, ``|step| sqrt(lambda_min / 2)`` in the outputs,
stays within the tolerance of functions.

Counts of what is unseen (Good-Turing, Chao1) take one start for one draw: they speak about minima
as often met as by this training, not about all critical points.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from edt import functional
from edt.landscape.align import aligned_distance
from edt.landscape.census_tables import census_table, minimum_table, prediction_table
from edt.landscape.irreducible import Core, reduce_network
from edt.landscape.layers import target_of
from edt.landscape.levels import loss_levels
from edt.landscape.minima import Minima
from edt.landscape.outcome import UNCERTIFIED
from edt.landscape.stages import hidden_widths, layers_of, sample_shaped
from edt.ops.threads import one_blas_thread
from edt.tasks import Task
from edt.tasks.given import samples_of

#: Outcomes that are minima.
SETTLED = ("good", "bad")


@dataclass(frozen=True)
class Tolerances:
    """What counts as equal. Defaults sit in wide gaps: see `Census.gaps`.

    Attributes:
        level: relative step between losses that starts a new level.
        function: root mean square difference of outputs, in standard deviations of the target.
        parameters: relative distance of aligned cores.
        reduction: change of the outputs that reducing a network may cost, in standard deviations
            of the target. At loss 0 copies need only agree to the fourth root of rounding; merging
            them then changes outputs by its square root.
    """

    level: float = 1e-6
    function: float = 1e-5
    parameters: float = 1e-3
    reduction: float = 1e-6


@dataclass
class Census:
    """What was found.

    Attributes:
        runs: one row a run: ``run``, ``target``, ``width``, ``widths``, ``outcome``, ``verdict``,
            ``label``, ``loss``, ``index``; ``level``, ``function``, ``core``, ``minimum`` (numbers
            from 0 over all targets and widths, -1 for runs that are not at a minimum);
            ``core_width`` and how it came to be less than the width: ``duplicates``, ``dead``,
            ``constant``, ``cancelled`` (-1 for runs that are not at the bottom, good ones
            included).
        minima: one row a minimum, see `edt.landscape.census_tables.minimum_table`.
        cores: the core of each run; None where it is not at the bottom.
        tolerances: what counted as equal.
        gaps: for "function" and "parameters", the largest distance taken for equal and the least
            taken for different, among bad runs of one level (for parameters, of one function):
            (joined, parted). The tolerance is safe where it lies far from both.
    """

    runs: pd.DataFrame
    minima: pd.DataFrame
    cores: list[Core | None]
    tolerances: Tolerances
    gaps: dict[str, tuple[float, float]] = field(default_factory=dict)

    def table(self, conf: float = 0.95) -> pd.DataFrame:
        """Per target and width: shares, distinct minima, coverage, unseen; see `census_table`."""
        return census_table(self.runs, conf)

    def prediction(self, r: int) -> pd.DataFrame:
        """The count of subspaces beside the measured shares; see `prediction_table`."""
        return prediction_table(self.runs, r)

    def representatives(self, outcome: str = "bad") -> torch.Tensor:
        """One run for each distinct minimum with this outcome, int64, most frequent first."""
        chosen = self.minima[self.minima["outcome"] == outcome]
        ordered = chosen.sort_values(["count", "minimum"], ascending=[False, True])
        return torch.tensor(ordered["representative"].to_numpy(dtype=np.int64))

    def __repr__(self) -> str:
        kinds = self.minima["outcome"].value_counts()
        return (
            f"Census({len(self.runs)} runs: {int(kinds.get('bad', 0))} bad minima, "
            f"{int(kinds.get('good', 0))} good)"
        )


def census(task: Task, minima: Minima, tolerances: Tolerances | None = None) -> Census:
    """Count distinct minima among the ends of many runs.

    Args:
        task: the data the runs were trained on.
        minima: from `find_minima`. For bad minima to be told apart they must be at the bottom
            (``max|grad| <= 1e-10``); good runs need not be.
        tolerances: what counts as equal.

    Returns:
        `Census`.

    Raises:
        TypeError: minima of something else, or of modules that are no chain of convolutions and
            linear layers (`edt.landscape.stages`).

    Example:
        >>> found = census(task, find_minima(task, widths=[3, 4], seeds=range(200)))
        ... # doctest: +SKIP
        >>> found.table()[["width", "bad_share", "distinct", "coverage"]]  # doctest: +SKIP

    Reference: B. Simsek et al., ICML 2021, arXiv 2105.12221 (irreducible points); A. Chao,
    Biometrics 43 (1987) 783; I. J. Good, Biometrika 40 (1953) 237.
    """
    if not isinstance(minima, Minima):
        raise TypeError(f"minima must come from find_minima, got {type(minima).__name__}")
    task = samples_of(task)
    hidden_widths(minima.networks, "minima.networks")  # names what is no chain
    limits = tolerances or Tolerances()
    runs = _frame(minima)
    settled = runs["outcome"].isin(SETTLED)
    # Good runs that stopped above the bottom are near no core yet.
    finished = runs["outcome"].eq("bad") | (
        runs["outcome"].eq("good") & np.array([word == "converged" for word in minima.status])
    )
    cores: list[Core | None] = [None] * len(minima)
    sizes = task.variance.sqrt().tolist()
    ens = minima.networks
    outputs = functional.predict(ens, task, task_index=minima.task_index)
    with one_blas_thread():
        for b in np.flatnonzero(finished).tolist():
            target = int(minima.task_index[b])
            x, _, coef = target_of(task, target)
            cores[b] = reduce_network(
                layers_of(ens, b),
                getattr(ens, "activation", ""),
                sample_shaped(ens, x.to(torch.float64)),
                coef.to(torch.float64),
                limits.reduction * sizes[target],
            )
        sorter = _Sorter(
            task, outputs, cores, runs, _determined(minima, sizes, limits), sizes, limits
        )
        for _, group in runs[settled].groupby("target", sort=True):
            sorter.sort(group)
    for name in ("duplicates", "dead", "constant", "cancelled"):
        runs[name] = [-1 if core is None else getattr(core, name) for core in cores]
    runs["core_width"] = [-1 if core is None else core.width for core in cores]
    gaps = {
        "function": (sorter.joined[0], sorter.parted[0]),
        "parameters": (sorter.joined[1], sorter.parted[1]),
    }
    return Census(runs, minimum_table(runs), cores, limits, gaps)


def _frame(minima: Minima) -> pd.DataFrame:
    frame = minima.to_pandas().rename(columns={"task_index": "target"})
    names = ["run", "target", "width", "widths", "outcome", "verdict", "label", "loss", "index"]
    return frame[names].assign(level=-1, function=-1, core=-1, minimum=-1)


def _determined(minima: Minima, sizes: list[float], limits: Tolerances) -> list[bool]:
    """Whether the outputs pin down the parameters of a run to the tolerance asked for."""
    ens = minima.networks
    lengths = ens.offsets[1:] - ens.offsets[:-1]
    norm = torch.segment_reduce(ens.theta.square(), "sum", lengths=lengths).sqrt()
    change = limits.parameters * norm * (0.5 * minima.min_eig.clamp_min(0.0)).sqrt()
    scale = torch.tensor(sizes, dtype=torch.float64)[minima.task_index]
    shown = (change > limits.function * scale).tolist()
    sharp = [
        label == "minimum" if label != UNCERTIFIED else verdict == "minimum"
        for label, verdict in zip(minima.label, minima.verdict, strict=True)
    ]
    return [seen and one for seen, one in zip(shown, sharp, strict=True)]


class _Sorter:
    """Gives runs their level, function, core and minimum; numbers go on over the targets."""

    def __init__(
        self,
        task: Task,
        outputs: torch.Tensor,
        cores: list[Core | None],
        runs: pd.DataFrame,
        determined: list[bool],
        sizes: list[float],
        limits: Tolerances,
    ) -> None:
        self.task, self.outputs, self.cores = task, outputs.to(torch.float64), cores
        self.runs, self.sizes, self.limits = runs, sizes, limits
        self.determined = determined
        self.next = {"level": 0, "function": 0, "core": 0, "minimum": 0}
        self.joined = [0.0, 0.0]
        self.parted = [float("inf"), float("inf")]

    def sort(self, group: pd.DataFrame) -> None:
        """Sort the settled runs of one target."""
        target = int(group["target"].iloc[0])
        good = group.index[group["outcome"] == "good"]
        bad = group[group["outcome"] == "bad"]
        if len(good) and self.task.loss == "mse" and self._near_zero(group.loc[good], target):
            # Each is within its own small loss of the target, hence of the others.
            self._label(good, "level")
            self._label(good, "function")
            self._cores(good.tolist(), self._number("minimum"))
        elif len(good):
            bad = group
        label = loss_levels(bad["loss"].to_numpy(), self.limits.level).label
        for level in sorted(set(label.tolist())):
            members = bad.index[label == level]
            self._label(members, "level")
            for function in self._functions(members.tolist(), target):
                self._label(pd.Index(function), "function")
                self._cores(function, None)

    def _near_zero(self, good: pd.DataFrame, target: int) -> bool:
        return bool((good["loss"] < 1e-6 * self.sizes[target] ** 2).all())

    def _functions(self, members: list[int], target: int) -> list[list[int]]:
        """Groups of equal outputs: leader clustering in order of loss."""
        coef = self.task.coef[target].to(torch.float64)[:, None]
        ordered = sorted(members, key=lambda b: (self.runs["loss"][b], b))
        groups: list[list[int]] = []
        for b in ordered:
            for group in groups:
                gap = self.outputs[b] - self.outputs[group[0]]
                distance = float((coef * gap.square()).sum()) ** 0.5 / self.sizes[target]
                if self._same(0, distance, self.limits.function):
                    group.append(b)
                    break
            else:
                groups.append([b])
        return groups

    def _cores(self, members: list[int], everyone: int | None) -> None:
        """Number the cores of runs with one function, and from them the minima."""
        leaders: list[tuple[int, int, int]] = []  # (run, core, minimum)
        flat = everyone
        for b in sorted(members, key=lambda b: (not self.determined[b], b)):
            if self.cores[b] is None:
                # Where loss 0 is out of reach, a good run above the bottom is at no minimum yet.
                if everyone is not None:
                    self.runs.loc[b, "minimum"] = everyone
                continue
            sharp = self.determined[b] and everyone is None
            known = next((k for k in leaders if self._equal_cores(k[0], b, sharp)), None)
            if known is None:
                core = self._number("core")
                if sharp:
                    minimum = self._number("minimum")
                else:
                    flat = minimum = self._number("minimum") if flat is None else flat
                known = (b, core, minimum)
                leaders.append(known)
            self.runs.loc[b, ["core", "minimum"]] = known[1:]

    def _equal_cores(self, a: int, b: int, note: bool) -> bool:
        one, other = self.cores[a], self.cores[b]
        assert one is not None
        assert other is not None
        distance = aligned_distance(one, other)
        if not note:  # one function, a continuum of cores: no gap is to be expected
            return distance <= self.limits.parameters
        return self._same(1, distance, self.limits.parameters)

    def _same(self, which: int, distance: float, tolerance: float) -> bool:
        if distance <= tolerance:
            self.joined[which] = max(self.joined[which], distance)
            return True
        self.parted[which] = min(self.parted[which], distance)
        return False

    def _label(self, members: pd.Index, name: str) -> None:
        self.runs.loc[members, name] = self._number(name)

    def _number(self, name: str) -> int:
        self.next[name] += 1
        return self.next[name] - 1
