"""Networks moved to where they resemble others most, without changing what they compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from edt.ensemble import Ensemble
from edt.ensemble.kinds import Networks, as_networks
from edt.ensemble.masks import PRUNED
from edt.landscape.layers import Layer, Network, along, total
from edt.landscape.stages import hidden_widths, layers_of, networks_of
from edt.landscape.symmetry import Symmetry, unit_symmetry

__all__ = ["Alignment", "align_networks"]

#: Passes over the hidden layers of deep networks.
SWEEPS = 30


@dataclass
class Alignment:
    """Networks brought close to their references.

    Attributes:
        networks: the aligned networks, of the kind that was given; they compute what they did
            before.
        order: for each network and hidden layer, which of its neurons (channels) went where (int64
            ``[h]``).
        sign: likewise, whether that neuron was reflected (-1.0) or not (1.0).
        before, after: float64 ``[B]``, distance from the reference relative to the larger norm.
    """

    networks: Any
    order: list[list[torch.Tensor]]
    sign: list[list[torch.Tensor]]
    before: torch.Tensor
    after: torch.Tensor


def align_networks(networks: Networks, reference: Networks) -> Alignment:
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

    Of networks of modules the neurons are channels of convolutions and outputs of linear layers,
    whose input weights are kernels and whose output weights are all taps that read them; maxima
    of fields allow no reflection, margins of zeros none that leaves a constant.

    Args:
        networks: B networks; modules must be chains of convolutions and linear layers
            (`edt.landscape.stages`).
        reference: B networks of the same widths, activation and biases.

    Returns:
        `Alignment`.

    Raises:
        TypeError: not ensembles, or modules that are no such chains. ValueError: they differ in
            kind, widths, activation or biases, or a network diverged.

    Example:
        >>> moved = align_networks(ends.select([1]), ends.select([0]))  # doctest: +SKIP

    Reference: S. Ainsworth, J. Hayase, S. Srinivasa, "Git Re-Basin", ICLR 2023 (weight matching);
    R. Jonker, A. Volgenant, Computing 38 (1987) 325 (the assignment).
    """
    for name, ens in (("networks", networks), ("reference", reference)):
        hidden_widths(as_networks(ens, name), name)  # names what is no chain
    if type(networks) is not type(reference) or networks.B != reference.B:
        raise ValueError(
            f"reference must be {networks.B} networks of the kind of networks, "
            f"{type(networks).__name__}, got {reference.B}, {type(reference).__name__}"
        )
    pairs = [(layers_of(networks, b), layers_of(reference, b)) for b in range(networks.B)]
    if isinstance(networks, Ensemble) and isinstance(reference, Ensemble):
        _alike("activation", networks.activation, reference.activation)
    for mine, theirs in pairs:
        _check_pair(mine, theirs, getattr(networks, "activation", ""))
    for name, ens in (("networks", networks), ("reference", reference)):
        # Distances are squares of parameters.
        size = ens.theta.detach().cpu().to(torch.float64).square()
        wild = torch.nonzero(~ens.with_theta(size.to(ens.dtype).to(ens.device)).finite).flatten()
        if wild.numel():
            raise ValueError(
                f"{name} must hold parameters whose squares are finite, network {int(wild[0])} "
                "does not (did it diverge?); leave it out by ens.select"
            )
    movers = [_Mover(mine, theirs, getattr(networks, "activation", "")) for mine, theirs in pairs]
    for moving in movers:
        moving.settle()
    packed = networks_of([moving.layers() for moving in movers], networks)
    moved = networks.with_state(packed.state.to(networks.device))
    moved = moved.with_theta(packed.theta.to(networks.dtype).to(networks.device))
    goal = reference.theta.detach().cpu().to(torch.float64)
    ends = (ens.theta.detach().cpu().to(torch.float64) for ens in (networks, moved))
    before, after = (relative_distances(networks, theta, goal) for theta in ends)
    order, sign = [moving.order for moving in movers], [moving.sign for moving in movers]
    return Alignment(moved, order, sign, before, after)


def _alike(what: str, mine: Any, theirs: Any) -> None:
    if mine != theirs:
        raise ValueError(f"reference must have the {what} of networks, {mine}, got {theirs}")


def _check_pair(mine: Network, theirs: Network, activation: str) -> None:
    """Layers of one pair must have one form."""
    for what, of in (
        ("biases", lambda layer: layer.bias is not None),
        ("widths", lambda layer: tuple(layer.weight.shape)),
    ):
        _alike(what, *([of(layer) for layer in layers] for layers in (mine, theirs)))
    names = ([layer.activation_name(activation) for layer in both[1:]] for both in (mine, theirs))
    _alike("activations", *names)


