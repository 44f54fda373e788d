"""Masks that move during training: gradual pruning, SET and RigL, as ``mask_updates``.

Every rule acts layer by layer on weights (biases stay) unless it says otherwise; what a network's
masks become depends on nothing but the network, so that runs keep their bits in any company.

Reference: M. Zhu, S. Gupta, "To prune, or not to prune", 2017, arXiv 1710.01878; D. Mocanu et al.,
"Scalable training of artificial neural networks with adaptive sparse connectivity", Nature Comm.
9 (2018); U. Evci et al., "Rigging the lottery", ICML 2020, arXiv 1911.11134; H. Tanaka et al.,
"Pruning neural networks without any data", NeurIPS 2020, arXiv 2006.05467.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edt.arguments import checked
from edt.ensemble.deviates import uniform
from edt.ensemble.init import check_seeds
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE
from edt.ensemble.philox import draws
from edt.errors import unknown_choice
from edt.functional import loss_and_grad
from edt.lottery.criteria import snip, synflow
from edt.lottery.membership import group_sum, membership, ranks
from edt.lottery.prune import SCOPES, keep_highest
from edt.lottery.random_numbers import GROW_STREAM
from edt.scalars import flag, integer, number

__all__ = ["SET", "GradualPruning", "RigL"]

#: Scores of weights by name: ``(networks, task, task_index) -> [total]``.
SCORES: dict[str, Callable[[Any, Any, torch.Tensor], torch.Tensor]] = {
    "magnitude": lambda networks, task, index: networks.theta.detach().abs(),
    "snip": lambda networks, task, index: snip(task, networks, index),
    "synflow": lambda networks, task, index: synflow(networks),
}


@dataclass(frozen=True)
class GradualPruning:
    """Sparsity that rises as ``s_t = s_f + (s_i - s_f) (1 - (t - t0) / (t1 - t0))^3``.

    Args:
        sparsity: s_f, share of weights pruned at the end.
        begin, end: t0 and t1, steps; default 0 and three quarters of the run.
        every: steps between prunings.
        initial: s_i.
        power: of the law, 3 in the paper.
        score: "magnitude", "snip" or "synflow"; the lowest go.
        scope: "layer" or "global".

    Example:
        >>> rule = GradualPruning(0.9, end=400, every=100)
        >>> [round(rule.share(step, 1000), 3) for step in rule.at(1000)]
        [0.0, 0.52, 0.787, 0.886, 0.9]
    """

    sparsity: float
    begin: int = 0
    end: int | None = None
    every: int = 100
    initial: float = 0.0
    power: float = 3.0
    score: str = "magnitude"
    scope: str = "layer"

    def __post_init__(self) -> None:
        for name in ("sparsity", "initial"):
            number(name, getattr(self, name), below=1.0)
        number("power", self.power)
        _span(self.begin, self.end, self.every)
        if self.score not in SCORES:
            raise unknown_choice("score", self.score, list(SCORES))
        if self.scope not in SCOPES[:2]:
            raise unknown_choice("scope", self.scope, SCOPES[:2])

    def at(self, steps: int) -> Sequence[int]:
        """Steps before which weights are pruned."""
        last = _end(self.begin, self.end, steps)
        return sorted({*range(self.begin, last + 1, self.every), last})

    def share(self, step: int, steps: int) -> float:
        """s_t."""
        last = _end(self.begin, self.end, steps)
        left = 1.0 - min((step - self.begin) / max(last - self.begin, 1), 1.0)
        return float(self.sparsity + (self.initial - self.sparsity) * left**self.power)

    def __call__(
        self, step: int, steps: int, networks: Any, task: Any, task_index: torch.Tensor
    ) -> torch.Tensor:
        """See `edt.training.mask_changes.MaskUpdate`."""
        scores = SCORES[self.score](networks, task, task_index)
        return keep_highest(networks, scores, 1.0 - self.share(step, steps), self.scope)


class _Exchange:
    """Prune as many weights of a layer as grow there."""

    every: int
    fraction: float
    begin: int
    end: int | None

    def at(self, steps: int) -> Sequence[int]:
        """Steps before which weights are exchanged."""
        return range(self.begin, _end(self.begin, self.end, steps), self.every)

    def _exchanged(self, networks: Any, drop: torch.Tensor, grow: torch.Tensor) -> torch.Tensor:
        """States after what ``drop`` marks went and as many of the highest ``grow`` came.

        Args:
            drop: bool ``[total]``. grow: float64 ``[total]``.
        """
        at = membership(networks)
        state: torch.Tensor = networks.state.cpu().clone()
        state[drop] = PRUNED
        where = torch.nonzero(~at.bias & (state == PRUNED)).flatten()
        group = at.block[where]
        count = group_sum(drop, at.block, networks.B * at.layers)
        chosen = where[ranks(-grow[where], group) < count[group]]
        state[chosen] = TRAINABLE
        return state


@dataclass(frozen=True)
class SET(_Exchange):
    """Sparse evolutionary training: weights nearest to 0 go, others grow at random, at 0.

    Of a layer's positive weights the smallest ``fraction`` goes, and of the negative ones the
    largest; as many of the layer's absent weights come back, any with equal chance. The paper's
    words leave open what becomes of weights that are 0, grown ones that no gradient has reached.

    Args:
        every: steps between exchanges (an epoch in the paper).
        fraction: zeta, 0.3 in the paper.
        zeros: whether all weights that are 0 go as well, as in the code of the paper; otherwise
            they are the largest of the negative ones.
        begin, end: steps; default 0 (excluded) and all.
        seed: of what grows; an integer, or one a network.
    """

    every: int = 100
    fraction: float = 0.3
    begin: int = 0
    end: int | None = None
    seed: int | tuple[int, ...] = 0
    zeros: bool = False

    def __post_init__(self) -> None:
        number("fraction", self.fraction, below=1.0)
        _span(self.begin, self.end, self.every)
        check_seeds(self.seed)
        flag("zeros", self.zeros)

    def at(self, steps: int) -> Sequence[int]:
        """Steps before which weights are exchanged."""
        last = steps if self.end is None else min(self.end, steps)
        return range(self.begin + self.every, last, self.every)

    def __call__(
        self, step: int, steps: int, networks: Any, task: Any, task_index: torch.Tensor
    ) -> torch.Tensor:
        """See `edt.training.mask_changes.MaskUpdate`."""
        at = membership(networks)
        theta = networks.theta.detach().cpu()
        live = (networks.state.cpu() == TRAINABLE) & ~at.bias
        gone = live & (theta == 0.0) if self.zeros else torch.zeros_like(live)
        where = torch.nonzero(live & ~gone).flatten()
        group = 2 * at.block[where] + (theta[where] > 0.0)
        count = group_sum(torch.ones_like(group), group, 2 * networks.B * at.layers)[group]
        goes = ranks(theta[where].abs().double(), group) < (self.fraction * count).floor()
        gone[where[goes]] = True
        return self._exchanged(networks, gone, self._draws(step, networks))

    def _draws(self, step: int, networks: Any) -> torch.Tensor:
        """Uniform numbers of a step, by (seed, id, step)."""
        seeds = np.resize(np.array(check_seeds(self.seed), dtype=np.uint64), networks.B)
        ids = networks.network_ids.cpu().numpy().astype(np.uint64)
        sizes = np.diff(networks.offsets.cpu().numpy())
        with np.errstate(over="ignore"):
            keys = seeds + np.uint64(step) * np.uint64(0x9E3779B97F4A7C15)
        return torch.from_numpy(uniform(draws(keys, ids, GROW_STREAM, sizes)))


@dataclass(frozen=True)
class RigL(_Exchange):
    """Weights of least size go, those of the largest gradient grow, at 0.

    Of a layer's n weights ``floor(n fraction (1 + cos(pi t / end)) / 2)`` are exchanged; gradients
    of absent weights are those of the loss of all data.

    Args:
        every: steps between exchanges, 100 in the paper.
        fraction: alpha, 0.3 in the paper.
        begin: the first exchange is ``every`` steps later.
        end: last step; default three quarters of the run, as in the paper.
    """

    every: int = 100
    fraction: float = 0.3
    begin: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        number("fraction", self.fraction, below=1.0)
        _span(self.begin, self.end, self.every)

    def at(self, steps: int) -> Sequence[int]:
        """Steps before which weights are exchanged."""
        return range(self.begin + self.every, _end(self.begin, self.end, steps), self.every)

    def __call__(
        self, step: int, steps: int, networks: Any, task: Any, task_index: torch.Tensor
    ) -> torch.Tensor:
        """See `edt.training.mask_changes.MaskUpdate`."""
        at, state = membership(networks), networks.state.cpu()
        last = _end(self.begin, self.end, steps)
        share = 0.5 * self.fraction * (1.0 + math.cos(math.pi * step / max(last, 1)))
        dense = networks.with_state(torch.where(state == FROZEN, FROZEN, TRAINABLE).to(state.dtype))
        _, grad = loss_and_grad(task, dense, networks.theta, task_index)
        live = (state == TRAINABLE) & ~at.bias
        where = torch.nonzero(live).flatten()
        group = at.block[where]
        count = group_sum(torch.ones_like(group), group, networks.B * at.layers)[group]
        goes = ranks(networks.theta.detach().cpu()[where].abs().double(), group)
        drop = torch.zeros_like(live)
        drop[where[goes < (share * count).floor()]] = True
        # A gradient that is no number says nothing: its weight comes last.
        size = torch.nan_to_num(grad.detach().cpu().abs().double(), nan=-1.0)
        return self._exchanged(networks, drop, size)


def _span(begin: Any, end: Any, every: Any) -> None:
    """Insist on steps.

    Raises:
        TypeError, ValueError: others.
    """
    integer("begin", begin, 0)
    integer("every", every)
    if end is not None and integer("end", end, 0) < begin:
        raise ValueError(f"end must be >= begin ({begin}), got {end}")


def _end(begin: int, end: int | None, steps: int) -> int:
    """The last step of a rule: three quarters of the run unless given."""
    return max(3 * steps // 4, begin) if end is None else end


checked(__name__)
