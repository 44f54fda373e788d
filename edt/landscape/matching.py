"""Networks moved to where they resemble others most, without changing what they compute."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from edt.ensemble import Ensemble
from edt.ensemble.kinds import Networks, chains
from edt.ensemble.masks import PRUNED
from edt.landscape.symmetry import SYMMETRIES, Symmetry

__all__ = ["Alignment", "align_networks"]

#: Passes over the hidden layers of deep networks.
SWEEPS = 30


@dataclass
class Alignment:
    """Networks brought close to their references.

    Attributes:
        networks: the aligned networks; they compute what they did before.
        order: for each network and hidden layer, which of its neurons went where (int64 ``[h]``).
        sign: likewise, whether that neuron was reflected (-1.0) or not (1.0).
        before, after: float64 ``[B]``, distance from the reference relative to the larger norm.
    """

    networks: Ensemble
    order: list[list[torch.Tensor]]
    sign: list[list[torch.Tensor]]
    before: torch.Tensor
    after: torch.Tensor


def align_networks(networks: Ensemble, reference: Ensemble) -> Alignment:
    """Permute, reflect, shift and rescale neurons so that networks resemble their references.

    Hidden layer by hidden layer, each neuron is matched with one of the reference: the assignment
    with the least sum of squared distances of input and output weights, where every candidate is
    first moved by the activation's own symmetries (`edt.landscape.symmetry`): reflected where that
    costs at most a constant, which the next bias takes (odd and even activations, sigmoid),
    shifted by half periods (sin), scaled to the reference's ratio of input to output weights
    (relu, leaky_relu and other homogeneous activations). With one hidden layer the matching is
    exact; with more, passes are made until the distance no longer falls. Ramps (softplus, silu,
    ...) are permuted only: a single reflected neuron would leave a linear function behind. Masks
    and frozen states move along.

    Args:
        networks: B networks.
        reference: B networks of the same widths, activation and biases.

    Returns:
        `Alignment`.

    Raises:
        TypeError: not ensembles. ValueError: they differ in widths, activation or biases, or
            a network diverged.

    Example:
        >>> moved = align_networks(ends.select([1]), ends.select([0]))  # doctest: +SKIP

    Reference: S. Ainsworth, J. Hayase, S. Srinivasa, "Git Re-Basin", ICLR 2023 (weight matching);
    R. Jonker, A. Volgenant, Computing 38 (1987) 325 (the assignment).
    """
    for name, ens in (("networks", networks), ("reference", reference)):
        chains(ens, "alignment", name)
    for what in ("activation", "has_bias"):
        if getattr(networks, what) != getattr(reference, what):
            raise ValueError(
                f"reference must have the {what} of networks, {getattr(networks, what)}, "
                f"got {getattr(reference, what)}"
            )
    if not torch.equal(networks.layer_widths.cpu(), reference.layer_widths.cpu()):
        raise ValueError("reference must have the widths of networks, network by network")
    for name, ens in (("networks", networks), ("reference", reference)):
        # Distances are squares of parameters.
        size = ens.theta.detach().cpu().to(torch.float64).square()
        wild = torch.nonzero(~ens.with_theta(size.to(ens.dtype).to(ens.device)).finite).flatten()
        if wild.numel():
            raise ValueError(
                f"{name} must hold parameters whose squares are finite, network {int(wild[0])} "
                "does not (did it diverge?); leave it out by ens.select"
            )
    symmetry = SYMMETRIES[networks.activation]
    theta = networks.theta.detach().cpu().to(torch.float64).clone()
    goal = reference.theta.detach().cpu().to(torch.float64)
    state = networks.state.cpu().clone()
    before = relative_distances(networks, theta, goal)
    orders, signs = [], []
    for b in range(networks.B):
        moving = _Mover(networks, theta, state, goal, b, symmetry)
        moving.settle()
        orders.append(moving.order)
        signs.append(moving.sign)
    moved = Ensemble(
        [tuple(row) for row in networks.layer_widths[:, 1:-1].tolist()],
        networks.d_in,
        networks.d_out,
        activation=networks.activation,
        bias=networks.has_bias,
        theta=theta.to(networks.dtype),
        state=state,
        ids=networks.network_ids,
    )
    after = relative_distances(networks, theta, goal)
    return Alignment(moved.to(device=networks.device), orders, signs, before, after)


class _Mover:
    """One network, changed in place layer by layer."""

    def __init__(
        self,
        ens: Ensemble,
        theta: torch.Tensor,
        state: torch.Tensor,
        goal: torch.Tensor,
        b: int,
        symmetry: Symmetry,
    ) -> None:
        layers = range(ens.depth + 1)
        parts = [[ens.layout.weight(flat, b, k) for k in layers] for flat in (theta, state, goal)]
        self.weight, self.weight_state, self.goal = parts
        self.bias: list[torch.Tensor] | None = None
        if ens.has_bias:
            rows = [[ens.layout.bias(flat, b, k) for k in layers] for flat in (theta, state, goal)]
            self.bias, self.bias_state, self.goal_bias = rows
        self.symmetry = symmetry
        self.depth = ens.depth
        widths = ens.layer_widths[b, 1:-1].tolist()
        self.order = [torch.arange(width) for width in widths]
        self.sign = [torch.ones(width, dtype=torch.float64) for width in widths]

    def settle(self) -> None:
        """Match every layer until the distance no longer falls."""
        last = math.inf
        for _ in range(1 if self.depth == 1 else SWEEPS):
            for layer in range(self.depth):
                self._match(layer)
            now = self._distance()
            if not now < last * (1.0 - 1e-12):
                break
            last = now

    def _distance(self) -> float:
        gap = sum(
            float((w - g).square().sum()) for w, g in zip(self.weight, self.goal, strict=True)
        )
        if self.bias is not None:
            pairs = zip(self.bias, self.goal_bias, strict=True)
            gap += sum(float((w - g).square().sum()) for w, g in pairs)
        return gap

    def _moves(self, layer: int) -> list[tuple[float, int]]:
        """Reflections (+-1) and half periods that single neurons of a layer may take."""
        symmetry, biased = self.symmetry, self.bias is not None
        signs = [1.0]
        if symmetry.free and symmetry.reflection is not None:
            room = biased and not bool((self.bias_state[layer + 1] == PRUNED).any())
            if symmetry.reflection.offset == 0.0 or room:
                signs = [1.0, -1.0]
        turns = [0]
        if symmetry.half_period is not None and biased:
            turns = [0, 1] if not bool((self.bias_state[layer] == PRUNED).any()) else [0]
        return [(sign, turn) for sign in signs for turn in turns]

    def _match(self, layer: int) -> None:
        from scipy.optimize import linear_sum_assignment  # heavy, and rarely needed

        symmetry = self.symmetry
        mine, theirs = self.weight[layer], self.goal[layer]
        after, wanted = self.weight[layer + 1], self.goal[layer + 1]
        period = None if symmetry.half_period is None else 2.0 * symmetry.half_period
        if self.bias is not None and period is None:
            mine = torch.cat([mine, self.bias[layer][:, None]], 1)
            theirs = torch.cat([theirs, self.goal_bias[layer][:, None]], 1)
        scale = _scales(theirs, mine, wanted, after, symmetry.degree)
        degree = symmetry.degree or 0
        sizes = theirs.square().sum(1)[:, None] + scale**2 * mine.square().sum(1)
        sizes = sizes + wanted.square().sum(0)[:, None]
        sizes = sizes + after.square().sum(0) / scale ** (2 * degree)
        inner, outer = theirs @ mine.T, wanted.T @ after
        moves = self._moves(layer)
        costs, rests = [], []
        for sign, turn in moves:
            turned = self._turned(sign, turn)
            cost = sizes - 2.0 * sign * scale * inner - 2.0 * turned / scale**degree * outer
            rest = torch.zeros_like(cost)
            if period is not None and self.bias is not None:
                rest = self.goal_bias[layer][:, None] - sign * self.bias[layer]
                rest = rest - turn * 0.5 * period
                if turn or len(moves) > 2:
                    rest = rest - period * torch.round(rest / period)
                cost = cost + rest.square()
            costs.append(cost)
            rests.append(rest)
        best, which = torch.stack(costs).min(dim=0)
        _, columns = linear_sum_assignment(best.numpy())
        order = torch.from_numpy(np.asarray(columns, dtype=np.int64))
        place = torch.arange(order.numel())
        chosen = which[place, order]
        self._apply(layer, order, [moves[k] for k in chosen.tolist()], scale[place, order],
                    torch.stack(rests)[chosen, place, order])  # fmt: skip

    def _turned(self, sign: float, turn: int) -> float:
        """Factor on the output weights of a neuron that is reflected or shifted."""
        reflection = self.symmetry.reflection
        factor = float(reflection.sign) if sign < 0.0 and reflection is not None else 1.0
        return -factor if turn else factor

    def _apply(
        self,
        layer: int,
        order: torch.Tensor,
        moves: list[tuple[float, int]],
        scale: torch.Tensor,
        rest: torch.Tensor,
    ) -> None:
        sign = torch.tensor([move[0] for move in moves], dtype=torch.float64)
        turned = torch.tensor([self._turned(*move) for move in moves], dtype=torch.float64)
        symmetry, after = self.symmetry, self.weight[layer + 1]
        column = after[:, order].clone()
        self.weight[layer].copy_((sign * scale)[:, None] * self.weight[layer][order])
        self.weight_state[layer].copy_(self.weight_state[layer][order].clone())
        self.weight_state[layer + 1].copy_(self.weight_state[layer + 1][:, order].clone())
        after.copy_(column * (turned / scale ** (symmetry.degree or 0)))
        if self.bias is not None:
            bias = sign * scale * self.bias[layer][order]
            if symmetry.half_period is not None and len(self._moves(layer)) > 2:
                bias = self.goal_bias[layer] - rest
            self.bias[layer].copy_(bias)
            self.bias_state[layer].copy_(self.bias_state[layer][order].clone())
            if symmetry.reflection is not None and symmetry.reflection.offset != 0.0:
                self.bias[layer + 1] += symmetry.reflection.offset * (column * (sign < 0.0)).sum(1)
        self.order[layer] = self.order[layer][order]
        self.sign[layer] = self.sign[layer][order] * sign


def _scales(
    theirs: torch.Tensor,
    mine: torch.Tensor,
    wanted: torch.Tensor,
    after: torch.Tensor,
    degree: int | None,
) -> torch.Tensor:
    """Factors ``[h, h]`` on input weights that give neuron j the ratio in : out of neuron i."""
    shape = (theirs.shape[0], mine.shape[0])
    if degree is None:
        return torch.ones(shape, dtype=torch.float64)
    ratio = theirs.norm(dim=1) / wanted.norm(dim=0)
    own = after.norm(dim=0) / mine.norm(dim=1)
    scale = (ratio[:, None] * own[None]) ** (1.0 / (degree + 1))
    good = torch.isfinite(scale) & (scale > 0.0)
    return torch.where(good, scale, 1.0)


def relative_distances(ens: Networks, theta: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """``|theta - goal| / max(|theta|, |goal|)`` of each network."""
    lengths = (ens.offsets[1:] - ens.offsets[:-1]).cpu()

    def norm(flat: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(torch.segment_reduce(flat * flat, "sum", lengths=lengths))

    largest = torch.maximum(norm(theta), norm(goal))
    return norm(theta - goal) / largest.masked_fill(largest == 0.0, 1.0)
