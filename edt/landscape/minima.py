"""`find_minima`: train many starts to the bottom, and say where each one ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.ensemble.arrays import integers, reals
from edt.ensemble.kinds import Networks
from edt.errors import unknown_choice
from edt.frames import Tabular
from edt.landscape.certificates import Certificates, certify
from edt.landscape.outcome import OUTCOMES, UNCERTIFIED, outcomes
from edt.landscape.stages import hidden_widths as layer_widths
from edt.scalars import integer, number
from edt.tasks import Task
from edt.tasks.given import samples_of
from edt.training import ConvergeResult, converge, masked_train
from edt.training.structure import hidden_widths

FINISH = ("all", "bad")
#: L-BFGS iterations between two looks at who is good already.
_ROUND = 500
#: Verdict of a run that was good before its Hessian was looked at.
UNMEASURED = "unmeasured"


@dataclass
class Minima(Tabular):
    """Where B runs ended.

    Attributes:
        networks: float64 ensemble, of either kind.
        task_index: int64 ``[B]``.
        loss, grad_max: float64 ``[B]``.
        threshold: float64 ``[B]``, loss at or below which a run is good.
        outcome: ``[B]`` words of `edt.landscape.OUTCOMES`.
        status, verdict: ``[B]``, as in `edt.training.ConvergeResult`; the verdict is "unmeasured"
            for runs that were good before `edt.converge` was needed.
        index, n_flat: int64 ``[B]``, negative and zero eigenvalues; -1 where not computed.
        min_eig: float64 ``[B]``, the smallest eigenvalue; NaN likewise.
        iterations: int64 ``[B]``, first-order steps, L-BFGS and Newton iterations together.
        label: ``[B]``, certified labels (`edt.landscape.LABELS`); "uncertified" where a run was
            good before, certificates were not asked for, or networks are of torch modules.
    """

    networks: Any
    task_index: torch.Tensor
    loss: torch.Tensor
    grad_max: torch.Tensor
    threshold: torch.Tensor
    outcome: list[str]
    status: list[str]
    verdict: list[str]
    index: torch.Tensor
    n_flat: torch.Tensor
    min_eig: torch.Tensor
    iterations: torch.Tensor
    label: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.label = self.label or [UNCERTIFIED] * len(self.status)

    @classmethod
    def of(cls, ended: ConvergeResult, threshold: Any) -> Minima:
        """Wrap what `edt.converge` returned.

        Args:
            ended: the runs.
            threshold: loss that counts as good, a number or ``[B]``.
        """
        height = reals("threshold", threshold).expand(ended.loss.shape).clone()
        return cls(
            networks=ended.networks,
            task_index=ended.task_index,
            loss=ended.loss,
            grad_max=ended.grad_max,
            threshold=height,
            outcome=outcomes(ended.loss, height, ended.verdict, ended.status),
            status=ended.status,
            verdict=ended.verdict,
            index=ended.index,
            n_flat=ended.n_flat,
            min_eig=ended.min_eig,
            iterations=ended.iterations,
        )

    def __len__(self) -> int:
        return len(self.outcome)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {word}" for word, n in Counter(self.outcome).most_common())
        return f"Minima({len(self)} runs: {counts})"

    def where(self, *words: str) -> torch.Tensor:
        """int64 indices of the runs with one of the given outcomes."""
        for word in words:
            if word not in OUTCOMES:
                raise unknown_choice("outcome", word, OUTCOMES)
        return torch.tensor([b for b, word in enumerate(self.outcome) if word in words]).long()

    def select(self, chosen: torch.Tensor) -> Minima:
        """The chosen runs, by int64 indices (at least one)."""
        rows = chosen.tolist()
        parts: dict[str, Any] = {"networks": self.networks.select(chosen)}
        for entry in fields(self)[1:]:
            value = getattr(self, entry.name)
            parts[entry.name] = (
                value[chosen] if isinstance(value, torch.Tensor) else [value[b] for b in rows]
            )
        return Minima(**parts)

    def to_pandas(self) -> pd.DataFrame:
        """One row a run; ``width`` counts hidden units, channels among them."""
        frame = pd.DataFrame({"run": range(len(self)), "widths": hidden_widths(self.networks)})
        frame["width"] = layer_widths(self.networks, "networks").sum(dim=1).tolist()
        for entry in fields(self)[1:]:
            value = getattr(self, entry.name)
            frame[entry.name] = value.tolist() if isinstance(value, torch.Tensor) else value
        return frame


def find_minima(
    task: Task,
    networks: Networks | None = None,
    *,
    widths: Any = None,
    seeds: Any = None,
    activation: str | None = None,
    init: str | None = None,
    task_index: Any = None,
    steps: int = 2000,
    lr: Any = 0.01,
    schedule: Any = "cosine",
    good: float = 1e-8,
    realisable: bool = True,
    finish: str = "bad",
    tol: float = 1e-10,
    lbfgs_steps: int = 2000,
    newton_steps: int = 200,
    certify_steps: int = 600,
    progress: bool = True,
) -> Minima:
    """Train every start to the bottom: full-batch Adam, L-BFGS, Newton; then certify what is there.

    Args:
        task: data.
        networks: starts; or None, and then ``widths`` x ``seeds`` random ones of ``activation``
            ("tanh") and ``init`` ("glorot"), as in `edt.masked_train`. Networks of torch modules
            must be chains of convolutions and linear layers (`edt.landscape.stages`), in float64.
        task_index: int64 ``[B]``, default 0.
        steps, lr, schedule: of Adam; ``steps=0`` goes straight to `edt.converge`.
        good: a run is good at or below ``good`` times the target's variance if ``realisable``
            (loss 0 is possible), else within this share above the lowest loss any run reached.
        realisable: see ``good``.
        finish: "bad" stops a run once it is good (realisable tasks; near loss 0 the valleys are
            flat and Newton is slow there); "all" drives every run to the bottom.
        tol, lbfgs_steps, newton_steps: as in `edt.converge`.
        certify_steps: budget of `edt.landscape.certify` for runs that are not good: what is called
            bad is a minimum that more optimisation does not move. 0, and networks of torch modules:
            take `edt.converge`'s word.
        progress: show progress bars on a terminal.

    Returns:
        `Minima`.

    Raises:
        ValueError, TypeError: an argument is wrong.
        KeyboardInterrupt: Ctrl-C.

    Example:
        >>> minima = find_minima(task, widths=[4, 6], seeds=range(100))  # doctest: +SKIP
        >>> bad = minima.select(minima.where("bad"))  # doctest: +SKIP
    """
    if finish not in FINISH:
        raise unknown_choice("finish", finish, FINISH)
    good = number("good", good)
    index = integers("task_index", 0 if task_index is None else task_index)
    if networks is not None:
        layer_widths(networks, "networks")
    task = samples_of(task)
    if not realisable:
        finish = "all"
    limit = good * task.variance
    trained = masked_train(
        task,
        networks,
        widths=widths,
        seeds=seeds,
        activation=activation,
        init="glorot" if init is None and networks is None else init,
        task_index=None if task_index is None else index,
        optimizer="adam",
        steps=steps,
        lr=lr,
        schedule=schedule,
        loss_target=float(limit.min()) if finish == "bad" else None,
        dtype=torch.float64,
        record=None,
        progress=progress,
    )
    _stop(trained.interrupted)
    ens, index = trained.networks, trained.task_index
    runs = Minima(
        networks=ens,
        task_index=index,
        loss=trained.loss.clone(),
        grad_max=trained.grad_norm.clone(),
        threshold=limit[index],
        outcome=[],
        status=list(trained.status),
        verdict=[UNMEASURED] * ens.B,
        index=torch.full((ens.B,), -1),
        n_flat=torch.full((ens.B,), -1),
        min_eig=torch.full((ens.B,), float("nan"), dtype=torch.float64),
        iterations=trained.steps.clone(),
    )
    drive_down(
        task,
        runs,
        stop_good=finish == "bad",
        tol=tol,
        lbfgs_steps=lbfgs_steps,
        newton_steps=newton_steps,
        progress=progress,
    )
    if integer("certify_steps", certify_steps, 0):
        certify_runs(task, runs, stop_good=finish == "bad", steps=certify_steps, progress=progress)
    if not realisable:
        for t in sorted(set(index.tolist())):
            known = runs.loss[(index == t) & torch.isfinite(runs.loss)]
            if known.numel():
                runs.threshold[index == t] = float(known.min()) * (1.0 + good)
    runs.outcome = outcomes(runs.loss, runs.threshold, runs.verdict, runs.status, runs.label)
    return runs


def certify_runs(task: Task, runs: Minima, *, stop_good: bool, steps: int, progress: bool) -> None:
    """Push and label runs, in place; fills everything but the outcome.

    Nothing happens to networks of torch modules: which of their directions change nothing is not
    known of all of them.

    Args:
        task: data.
        runs: where they stand; diverged ones are left alone.
        stop_good: leave those below their threshold as they are.
        steps, progress: as in `edt.certify`.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if not isinstance(runs.networks, Ensemble):
        return
    going = np.array([word != "diverged" for word in runs.status])
    if stop_good:
        going &= (runs.loss > runs.threshold).numpy()
    chosen = torch.from_numpy(np.flatnonzero(going))
    if not chosen.numel():
        return
    found: Certificates = certify(
        task, runs.networks.select(chosen), task_index=runs.task_index[chosen], steps=steps,
        progress=progress,
    )  # fmt: skip
    theta = runs.networks.theta.clone()
    theta[runs.networks.positions(chosen)] = found.networks.theta
    runs.networks = runs.networks.with_theta(theta)
    for name in ("loss", "grad_max"):
        getattr(runs, name)[chosen] = getattr(found, name)
    for place, b in enumerate(chosen.tolist()):
        at = found.standings[place]
        runs.label[b] = found.label[place]
        if at.measured:
            runs.index[b], runs.n_flat[b], runs.min_eig[b] = at.index, at.n_zero, at.min_eig
        runs.iterations[b] += at.steps


