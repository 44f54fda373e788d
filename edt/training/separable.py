"""Networks whose readout separates the samples: there the loss has no minimum.

Logistic losses and cross-entropy fall for ever where outputs may grow. With the hidden units as
they are, outputs move along a direction d of the readout's weights by ``d(h_n)``. If no sample's
margin falls along d and some margin grows,

    d(h_n)_y - d(h_n)_k >= 0   for all samples n of positive weight and classes k != y,

then ``L(theta + t d)`` falls strictly for all t >= 0, whatever theta is: no point with these
hidden units is critical, however small its gradient, and L only tends to its infimum, with the
weights without bound. Targets between the classes (shares of several, numbers between 0 and 1)
have a finite best margin: there d must not move it.

The outputs themselves are the first d that is tried, then one by linear programming, whose margins
within its tolerance of 0 are projected to 0. A direction of weights at most 1 counts where its
largest margin exceeds `LEAST` (of hidden units at most 1) and no other is below 0 by more than
rounding. Where the gradient g of the readout bounds all such margins by less,
``a_n . d <= |g|_1 / min |l'|`` (Stiemke's alternative), no program is solved.

Reference: A. Albert, J. A. Anderson, "On the existence of maximum likelihood estimates in logistic
regression models", Biometrika 1984; M. J. Silvapulle, J. Burridge, JRSS B 1986 (the program).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edt.ensemble.kinds import Networks
from edt.ensemble.module_ensemble import ModuleEnsemble
from edt.ops.losses import LOSSES
from edt.tasks.module_task import ModuleTask
from edt.tasks.task import Task

__all__ = ["separated_share"]

#: Losses without a minimum where a margin may grow: targets are signs, numbers in [0, 1], classes.
UNBOUNDED = ("logistic", "bce", "cross_entropy", "soft_cross_entropy")
#: Margins that count as growing, absolute and relative to the largest; relative rounding.
LEAST, GROWS, ROUNDING = 1e-6, 1e-6, 1e-11
#: Entries of a program that is solved; a larger one is left unknown.
MOST_ENTRIES = 500_000
#: Bound on the weights of a direction whose margins are at most 1.
BOX = 1e4


@dataclass
class _Margins:
    """Rows ``r . outputs``: what must not fall, and what must not move, along a direction.

    Attributes:
        sample: int64 ``[M]``. rows: float64 ``[M, d_out]``.
        fixed: bool ``[M]``, margins that must not move.
    """

    sample: np.ndarray
    rows: np.ndarray
    fixed: np.ndarray


def separated_share(
    task: Any, networks: Networks, index: torch.Tensor, chosen: torch.Tensor
) -> torch.Tensor:
    """Weight of the samples with a margin that grows for ever along a direction of the readout.

    Args:
        task: what is learned.
        networks: float64.
        index: int64 ``[B]``, which target each learns.
        chosen: int64, networks to look at, with finite parameters.

    Returns:
        float64 ``[B]``: 0 where no direction separates, up to 1 where all samples are; NaN where
        it is unknown (not looked at, a network that does not end in a linear layer, too large a
        program) or the loss always has a minimum.
    """
    out = torch.full((networks.B,), float("nan"), dtype=torch.float64)
    loss = getattr(task, "loss", None)
    if loss not in UNBOUNDED or not isinstance(task, (Task, ModuleTask)):
        return out
    networks = networks.to(device="cpu")
    for b in chosen.tolist():
        found = _samples(task, int(index[b]))
        if found is None:
            continue
        x, y, weights = found
        features = _readout(networks, b, x)
        if features is None or len(features[0]) != len(weights):
            continue
        margins = _margins(str(loss), y, len(features[2]), weights)
        outputs = features[1].requires_grad_(True)
        each = LOSSES[str(loss)].sample(outputs, y)
        (slope,) = torch.autograd.grad((each * torch.from_numpy(weights)).sum(), outputs)
        hidden, _, readout, live = (part.detach().numpy() for part in features)
        out[b] = _share(hidden, readout, live, slope.numpy(), margins, weights)
    return out


def _samples(task: Any, t: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray] | None:
    """(inputs, targets, weights float64 ``[N]`` adding up to 1) of one target."""
    if isinstance(task, Task):
        x = task.x if task.x.dim() == 2 else task.x[t]
        y = task.y if task.y.dim() == LOSSES[task.loss].dims else task.y[t]
        given: torch.Tensor | None = task.coef[t]
    else:
        if not task.splits or (whole := task.full_batch(t)) is None or task.mode == "train":
            return None
        x, y, given = whole
    if given is None:
        return x.cpu(), y.cpu(), np.full(len(x), 1.0 / len(x))
    return x.cpu(), y.cpu(), given.double().cpu().numpy()


def _readout(networks: Any, b: int, x: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
    """(hidden units with a column of ones ``[N, h + 1]``, outputs, readout ``[d_out, h + 1]``, and
    which of its weights are trained).

    None where the outputs are not those of one linear layer.
    """
    module = networks.to_module(b).eval()
    calls: list[tuple[str, nn.Linear, torch.Tensor, torch.Tensor]] = []

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: Any, inputs: Any, output: torch.Tensor) -> None:
            calls.append((name, layer, inputs[0].detach(), output))

        return hook

    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            part.register_forward_hook(keep(name))
    shape = getattr(networks, "input_shape", None)
    with torch.no_grad():
        inputs = x.to(networks.dtype)
        out = module(inputs if shape is None else inputs.reshape(len(x), *shape))
    if not calls or not isinstance(out, torch.Tensor) or out.dim() != 2:
        return None
    name, layer, hidden, last = calls[-1]
    if sum(call[1] is layer for call in calls) > 1 or not torch.equal(last, out):
        return None
    ones = torch.ones(len(out), 1, dtype=torch.float64)
    weight = layer.weight.detach().double()
    bias = torch.zeros(len(weight), 1) if layer.bias is None else layer.bias.detach()[:, None]
    readout = torch.cat([weight, bias.double()], 1)
    both = torch.cat([hidden.double(), ones], 1)
    return both, out.double(), readout, _live(networks, b, name, layer)


def _live(networks: Any, b: int, name: str, layer: nn.Linear) -> torch.Tensor:
    """Which weights and biases of the readout are trained, bool ``[d_out, h + 1]``."""
    start, stop = int(networks.offsets[b]), int(networks.offsets[b + 1])
    state = networks.state[start:stop].cpu() == 1
    rows, columns = layer.weight.shape
    bias = torch.zeros(rows, 1, dtype=torch.bool)
    if isinstance(networks, ModuleEnsemble):
        spans = {block.name: block.span for block in networks.blocks(b)}
        weight = state[spans[f"{name}.weight"]]
        if layer.bias is not None:
            bias = state[spans[f"{name}.bias"]].view(rows, 1)
    else:
        # The last layer of a chain is the end of its part: weights, then biases.
        if layer.bias is not None:
            bias, state = state[-rows:].view(rows, 1), state[:-rows]
        weight = state[-rows * columns :]
    return torch.cat([weight.view(rows, columns), bias], 1)


def _margins(loss: str, y: torch.Tensor, d_out: int, weights: np.ndarray) -> _Margins:
    alive = np.flatnonzero(weights > 0.0)
    target = y.double().numpy()[alive]
    if loss in ("logistic", "bce"):
        target = target.reshape(len(alive), d_out)
        signs = target if loss == "logistic" else np.where(target >= 0.5, 1.0, -1.0)
        fixed = np.zeros_like(target, bool) if loss == "logistic" else (target > 0) & (target < 1)
        rows = signs[:, :, None] * np.eye(d_out)[None]
        return _Margins(np.repeat(alive, d_out), rows.reshape(-1, d_out), fixed.reshape(-1))
    shares = np.eye(d_out)[target.astype(np.int64)] if loss == "cross_entropy" else target
    found = []
    unit = np.eye(d_out)
    for n, row in zip(alive.tolist(), shares, strict=True):
        # The classes that have a share move together, and no other overtakes them.
        first = int(row.argmax())
        for k in range(d_out):
            if k != first:
                found.append((n, unit[first] - unit[k], bool(row[k] > 0.0)))
    return _Margins(
        np.array([n for n, _, _ in found], dtype=np.int64),
        np.array([row for _, row, _ in found]).reshape(-1, d_out),
        np.array([fixed for _, _, fixed in found], dtype=bool),
    )


def _share(
    hidden: np.ndarray,
    readout: np.ndarray,
    live: np.ndarray,
    slope: np.ndarray,
    margins: _Margins,
    weights: np.ndarray,
) -> float:
    """See `separated_share`, for one network; ``slope`` is ``dL / d outputs``."""
    if not live.any() or not len(margins.rows):
        return 0.0
    # Columns of one size: the answer does not depend on the units of the hidden layer.
    sizes = np.abs(hidden).max(0)
    unit = hidden / np.where(sizes > 0.0, sizes, 1.0)
    moving = _growing(unit, margins, np.where(live, readout * sizes, 0.0))
    if moving is None:
        # What each margin's growth takes from the loss: the slope at the output that falls behind,
        # which is that of the losing class, or the one output there is.
        behind = slope[margins.sample] * np.minimum(margins.rows, 0.0)
        alone = (margins.rows != 0.0).sum(1) == 1
        one = -(slope[margins.sample] * margins.rows).sum(1)
        least = np.where(alone, one, -behind.sum(1))[~margins.fixed].min(initial=np.inf)
        bound = np.abs((slope.T @ unit)[live]).sum()
        if bound <= LEAST * least:
            return 0.0
        if len(margins.rows) * int(live.sum()) > MOST_ENTRIES:
            return float("nan")
        moving = _growing(unit, margins, _program(unit, live, margins))
    if moving is None:
        return 0.0
    return float(weights[np.unique(margins.sample[moving])].sum())


def _growing(
    unit: np.ndarray, margins: _Margins, direction: np.ndarray | None
) -> np.ndarray | None:
    """Margins that grow along a direction ``[d_out, h + 1]``; None where it does not separate."""
    size = 0.0 if direction is None else float(np.abs(direction).max())
    if direction is None or not 0.0 < size < np.inf:
        return None
    change = _changes(unit, margins, direction / size)
    top = float(change.max())
    stays = np.abs(change) <= ROUNDING * top
    if top <= LEAST or bool((change < -ROUNDING * top).any()):
        return None
    if not bool(stays[margins.fixed].all()):
        return None
    grows: np.ndarray = change > GROWS * top
    return grows


def _changes(unit: np.ndarray, margins: _Margins, direction: np.ndarray) -> np.ndarray:
    """How fast each margin moves along a direction of the scaled readout."""
    found: np.ndarray = ((unit[margins.sample] @ direction.T) * margins.rows).sum(1)
    return found


def _program(unit: np.ndarray, live: np.ndarray, margins: _Margins) -> np.ndarray | None:
    """The direction with the most margins that grow, ``[d_out, h + 1]``."""
    from scipy import sparse  # heavy, and rarely needed
    from scipy.optimize import linprog

    # Row m of the program is margin m over the trainable weights.
    dense = (margins.rows[:, :, None] * unit[margins.sample][:, None, :])[:, live]
    fixed, free = margins.fixed, ~margins.fixed
    grow, count = int(free.sum()), dense.shape[1]
    if not grow:
        return None
    # s <= A d, 0 <= s <= 1, the sum of s as large as can be.
    matrix = sparse.csr_array(dense)
    upper = sparse.hstack([-matrix[free], sparse.identity(grow)], format="csr")
    equal = sparse.hstack([matrix[fixed], sparse.csr_array((int(fixed.sum()), grow))], format="csr")
    cost = np.concatenate([np.zeros(count), -np.ones(grow)])
    found = linprog(
        cost,
        upper,
        np.zeros(grow),
        equal if fixed.any() else None,
        np.zeros(int(fixed.sum())) if fixed.any() else None,
        [(-BOX, BOX)] * count + [(0.0, 1.0)] * grow,
        method="highs",
    )
    if found.x is None:
        return None
    step = found.x[:count]
    change = dense @ step
    # What the program holds to 0 within its tolerance of 1e-7 is made 0.
    still = dense[fixed | (np.abs(change) <= GROWS * change.max())]
    if len(still):
        step = step - np.linalg.lstsq(still, still @ step, rcond=None)[0]
    direction = np.zeros(live.shape)
    direction[live] = step
    return direction
