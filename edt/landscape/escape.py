"""Escape experiments: what opens when a bad minimum is embedded into a wider network.

A bad minimum of width r, embedded into width m by splitting neurons, is a critical point of equal
loss. Its index, the number of escape dimensions, is counted on the full Hessian and predicted from
the narrow network alone (`grown_inertia`). From there runs start along every negative direction,
both signs, and at random, go down by gradient descent, and are then driven to the bottom.

Reference: K. Fukumizu, S. Amari, Neural Networks 13 (2000) 317; B. Simsek et al., ICML 2021,
arXiv 2105.12221.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch

from edt import functional
from edt.curvature import hessian_spectrum
from edt.curvature.verdicts import inertia, zero_threshold
from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.kinds import Networks
from edt.errors import unknown_choice
from edt.landscape.grow import SHARES, Growth, grow
from edt.landscape.inertia import grown_inertia
from edt.landscape.minima import UNMEASURED, Minima, certify_runs, drive_down
from edt.landscape.outcome import outcomes
from edt.landscape.stages import hidden_widths
from edt.scalars import integer, number
from edt.stats import cluster_rate, wilson
from edt.tasks import Task
from edt.tasks.given import samples_of
from edt.training import masked_train

#: Where a run from an embedded bad minimum can end, best first.
DESTINATIONS = ("good", "lower", "same", "open", "channel", "diverged")
#: A loss counts as lower when it falls by more than this, relatively: as in `loss_levels`.
LOWER = 1e-6
#: Eigenvalues within this factor of the zero threshold leave the count in doubt.
DOUBT = 30.0
#: Gradient descent has left when the loss is lower than at the point by this share.
LEFT = 0.01
#: Gradient descent's learning rate times the largest eigenvalue at the start. Stable up to 2; the
#: curvature grows on the way down.
SAFE = 0.5
#: Budget of `edt.landscape.certify` for the ends of escapes that are not good.
CERTIFY_STEPS = 600


@dataclass
class Escape:
    """A finished escape experiment: two tables and the networks.

    Attributes:
        points: one row an embedded point: ``source`` (row of the minima), ``target``, ``narrow``
            and ``width`` (hidden neurons, channels of a convolution among them), ``added``,
            ``shares``, ``copy``, ``loss``, ``threshold``, ``predicted_neg``/``_zero``/``_pos``
            from the narrow network, ``n_neg``, ``n_zero``, ``n_pos`` and ``eps_H`` from the full
            Hessian, ``min_eig``, ``max_eig`` (largest in size), ``clear``: no eigenvalue is within
            a factor of 30 of ``eps_H``, so that the count can be trusted.
        starts: one row a run: ``point``, ``source``, ``added``, ``shares``, ``kind`` ("negative"
            or "random"), ``direction`` (0 the most negative), ``sign``, ``eigenvalue`` (NaN for
            random directions), ``length`` (of the perturbation), ``start_loss``; ``lr``,
            ``escape_steps``, ``linear_steps`` (what the quadratic model says), ``descent_loss``
            and ``descent_status`` of gradient descent; ``loss``, ``grad_max``,
            ``status``, ``verdict``, ``index`` at the end (as in `Minima`: a run is let go once it
            is good), ``iterations`` of `edt.converge`;
            ``drop`` (loss fallen), ``distance`` (of parameters, from the embedded point),
            ``function_distance`` (root mean square change of the outputs), ``outcome``,
            ``destination``.
        embedded: the embedded networks, in the order of ``points``.
        networks: the networks at the ends, in the order of ``starts``.
    """

    points: pd.DataFrame
    starts: pd.DataFrame
    embedded: Any
    networks: Any

    def table(self, by: Sequence[str] = ("added", "shares", "kind")) -> pd.DataFrame:
        """What happened, against neurons added: see `escape_table`."""
        return escape_table(self.points, self.starts, by)

    def __repr__(self) -> str:
        ends = self.starts["destination"].value_counts()
        words = ", ".join(f"{n} {word}" for word, n in ends.items())
        return f"Escape({len(self.points)} points, {len(self.starts)} starts: {words})"


def escape_experiment(
    task: Task,
    minima: Minima,
    *,
    add: Sequence[int] = (1, 2, 4),
    shares: Sequence[str] = ("positive", "signed"),
    copies: int = 2,
    layer: int = 0,
    directions: int | None = None,
    random: int = 4,
    step: float = 1e-3,
    descent_steps: int = 5000,
    tol: float = 1e-10,
    lbfgs_steps: int = 2000,
    newton_steps: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> Escape:
    """Embed bad minima into wider networks and follow every way out.

    Each point starts runs at ``theta + step |theta| v`` for the unit eigenvectors v of its
    negative eigenvalues, in both signs, and for random v, uniform on the sphere. Gradient descent
    with learning rate ``0.5 / max|lambda|`` of its point shows how long the escape takes; then
    `edt.converge` finishes (from the start itself where descent diverged), until a run is good or
    at the bottom. All runs are one ensemble.

    Args:
        task: data.
        minima: from `find_minima`; those with outcome "bad" are embedded.
        add: neurons added to hidden layer ``layer``.
        shares: kinds of output shares, as in `edt.landscape.embed.grow`.
        copies: embeddings of each minimum for each of these.
        layer: hidden layer, from 0.
        directions: at most this many negative directions a point, the most negative first; None
            takes all.
        random: random starts a point.
        step: length of the perturbation as a share of ``|theta|``.
        descent_steps: of gradient descent; 0 skips it (``escape_steps`` is then NaN).
        tol, lbfgs_steps, newton_steps: as in `edt.converge`.
        seed: of embeddings and random directions.
        progress: show progress bars on a terminal.

    Returns:
        `Escape`. ``escape_steps`` is the first recorded step (about 8 a decade) at which the loss
        is lower than the embedded point's by a hundredth; NaN where descent did not get there.
        ``linear_steps`` is ``log(2 fall / (|lambda| length^2)) / (2 log(1 + lr |lambda|))`` with
        ``fall`` that hundredth: the time along an eigenvector if the loss were quadratic.

    Raises:
        TypeError, ValueError: an argument is wrong, or there is no bad minimum.
        KeyboardInterrupt: Ctrl-C.

    Example:
        >>> minima = find_minima(task, widths=[3], seeds=range(50))  # doctest: +SKIP
        >>> escape_experiment(task, minima, add=(1, 2, 4)).table()  # doctest: +SKIP
    """
    if not isinstance(minima, Minima):
        raise TypeError(f"minima must come from find_minima, got {type(minima).__name__}")
    task = samples_of(task)
    step = number("step", step, strict=True)
    random = integer("random", random, 0)
    descent_steps = integer("descent_steps", descent_steps, 0)
    if directions is not None:
        directions = integer("directions", directions, 0)
    counts = [integer("add entries", count, 1) for count in add]
    for kind in shares:
        if kind not in SHARES:
            raise unknown_choice("shares", kind, SHARES)
    if not counts or not len(shares):
        raise ValueError("add and shares must not be empty")
    bad = minima.where("bad")
    if not bad.numel():
        raise ValueError(f"minima must hold at least one bad minimum, got {minima!r}")
    chosen = minima.select(bad)
    points, embedded, ways = _embed(
        task, chosen, bad, counts, shares, copies, layer, directions, seed
    )
    index = torch.tensor(points["target"].to_numpy(), dtype=torch.int64)
    starts, moved, origin = _starts(points, embedded, ways, random, step, seed)
    where = index[origin]
    starts["start_loss"] = functional.loss(moved, task, task_index=where).numpy()
    rates = SAFE / points["max_eig"].to_numpy()[origin.numpy()]
    descended = _descend(task, moved, where, rates, descent_steps, points, origin, starts, progress)
    limit = torch.tensor(points["threshold"].to_numpy()[origin.numpy()])
    ended = _finish(task, descended, where, limit, starts, tol, lbfgs_steps, newton_steps, progress)
    starts["loss"] = ended.loss.numpy()
    starts["grad_max"] = ended.grad_max.numpy()
    starts["status"], starts["verdict"] = ended.status, ended.verdict
    starts["index"] = ended.index.numpy()
    starts["iterations"] = ended.iterations.numpy()
    before = points["loss"].to_numpy()[origin.numpy()]
    starts["drop"] = before - starts["loss"]
    _distances(task, embedded, ended.networks, origin, where, starts)
    words = outcomes(ended.loss, limit, ended.verdict, ended.status, ended.label)
    starts["outcome"] = words
    starts["destination"] = [
        _destination(word, low, high)
        for word, low, high in zip(words, starts["loss"], before, strict=True)
    ]
    return Escape(points, starts, embedded, ended.networks)


def escape_table(
    points: pd.DataFrame,
    starts: pd.DataFrame,
    by: Sequence[str] = ("added", "shares", "kind"),
    conf: float = 0.95,
) -> pd.DataFrame:
    """Where runs from embedded bad minima end.

    Args:
        points, starts: of an `Escape`.
        by: columns of ``starts`` to group by.
        conf: coverage.

    Returns:
        One row a group: ``points``, ``minima`` behind them, ``starts``; ``mean_index`` (escape
        dimensions, mean over the group's points) and ``strict`` (points with at least one),
        ``clear`` (points whose count is beyond doubt) and ``agree`` (those of them where closed
        form and full Hessian give the same index); the share that
        ends in a good minimum, ``good``, with Wilson bounds ``good_low``, ``good_high`` as if
        starts were independent and bounds ``good_spread_low``, ``_high`` over the minima
        (`edt.stats.cluster_rate`; NaN where there is one); the number with each of
        `DESTINATIONS`; medians ``drop``, ``distance``, ``escape_steps`` (over those that left), and
        ``left``, how many did.
    """
    rows = []
    for key, group in starts.groupby(list(by), sort=True):
        place = points.loc[group["point"].unique()]
        wins = group["destination"].eq("good")
        rate = wilson(int(wins.sum()), len(group), conf)
        per_minimum = wins.groupby(group["source"]).agg(["sum", "size"]).to_numpy(dtype=float)
        spread = cluster_rate(per_minimum[:, 0], per_minimum[:, 1], conf)
        several = len(per_minimum) > 1
        ends = group["destination"].value_counts()
        rows.append(
            {
                **dict(zip(by, key, strict=True)),
                "points": len(place),
                "minima": int(place["source"].nunique()),
                "starts": len(group),
                "mean_index": float(place["n_neg"].mean()),
                "strict": int((place["n_neg"] > 0).sum()),
                "clear": int(place["clear"].sum()),
                "agree": int((place["clear"] & (place["n_neg"] == place["predicted_neg"])).sum()),
                "good": rate.value,
                "good_low": rate.low,
                "good_high": rate.high,
                "good_spread_low": spread.low if several else math.nan,
                "good_spread_high": spread.high if several else math.nan,
                **{word: int(ends.get(word, 0)) for word in DESTINATIONS if word != "good"},
                "drop": float(group["drop"].median()),
                "distance": float(group["distance"].median()),
                "left": int(group["escape_steps"].notna().sum()),
                "escape_steps": float(group["escape_steps"].median()),
            }
        )
    return pd.DataFrame(rows)


def _embed(
    task: Task,
    minima: Minima,
    rows: torch.Tensor,
    counts: Sequence[int],
    shares: Sequence[str],
    copies: int,
    layer: int,
    directions: int | None,
    seed: int,
) -> tuple[pd.DataFrame, Any, list[tuple[torch.Tensor, torch.Tensor]]]:
    """The table of points, their networks, and per point (eigenvalues, directions ``[k, P]``)."""
    narrow: Networks = minima.networks
    widths = hidden_widths(narrow)
    depth = widths.shape[1]
    if not 0 <= layer < depth:
        raise ValueError(f"layer must be a hidden layer 0..{depth - 1}, got {layer}")
    signs = torch.stack(
        [minima.index, minima.n_flat, narrow.coords - minima.index - minima.n_flat], dim=1
    )
    tables: list[pd.DataFrame] = []
    grown: list[Any] = []
    for row in sorted(set(map(tuple, widths.tolist()))):
        shape = torch.tensor(row)
        members = (widths == shape).all(dim=1).nonzero().flatten()
        part = minima.select(members)
        for count in counts:
            wanted = shape.clone()
            wanted[layer] += count
            for kind in shares:
                wide = grow(
                    part.networks,
                    wanted.tolist(),
                    shares=kind,
                    neurons="even",
                    copies=copies,
                    seed=seed,
                )
                expected = grown_inertia(wide, task, part.networks, part.task_index, signs[members])
                tables.append(_points(part, rows[members], wide, kind, copies, expected))
                grown.append(wide.networks)
    kind_of_networks = Ensemble if isinstance(narrow, Ensemble) else ModuleEnsemble
    embedded = kind_of_networks.concat(grown)
    points = pd.concat(tables, ignore_index=True)
    index = torch.tensor(points["target"].to_numpy(), dtype=torch.int64)
    points["loss"] = functional.loss(embedded, task, task_index=index).numpy()
    values, vectors = hessian_spectrum(embedded, task, task_index=index, vectors=True)
    measured: dict[str, list[Any]] = {
        name: [] for name in ("n_neg", "n_zero", "n_pos", "eps_H", "min_eig", "max_eig", "clear")
    }
    ways = []
    for value, vector in zip(values, vectors, strict=True):
        eps = zero_threshold(value, embedded.dtype)
        signs_here = inertia(value, eps)
        size = value.abs()
        clear = not bool(((size > eps / DOUBT) & (size < eps * DOUBT)).any())
        row_ = (*signs_here, eps, float(value[0]), float(size.max()), clear)
        for name, entry in zip(measured, row_, strict=True):
            measured[name].append(entry)
        count = signs_here[0] if directions is None else min(signs_here[0], directions)
        ways.append((value[:count].clone(), vector[:, :count].T.contiguous()))
    return points.assign(**measured), embedded, ways


def _points(
    part: Minima,
    rows: torch.Tensor,
    wide: Growth,
    kind: str,
    copies: int,
    expected: torch.Tensor,
) -> pd.DataFrame:
    source = wide.source
    return pd.DataFrame(
        {
            "source": rows[source].numpy(),
            "target": part.task_index[source].numpy(),
            "narrow": hidden_widths(part.networks)[source].sum(dim=1).numpy(),
            "width": hidden_widths(wide.networks).sum(dim=1).numpy(),
            "added": wide.added.numpy(),
            "shares": kind,
            "copy": np.tile(np.arange(copies), len(part)),
            "threshold": part.threshold[source].numpy(),
            "predicted_neg": expected[:, 0].numpy(),
            "predicted_zero": expected[:, 1].numpy(),
            "predicted_pos": expected[:, 2].numpy(),
        }
    )


def _starts(
    points: pd.DataFrame,
    embedded: Networks,
    ways: list[tuple[torch.Tensor, torch.Tensor]],
    random: int,
    step: float,
    seed: int,
) -> tuple[pd.DataFrame, Any, torch.Tensor]:
    """Table of starts, their perturbed networks, and the point of each (int64)."""
    rows: list[tuple[int, str, int, int, float]] = []
    moves: list[torch.Tensor] = []
    for point, (values, vectors) in enumerate(ways):
        size = int(embedded.coords[point])
        for k, value in enumerate(values.tolist()):
            for sign in (1, -1):
                rows.append((point, "negative", k, sign, value))
                moves.append(sign * vectors[k])
        key = np.array([seed, point], dtype=np.uint64)
        draws = np.random.Generator(np.random.Philox(key=key))
        for k in range(random):
            rows.append((point, "random", k, 1, float("nan")))
            way = torch.from_numpy(draws.standard_normal(size))
            moves.append(way / way.norm())
    starts = pd.DataFrame(rows, columns=["point", "kind", "direction", "sign", "eigenvalue"])
    if not rows:
        raise ValueError("no start: no point has a negative direction, and random is 0")
    for name in ("added", "shares", "source"):
        starts.insert(1, name, points[name].to_numpy()[starts["point"].to_numpy()])
    origin = torch.tensor(starts["point"].to_numpy(), dtype=torch.int64)
    start = embedded.select(origin)
    theta = start.theta.clone()
    lengths = []
    for (first, last), move in zip(pairwise(start.offsets.tolist()), moves, strict=True):
        here = theta[first:last]
        free = start.state[first:last] == 1
        lengths.append(step * float(here.norm()))
        here[free] += lengths[-1] * move
    starts["length"] = lengths
    return starts, start.with_theta(theta), origin


def _descend(
    task: Task,
    moved: Networks,
    where: torch.Tensor,
    rates: np.ndarray,
    steps: int,
    points: pd.DataFrame,
    origin: torch.Tensor,
    starts: pd.DataFrame,
    progress: bool,
) -> Any:
    """Gradient descent; fills its columns of ``starts`` and returns where `converge` goes on."""
    high = points["loss"].to_numpy()[origin.numpy()]
    curve = -starts["eigenvalue"].to_numpy()
    ratio = 2.0 * LEFT * high / (curve * starts["length"].to_numpy() ** 2)
    starts["lr"] = rates
    starts["linear_steps"] = np.log(np.maximum(ratio, 1.0)) / (2.0 * np.log1p(rates * curve))
    if steps == 0:
        starts["escape_steps"], starts["descent_loss"] = np.nan, starts["start_loss"]
        starts["descent_status"] = "none"
        return moved
    trained = masked_train(
        task,
        moved,
        optimizer="gd",
        lr=rates,
        steps=steps,
        task_index=where,
        record="log",
        progress=progress,
    )
    if trained.interrupted:
        raise KeyboardInterrupt
    loss = trained.history["loss"].to_numpy()
    at = trained.history["step"].to_numpy()
    passed = loss <= (1.0 - LEFT) * high[None, :]
    first = at[np.argmax(passed, axis=0)].astype(float)
    starts["escape_steps"] = np.where(passed.any(axis=0), first, np.nan)
    starts["descent_loss"], starts["descent_status"] = trained.loss.numpy(), trained.status
    theta = trained.networks.theta.clone()
    for b, word in enumerate(trained.status):
        if word == "diverged":
            span = slice(int(moved.offsets[b]), int(moved.offsets[b + 1]))
            theta[span] = moved.theta[span]
    return moved.with_theta(theta)


def _finish(
    task: Task,
    descended: Networks,
    where: torch.Tensor,
    limit: torch.Tensor,
    starts: pd.DataFrame,
    tol: float,
    lbfgs_steps: int,
    newton_steps: int,
    progress: bool,
) -> Minima:
    """Drive the runs on from where descent left them, until they are good or at the bottom."""
    loss, grad = functional.loss_and_grad(descended, task, task_index=where)
    lengths = descended.offsets[1:] - descended.offsets[:-1]
    count = descended.B
    runs = Minima(
        networks=descended,
        task_index=where,
        loss=loss,
        grad_max=torch.segment_reduce(grad.abs(), "max", lengths=lengths),
        threshold=limit,
        outcome=[],
        status=["max_steps"] * count,
        verdict=[UNMEASURED] * count,
        index=torch.full((count,), -1),
        n_flat=torch.full((count,), -1),
        min_eig=torch.full((count,), float("nan"), dtype=torch.float64),
        iterations=torch.zeros(count, dtype=torch.int64),
    )
    drive_down(
        task,
        runs,
        stop_good=True,
        tol=tol,
        lbfgs_steps=lbfgs_steps,
        newton_steps=newton_steps,
        progress=progress,
    )
    certify_runs(task, runs, stop_good=True, steps=CERTIFY_STEPS, progress=progress)
    return runs


def _distances(
    task: Task,
    embedded: Networks,
    ends: Networks,
    origin: torch.Tensor,
    where: torch.Tensor,
    starts: pd.DataFrame,
) -> None:
    begun = embedded.select(origin)
    gap = (ends.theta - begun.theta).square()
    sizes = ends.offsets[1:] - ends.offsets[:-1]
    starts["distance"] = torch.segment_reduce(gap, "sum", lengths=sizes).sqrt().numpy()
    change = functional.predict(ends, task, task_index=where) - functional.predict(
        begun, task, task_index=where
    )
    mean = (task.coef[where][..., None] * change.square()).sum((1, 2))
    starts["function_distance"] = mean.sqrt().numpy()


def _destination(outcome: str, loss: float, before: float) -> str:
    """ "good"; "lower": a bad minimum further down; "same": no lower; "open": no verdict."""
    if outcome in ("good", "channel", "diverged"):
        return outcome
    if loss >= before * (1.0 - LOWER):
        return "same"
    return "lower" if outcome == "bad" else "open"