def drive_down(
    task: Task,
    runs: Minima,
    *,
    stop_good: bool,
    tol: float,
    lbfgs_steps: int,
    newton_steps: int,
    progress: bool,
) -> None:
    """Drive runs to the bottom, in place; fills everything but the outcome.

    Args:
        task: data.
        runs: where they stand; diverged ones are left alone.
        stop_good: let go of a run once it is below its threshold. L-BFGS then works in rounds:
            most runs that will be good are after a few, and no Hessian is spent on them.
        tol, lbfgs_steps, newton_steps, progress: as in `edt.converge`.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    rounds = [(_ROUND, 0)] * (lbfgs_steps // _ROUND) if stop_good else []
    for lbfgs, newton in (*rounds, (lbfgs_steps, newton_steps)):
        going = np.array([word != "diverged" for word in runs.status])
        if stop_good:
            going &= (runs.loss > runs.threshold).numpy()
        if newton == 0:  # what L-BFGS has brought to the bottom waits for its last look
            going &= np.array([word != "converged" for word in runs.status])
        chosen = torch.from_numpy(np.flatnonzero(going))
        if not chosen.numel():
            continue
        ended = converge(
            task,
            runs.networks.select(chosen),
            task_index=runs.task_index[chosen],
            tol=tol,
            lbfgs_steps=lbfgs,
            newton_steps=newton,
            progress=progress,
        )
        _stop(ended.interrupted)
        _enter(runs, chosen, ended)


def _enter(runs: Minima, chosen: torch.Tensor, ended: ConvergeResult) -> None:
    """Write what `converge` made of the chosen runs into their rows."""
    theta = runs.networks.theta.clone()
    offsets, source = runs.networks.offsets.tolist(), ended.networks.offsets.tolist()
    for place, b in enumerate(chosen.tolist()):
        part = ended.networks.theta[source[place] : source[place + 1]]
        theta[offsets[b] : offsets[b + 1]] = part
        runs.status[b], runs.verdict[b] = ended.status[place], ended.verdict[place]
    runs.networks = runs.networks.with_theta(theta)
    for name in ("loss", "grad_max", "index", "n_flat", "min_eig"):
        getattr(runs, name)[chosen] = getattr(ended, name)
    runs.iterations[chosen] += ended.iterations


def _stop(interrupted: bool) -> None:
    if interrupted:
        raise KeyboardInterrupt