class _Mover:
    """One network and its reference; the network is changed layer by layer."""

    def __init__(self, mine: Network, goal: Network, activation: str) -> None:
        self._given = mine
        self.weight = [layer.weight.cpu().to(torch.float64) for layer in mine]
        self.weight_state = [layer.weight_state.cpu().clone() for layer in mine]
        self.goal = [layer.weight.cpu().to(torch.float64) for layer in goal]
        self.bias, self.goal_bias = (
            [None if one.bias is None else one.bias.cpu().to(torch.float64) for one in layers]
            for layers in (mine, goal)
        )
        self.bias_state = [
            None if layer.bias_state is None else layer.bias_state.cpu().clone() for layer in mine
        ]
        self.symmetry: Sequence[Symmetry] = [
            unit_symmetry(layer.activation_name(activation), layer) for layer in mine[1:]
        ]
        self.depth = len(mine) - 1
        widths = [int(weight.shape[0]) for weight in self.weight[:-1]]
        self.order = [torch.arange(width) for width in widths]
        self.sign = [torch.ones(width, dtype=torch.float64) for width in widths]

    def layers(self) -> Network:
        """The network as it is now."""
        found: list[Layer] = []
        for k, layer in enumerate(self._given):
            dtype, bias = layer.weight.dtype, self.bias[k]
            found.append(
                replace(
                    layer,
                    weight=self.weight[k].to(dtype),
                    weight_state=self.weight_state[k],
                    bias=None if bias is None else bias.to(dtype),
                    bias_state=self.bias_state[k],
                )
            )
        return found

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
        pairs = [
            *zip(self.weight, self.goal, strict=True),
            *zip(self.bias, self.goal_bias, strict=True),
        ]
        return sum(
            float((w - g).square().sum()) for w, g in pairs if w is not None and g is not None
        )

    def _room(self, layer: int) -> bool:
        """Whether biases of a layer can take constants."""
        state = self.bias_state[layer]
        return state is not None and not bool((state == PRUNED).any())

    def _moves(self, layer: int) -> list[tuple[float, int]]:
        """Reflections (+-1) and half periods that single neurons of a layer may take."""
        symmetry = self.symmetry[layer]
        signs, reflection = [1.0], symmetry.reflection if symmetry.free else None
        if reflection is not None and (reflection.offset == 0.0 or self._room(layer + 1)):
            signs = [1.0, -1.0]
        turns = [0, 1] if symmetry.half_period is not None and self._room(layer) else [0]
        return [(sign, turn) for sign in signs for turn in turns]

    def _match(self, layer: int) -> None:
        from scipy.optimize import linear_sum_assignment  # heavy, and rarely needed

        symmetry, bias, goal_bias = self.symmetry[layer], self.bias[layer], self.goal_bias[layer]
        mine, theirs = self.weight[layer].flatten(1), self.goal[layer].flatten(1)
        after, wanted = (_columns(w[layer + 1]) for w in (self.weight, self.goal))
        period = None if symmetry.half_period is None else 2.0 * symmetry.half_period
        if bias is not None and goal_bias is not None and period is None:
            mine = torch.cat([mine, bias[:, None]], 1)
            theirs = torch.cat([theirs, goal_bias[:, None]], 1)
        scale = _scales(theirs, mine, wanted, after, symmetry.degree)
        degree = symmetry.degree or 0
        sizes = theirs.square().sum(1)[:, None] + scale**2 * mine.square().sum(1)
        sizes = sizes + wanted.square().sum(1)[:, None]
        sizes = sizes + after.square().sum(1) / scale ** (2 * degree)
        inner, outer = theirs @ mine.T, wanted @ after.T
        moves = self._moves(layer)
        costs, rests = [], []
        for sign, turn in moves:
            turned = self._turned(symmetry, sign, turn)
            cost = sizes - 2.0 * sign * scale * inner - 2.0 * turned / scale**degree * outer
            rest = torch.zeros_like(cost)
            if period is not None and bias is not None and goal_bias is not None:
                rest = goal_bias[:, None] - sign * bias
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

    @staticmethod
    def _turned(symmetry: Symmetry, sign: float, turn: int) -> float:
        """Factor on the output weights of a neuron that is reflected or shifted."""
        reflection = symmetry.reflection
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
        symmetry = self.symmetry[layer]
        sign = torch.tensor([move[0] for move in moves], dtype=torch.float64)
        turned = torch.tensor([self._turned(symmetry, *move) for move in moves]).double()
        mine, column = self.weight[layer][order], self.weight[layer + 1][:, order]
        self.weight[layer] = along(sign * scale, mine, 0) * mine
        self.weight_state[layer] = self.weight_state[layer][order]
        self.weight_state[layer + 1] = self.weight_state[layer + 1][:, order]
        factor = turned / scale ** (symmetry.degree or 0)
        self.weight[layer + 1] = column * along(factor, column, 1)
        bias, goal_bias, state = self.bias[layer], self.goal_bias[layer], self.bias_state[layer]
        if bias is not None and goal_bias is not None and state is not None:
            moved = sign * scale * bias[order]
            if symmetry.half_period is not None and len(self._moves(layer)) > 2:
                moved = goal_bias - rest
            self.bias[layer], self.bias_state[layer] = moved, state[order]
        following, reflection = self.bias[layer + 1], symmetry.reflection
        if following is not None and reflection is not None and reflection.offset != 0.0:
            reflected = column * along((sign < 0.0).double(), column, 1)
            self.bias[layer + 1] = following + reflection.offset * total(reflected)
        self.order[layer] = self.order[layer][order]
        self.sign[layer] = self.sign[layer][order] * sign


def _columns(weight: torch.Tensor) -> torch.Tensor:
    """Output weights of each unit that a layer reads, ``[units, ...]``."""
    return weight.movedim(1, 0).flatten(1)


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
    ratio = theirs.norm(dim=1) / wanted.norm(dim=1)
    own = after.norm(dim=1) / mine.norm(dim=1)
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
