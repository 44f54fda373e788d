"""`certify`: labels of ends that hold against more optimisation, with their evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from edt.curvature.dense import eigensystems
from edt.curvature.spectrum import groups
from edt.curvature.verdicts import inertia, zero_threshold
from edt.ensemble import Ensemble
from edt.ensemble.kinds import chains
from edt.frames import Tabular
from edt.landscape.invariances import invariant_directions
from edt.landscape.labels import CERTIFIED, Standing, label_of, overturned_by
from edt.landscape.layers import Network, derivatives, run, target_of, unpack
from edt.objectives import Objective, hessians
from edt.ops.threads import one_blas_thread
from edt.scalars import index, integer
from edt.training import ConvergeResult, converge
from edt.training.channels import BIAS, opponents
from edt.training.floor import zero_losses
from edt.training.inputs import ready
from edt.training.separable import separated_share

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Certificates", "certify"]

#: A point needs no push when d and p are below these: Newton has nothing left to do there.
STILL, SPENT = 1e-6, 1e-12
#: Gradients asked of a push: one at which saddles are left, and one that rounding stops it before.
TOLERANCE, BOTTOM = 1e-10, 1e-18
#: Steps towards the nearest critical point after that.
NEAR_STEPS = 20
#: Slope of a unit on a sample that is none.
FLAT_SLOPE = 1e-6
#: Columns of tables of runs, and the entries of a `Standing` that they hold.
EVIDENCE = {
    "distance": "distance", "gain": "gain", "saturated": "saturated", "certify_steps": "steps",
}  # fmt: skip
CURVATURE = {
    "index": "index", "n_flat": "n_zero", "min_eig": "min_eig", "max_eig": "max_eig",
    "eps_H": "eps_H",
}  # fmt: skip
#: Rounds of a push; the steps are shared out among them.
ROUNDS = 4


@dataclass
class Certificates(Tabular):
    """Ends with labels.

    Attributes:
        networks: where the push left them, float64.
        task_index: int64 ``[B]``.
        loss, grad_max: float64 ``[B]`` there.
        label: ``[B]`` of `edt.landscape.LABELS`.
        standings: ``[B]``, the evidence.
        steps: Newton steps a network was given.
    """

    networks: Ensemble
    task_index: torch.Tensor
    loss: torch.Tensor
    grad_max: torch.Tensor
    label: list[str]
    standings: list[Standing]
    steps: int

    @property
    def certified(self) -> torch.Tensor:
        """bool ``[B]``: minima and flat minima."""
        return torch.tensor([word in CERTIFIED for word in self.label], dtype=torch.bool)

    def overturned_by(self, b: int) -> str:
        """What would overturn network b's label, in words.

        Raises:
            IndexError: no such network.
        """
        return overturned_by(self.standings[index("b", b, len(self.label))])

    def write_into(self, frame: pd.DataFrame, rows: Sequence[int]) -> None:
        """Write where the push left the networks, and their labels, into rows of a table of runs.

        Args:
            frame: changed in place: ``label``, ``loss``, ``grad_max``, and of ``distance``,
                ``gain``, ``saturated``, ``certify_steps`` and, where a Hessian was formed,
                ``index``, ``n_flat``, ``min_eig``, ``max_eig`` and ``eps_H`` those that it has.
            rows: ``[B]``, labels of its index.
        """
        for name in ("loss", "grad_max"):
            frame.loc[rows, name] = getattr(self, name).tolist()
        frame.loc[rows, "label"] = self.label
        seen = [place for place, at in enumerate(self.standings) if at.measured]
        for names, places in ((EVIDENCE, range(len(rows))), (CURVATURE, seen)):
            for name, entry in names.items():
                if name in frame:
                    frame.loc[[rows[place] for place in places], name] = [
                        getattr(self.standings[place], entry) for place in places
                    ]

    def to_pandas(self) -> pd.DataFrame:
        """One row a network: label and evidence; ``index`` is missing where rounding or a missing
        critical point leave it without meaning."""
        import pandas as pd

        rows = []
        for b, at in enumerate(self.standings):
            row = asdict(at) | {"pair": "-".join(str(i) for i in at.pair)}
            word = self.label[b]
            row["index"] = {"saddle": at.index}.get(word, 0 if word in CERTIFIED else None)
            rows.append({"network": b, "label": word, "grad_max": float(self.grad_max[b])} | row)
        table = pd.DataFrame(rows)
        return table.astype({"index": "Int64"}) if len(table) else table

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {word}" for word, n in Counter(self.label).most_common())
        return f"Certificates({len(self.label)} networks: {counts})"


@one_blas_thread()
def certify(
    task: Any,
    networks: Ensemble,
    *,
    task_index: Any = None,
    steps: int = 600,
    dense_limit: int = 2000,
    progress: bool = False,
) -> Certificates:
    """Push every end further and say what it is: labels that more optimisation does not change.

    A network that is not settled (see `edt.landscape.labels`) is given up to ``steps`` damped
    Newton steps, in four rounds, each to where rounding stops it, until its label is one that says
    where it is. The networks that come back are the pushed ones: a run that was called a bad
    minimum and had hundreds of steps to go is at the minimum then.

    Args:
        task: data.
        networks: ends of `edt.converge`, or of anything else.
        task_index: int64 ``[B]``, default 0.
        steps: the budget; 0 labels the networks where they are.
        dense_limit: networks with more coordinates are "undecided": no Hessian is formed.
        progress: show progress bars on a terminal.

    Returns:
        `Certificates`. A network's label does not depend on the others.

    Raises:
        ValueError, TypeError: an argument is wrong.
        KeyboardInterrupt: Ctrl-C.

    Example:
        >>> ends = converge(task, networks)  # doctest: +SKIP
        >>> certify(task, ends.networks).to_pandas()[["label", "distance"]]  # doctest: +SKIP
    """
    steps = integer("steps", steps, 0)
    limit = integer("dense_limit", dense_limit, 1)
    inputs = ready("certify", task, networks, task_index, progress)
    index, ens = inputs.task_index, chains(inputs.networks, "certify")
    objective: Objective = inputs.objective
    theta = ens.theta.clone()
    found = _look(inputs.task, objective, ens, index, torch.arange(ens.B), limit)
    first = dict(found)
    each = max(1, steps // ROUNDS)
    for _ in range(ROUNDS if steps else 0):
        going = torch.tensor([b for b, at in found.items() if _unsettled(at)], dtype=torch.int64)
        if not going.numel():
            break
        pushed = _push(task, ens.with_theta(theta).select(going), index[going], each, progress)
        before = theta.clone()
        for place, b in enumerate(going.tolist()):
            theta[_span(ens, b)] = pushed.theta[_span(pushed, place)]
        moved = ens.with_theta(theta)
        after = _look(inputs.task, objective, moved, index, going, limit)
        for b, at in after.items():
            step = float((theta[_span(ens, b)] - before[_span(ens, b)]).norm())
            found[b] = _compared(at, first[b], found[b], each, step)
    loss = torch.full((ens.B,), float("nan"), dtype=torch.float64)
    grad = torch.zeros_like(theta)
    objective.loss_and_grad(theta, loss, grad)
    slopes = [float(grad[_span(ens, b)].abs().max()) for b in range(ens.B)]
    standings = [found[b] for b in range(ens.B)]
    return Certificates(
        networks=ens.with_theta(theta),
        task_index=index,
        loss=loss,
        grad_max=torch.tensor(slopes, dtype=torch.float64),
        label=[label_of(at) for at in standings],
        standings=standings,
        steps=steps,
    )


def _span(ens: Ensemble, b: int) -> slice:
    return slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))


def _unsettled(at: Standing) -> bool:
    """Whether a push may still change the label, or has to confirm it."""
    if not at.finite or not at.measured or at.zero_loss or at.separated > 0.0:
        return False
    if at.steps == 0:
        still = at.distance <= STILL and at.gain <= SPENT
        return not (at.settled and still and at.index == 0)
    return label_of(at) in ("saddle", "drifting", "undecided")


def _push(task: Any, ens: Ensemble, index: torch.Tensor, steps: int, progress: bool) -> Ensemble:
    """Damped Newton until rounding stops it; then plain Newton where a critical point is near."""

    def go(start: Ensemble, steps: int, tol: float, leave: bool = True) -> ConvergeResult:
        ended = converge(
            task, start, task_index=index, tol=tol, lbfgs_steps=0, newton_steps=steps,
            escape_saddles=leave, dense_limit=10**9, progress=progress,
        )  # fmt: skip
        if ended.interrupted:
            raise KeyboardInterrupt
        return ended

    # Saddles are left where a tolerance is met, which the second never is.
    down = go(go(ens, steps, TOLERANCE).networks, steps, BOTTOM)
    # The loss may be too flat there for its values to guide a step; its gradient is not.
    near = go(down.networks, NEAR_STEPS, BOTTOM, leave=False)
    theta = down.networks.theta.clone()
    for b in range(ens.B):
        span = _span(ens, b)
        step = float((near.networks.theta[span] - theta[span]).norm())
        no_higher = float(near.loss[b]) <= float(down.loss[b]) * (1.0 + 1e-12)
        if no_higher and step <= 1e-2 * max(1.0, float(theta[span].norm())):
            theta[span] = near.networks.theta[span]
    moved: Ensemble = down.networks.with_theta(theta)
    return moved


def _compared(at: Standing, first: Standing, before: Standing, steps: int, step: float) -> Standing:
    """The standing after a round, with what the whole push did to it."""
    return replace(
        at,
        steps=before.steps + steps,
        growth=at.norm / max(first.norm, 1e-300),
        fell=1.0 - at.loss / before.loss if before.loss > 0.0 else 0.0,
        moved=step / max(1.0, at.norm),
        reach_growth=at.reach_growth / max(first.reach_growth, 1e-300),
    )


def _look(
    task: Any,
    objective: Objective,
    ens: Ensemble,
    index: torch.Tensor,
    chosen: torch.Tensor,
    limit: int,
) -> dict[int, Standing]:
    """Evidence of the chosen networks where they are; ``reach_growth`` holds the reach itself."""
    theta = ens.theta
    loss = torch.full((ens.B,), float("nan"), dtype=torch.float64)
    grad = torch.zeros_like(theta)
    active = torch.zeros(ens.B, dtype=torch.uint8)
    active[chosen] = 1
    objective.loss_and_grad(theta, loss, grad, active)
    finite = chosen[torch.isfinite(loss[chosen])]
    zero = zero_losses(objective, theta, loss, finite)
    separated = separated_share(task, ens, index, finite)
    some = ens.select(chosen)
    pairs, neurons = opponents(some), opponents(some, output_bias=False)
    parts = {}
    for place, b in enumerate(chosen.tolist()):
        flat = theta[_span(ens, b)]
        still = _saturated(task, ens, b, int(index[b]))
        # A saturated unit is close to the bias for a reason of its own.
        lone = int(pairs.second[place]) == BIAS and (
            (int(pairs.layer[place]), int(pairs.first[place])) in still
        )
        of = neurons if lone else pairs
        parts[b] = Standing(
            finite=bool(torch.isfinite(loss[b]))
            and bool(torch.isfinite(grad[_span(ens, b)]).all()),
            measured=False,
            loss=float(loss[b]),
            zero_loss=bool(zero[b]),
            distance=float("nan"),
            gain=float("nan"),
            norm=float(flat.norm()),
            index=-1,
            n_zero=-1,
            unexplained=-1,
            min_eig=float("nan"),
            max_eig=float("nan"),
            eps_H=float("nan"),
            closeness=float(of.closeness[place]),
            pair=(int(of.first[place]), int(of.second[place])),
            layer=int(of.layer[place]),
            saturated=len(still),
            reach_growth=float(of.reach[place]),
            separated=float(separated[b]),
        )
    small = torch.tensor(
        [b for b in parts if parts[b].finite and 0 < int(ens.coords[b]) <= limit], dtype=torch.int64
    )
    for group in groups(objective.coords[small]):
        part = small[group]
        matrices = hessians(objective, theta, part)
        fine = [bool(torch.isfinite(matrix).all()) for matrix in matrices]
        part = part[torch.tensor(fine)]
        matrices = [matrix for matrix, good in zip(matrices, fine, strict=True) if good]
        for b, matrix, system in zip(part.tolist(), matrices, eigensystems(matrices), strict=True):
            trainable = objective.trainable[_span(ens, b)]
            layers = unpack(ens, b)
            ways = invariant_directions(layers, ens.activation, _loss_name(task))[trainable]
            slope = grad[_span(ens, b)][trainable]
            pull = _growth(layers, parts[b])[trainable]
            parts[b] = _measured(parts[b], matrix, *system, slope, ways, pull)
    return parts


def _loss_name(task: Any) -> str:
    return str(getattr(task, "loss", "mse"))


def _measured(
    at: Standing,
    matrix: torch.Tensor,
    values: torch.Tensor,
    vectors: torch.Tensor,
    slope: torch.Tensor,
    ways: torch.Tensor,
    pull: torch.Tensor,
) -> Standing:
    """Evidence with what the Hessian says."""
    threshold = zero_threshold(values)
    negative, zero, _ = inertia(values, threshold)
    if at.zero_loss:  # the Hessian is its Gauss-Newton part there; what is below 0 is rounding
        negative, zero = 0, zero + negative
    force = vectors.T @ slope
    far = values.abs() > threshold
    down = values > threshold
    distance = float((force[far] / values[far]).square().sum().sqrt())
    gain = 0.5 * float((force[down].square() / values[down]).sum())
    unexplained, flat = zero, vectors[:, ~far]
    if zero and ways.shape[1]:
        # The Hessian on what is left beside the directions in which nothing changes.
        basis = torch.linalg.qr(ways, mode="complete").Q[:, ways.shape[1] :]
        inner = basis.T @ matrix @ basis
        left, axes = torch.linalg.eigh((inner + inner.T) / 2)
        within = left.abs() <= threshold
        unexplained, flat = int(within.sum()), basis @ axes[:, within]
    return replace(
        at,
        measured=True,
        distance=distance / max(1.0, at.norm),
        gain=gain / at.loss if at.loss > 0.0 else 0.0,
        index=negative,
        n_zero=zero,
        unexplained=0 if at.zero_loss else unexplained,
        min_eig=float(values[0]),
        max_eig=float(values[-1]),
        eps_H=threshold,
        outward=0.0 if at.zero_loss else float((flat.T @ pull).square().sum()),
    )


def _growth(layers: Network, at: Standing) -> torch.Tensor:
    """Unit vector along which the outputs of the closest opponents grow, each by the same factor,
    in the network's flat order; 0 without a pair."""
    moves = [torch.zeros_like(part) for layer in layers for part in (layer.weight, layer.bias)
             if part is not None]  # fmt: skip
    if at.layer >= 0:
        reader = layers[at.layer + 1]
        place = (at.layer + 1) * (1 if layers[0].bias is None else 2)
        for neuron in at.pair:
            if neuron == BIAS and reader.bias is not None:
                moves[place + 1] += reader.bias
            elif neuron >= 0:
                moves[place][:, neuron] = reader.weight[:, neuron]
    flat: torch.Tensor = torch.cat([part.flatten() for part in moves]).to(torch.float64)
    flat /= flat.norm().clamp_min(1e-300)
    return flat


def _saturated(task: Any, ens: Ensemble, b: int, target: int) -> set[tuple[int, int]]:
    """Units (layer, neuron) with a slope on fewer samples than they have input weights.

    A unit that has become a step, or constant, on all data but one or two samples is free to move
    along what is left. None are looked for where the data are infinite.
    """
    if not isinstance(getattr(task, "x", None), torch.Tensor):
        return set()
    layers = unpack(ens, b)
    x, _, _ = target_of(task, target)
    _, before = run(layers, ens.activation, x.to(ens.theta))
    found = set()
    for k, (layer, z) in enumerate(zip(layers, before[:-1], strict=False)):
        slope, _ = derivatives(ens.activation, z)
        live = (slope.abs() > FLAT_SLOPE).sum(0)
        free = (layer.weight_state == 1).sum(1)
        if layer.bias_state is not None:
            free = free + (layer.bias_state == 1)
        found |= {(k, j) for j in torch.nonzero(live < free).flatten().tolist()}
    return found
