"""Which parameters to prune next, from a score each: by layer, over the whole network, by neuron.

Scores say what a parameter is worth; the lowest go first. Only weights are pruned (biases stay).
A network that a path of weights leads through keeps one, whatever the scores: without, it would be
a constant, whose loss looks like that of a network that does not learn
(`edt.lottery.connectivity`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from edt.arguments import checked
from edt.ensemble import Ensemble
from edt.ensemble.kinds import Networks, chains
from edt.ensemble.masks import PRUNED
from edt.errors import ShapeError, unknown_choice
from edt.lottery.connectivity import connected, flat_scores, strongest_path
from edt.lottery.membership import group_sum, layers_of, membership, ranks
from edt.scalars import number

#: What is ranked against what.
SCOPES = ("layer", "global", "neuron")

Shares = float | Sequence[float]


def prune_lowest(
    ens: Networks, scores: torch.Tensor, share: Shares, scope: str = "layer"
) -> torch.Tensor:
    """States with a share of the remaining weights pruned, those of lowest score first.

    In each group of n remaining weights ``round(share n)`` go (halves up; at least one if the
    share is above 0, at most n - 1). Equal scores go in the order of their indices. Where that
    would cut a network's last path from inputs to outputs, the weights (neurons) of its strongest
    path, that of the largest least score, stay and the next lowest go instead, or fewer.

    Args:
        ens: B networks.
        scores: ``[total]``, infinite ones allowed; entries of pruned parameters and biases are not
            looked at.
        share: in [0, 1); one number, or one per layer 0..D (scopes "layer" and "neuron").
        scope: "layer" ranks within each layer, "global" over all layers of a network, "neuron"
            prunes whole hidden neurons, ranked within their layer by the sum of the scores of
            their incoming and outgoing weights.

    Returns:
        uint8 ``[total]``, the new states.

    Raises:
        ShapeError: wrong length. ValueError: unknown scope, a share out of range, or a score that
            is NaN (see `prune_finite` for networks that diverged).

    Example:
        >>> ens = Ensemble([2], d_in=2, d_out=1, bias=False, theta=torch.arange(6.0).double())
        >>> prune_lowest(ens, ens.theta.abs(), 0.5).tolist()
        [0, 0, 1, 1, 0, 1]
    """
    scores = flat_scores(ens, scores)
    if scope not in SCOPES:
        raise unknown_choice("scope", scope, SCOPES)
    if scope == "neuron":
        chains(ens, "scope='neuron'")
    shares = layer_shares(ens, share)
    if scope == "global" and len(set(shares)) > 1:
        raise ValueError("scope 'global' takes one share for all layers")
    _ranked(ens, scores)
    state = _prune(ens, scores, shares, scope, torch.zeros(ens.total, dtype=torch.bool))
    cut = connected(ens) & ~connected(ens.with_state(state))
    if bool(cut.any()):
        keep = strongest_path(ens, scores) & cut[membership(ens).network]
        state = _prune(ens, scores, shares, scope, keep)
    return state


def keep_highest(
    networks: Networks, scores: torch.Tensor, density: float, scope: str = "layer"
) -> torch.Tensor:
    """States in which ``density`` of all weights stay, those of the highest scores.

    Of n weights of a group, pruned ones counted, ``round(density n)`` stay, at least 1 and at most
    those that are there. A network that a path of weights leads through keeps its strongest; one
    whose parameters are not finite keeps its states, as in `prune_finite`.

    Args:
        networks: B networks.
        scores: ``[total]``; those of pruned weights and biases are not looked at.
        density: in (0, 1].
        scope: "layer" or "global" (all layers of a network together).

    Returns:
        uint8 ``[total]``.

    Raises:
        ShapeError: wrong length. ValueError: unknown scope, a density out of range, or a score that
            is NaN in a network that is finite.
    """
    scores = flat_scores(networks, scores)
    if scope not in SCOPES[:2]:
        raise unknown_choice("scope", scope, SCOPES[:2])
    number("density", density, below=math.nextafter(1.0, 2.0), strict=True)
    at = membership(networks)
    lost = ~networks.finite.cpu()[at.network]
    scores = torch.where(lost, 0.0, scores)
    _ranked(networks, scores)
    where = torch.nonzero(~at.bias).flatten()
    live = networks.state.cpu()[where] != PRUNED
    group = (at.block if scope == "layer" else at.network)[where]
    groups = networks.B * (at.layers if scope == "layer" else 1)
    count = group_sum(torch.ones_like(group), group, groups)[group]
    wanted = torch.floor(density * count + 0.5).to(torch.int64).clamp_min(1)

    def pruned(first: torch.Tensor) -> torch.Tensor:
        key = torch.where(live, -scores[where].double(), math.inf)
        key = torch.where(first[where] & live, -math.inf, key)
        state = networks.state.cpu().clone()
        gone = live & (ranks(key, group) >= wanted) & ~lost[where]
        state[where[gone]] = PRUNED
        return state

    state = pruned(torch.zeros(networks.total, dtype=torch.bool))
    cut = connected(networks) & ~connected(networks.with_state(state))
    if bool(cut.any()):
        state = pruned(strongest_path(networks, scores) & cut[at.network])
    return state


def prune_finite(
    ens: Networks, scores: torch.Tensor, share: Shares, scope: str = "layer"
) -> torch.Tensor:
    """As `prune_lowest`, but networks whose parameters are not finite keep their states.

    What a diverged network's weights are worth is unknown, so none of them is chosen; their scores
    are not looked at.

    Args:
        ens, scores, share, scope: as in `prune_lowest`.

    Returns:
        uint8 ``[total]``, the new states.

    Raises:
        ShapeError, ValueError: as in `prune_lowest`.
    """
    alive = torch.nonzero(ens.finite).flatten()
    state = ens.state.clone()
    if alive.numel() == ens.B:
        return prune_lowest(ens, scores, share, scope)
    scores = flat_scores(ens, scores)
    if alive.numel():
        place = ens.positions(alive)
        state[place] = prune_lowest(ens.select(alive), scores[place], share, scope)
    return state


def _ranked(ens: Networks, scores: torch.Tensor) -> None:
    """Insist on scores that can be ranked.

    Raises:
        ValueError: NaN at a weight that is not pruned.
    """
    at = membership(ens)
    lost = torch.isnan(scores) & ~at.bias & (ens.state != PRUNED)
    if bool(lost.any()):
        networks = torch.unique(at.network[lost])
        raise ValueError(
            f"scores must not be NaN, got {int(lost.sum())} in {networks.numel()} of {ens.B} "
            f"networks, network {int(networks[0])} the first; leave out what diverged by "
            "ens.select, or keep its mask by prune_finite"
        )


def _prune(
    ens: Networks, scores: torch.Tensor, shares: list[float], scope: str, keep: torch.Tensor
) -> torch.Tensor:
    """The states after pruning; what ``keep`` (bool ``[total]``) names stays."""
    if scope == "neuron":
        return _neurons(chains(ens, "scope='neuron'"), scores, shares, keep)
    at = membership(ens)
    where = torch.nonzero(~at.bias & (ens.state != PRUNED)).flatten()
    by_layer = scope == "layer"
    group = (at.block if by_layer else at.network)[where]
    part = torch.tensor(shares, dtype=torch.float64)[at.layer[where]]
    groups = ens.B * (at.layers if by_layer else 1)
    gone = _lowest(scores[where], group, part, groups, keep[where])
    state = ens.state.clone()
    state[where[gone]] = PRUNED
    return state


def layer_shares(ens: Networks, share: Shares) -> list[float]:
    """One share in [0, 1) per layer.

    Raises:
        ShapeError: wrong count. ValueError: out of range.
    """
    layers = layers_of(ens)
    many = list(share) if isinstance(share, (Sequence, np.ndarray)) else [share] * layers
    if len(many) != layers:
        raise ShapeError(f"share must be a number or one per layer ({layers}), got {share}")
    return [number("share", value, below=1.0) for value in many]


def _lowest(
    scores: torch.Tensor,
    group: torch.Tensor,
    share: torch.Tensor,
    groups: int,
    keep: torch.Tensor,
) -> torch.Tensor:
    """bool: the lowest ``round(share n)`` of every group, at least 1 (share > 0), never all.

    Those to keep are counted among the n, but none of them goes.
    """
    count = group_sum(torch.ones_like(group), group, groups)[group]
    wanted = torch.floor(share * count + 0.5).to(torch.int64)
    wanted = torch.where(share > 0.0, wanted.clamp_min(1), wanted)
    most = count - group_sum(keep, group, groups)[group].clamp_min(1)
    order = ranks(scores, group)
    order = ranks(order + keep * (order.numel() + 1), group)
    return order < torch.minimum(wanted, most)


def _neurons(
    ens: Ensemble, scores: torch.Tensor, shares: list[float], keep: torch.Tensor
) -> torch.Tensor:
    at = membership(ens)
    state = ens.state.clone()
    worth = scores.to(torch.float64).masked_fill(at.bias | (ens.state == PRUNED), 0.0)
    for layer in range(ens.depth):
        widths = ens.layer_widths[:, layer + 1]
        start = torch.cumsum(widths, 0) - widths
        into = (at.layer == layer) & ~at.bias
        out = (at.layer == layer + 1) & ~at.bias
        owner = torch.cat(
            [start[at.network[into]] + at.row[into], start[at.network[out]] + at.column[out]]
        )
        total = int(widths.sum())
        value = group_sum(torch.cat([worth[into], worth[out]]), owner, total)
        live = torch.cat([ens.state[into], ens.state[out]]) != PRUNED
        alive = torch.nonzero(group_sum(live, owner, total) > 0).flatten()
        network = torch.repeat_interleave(torch.arange(ens.B), widths)[alive]
        if bool(torch.isnan(value[alive]).any()):
            raise ValueError(
                "scores must not hold infinities of both signs at one neuron: their sum is NaN"
            )
        share = torch.full((alive.numel(),), shares[layer], dtype=torch.float64)
        kept = group_sum(torch.cat([keep[into], keep[out]]), owner, total) > 0
        dead = torch.zeros(total, dtype=torch.bool)
        dead[alive[_lowest(value[alive], network, share, ens.B, kept[alive])]] = True
        below = at.layer == layer
        state[below] = state[below].masked_fill(
            dead[start[at.network[below]] + at.row[below]], PRUNED
        )
        state[out] = state[out].masked_fill(dead[start[at.network[out]] + at.column[out]], PRUNED)
    return state


def density(ens: Networks) -> torch.Tensor:
    """Share of each network's weights (biases left out) that are not pruned, float64 ``[B]``."""
    at = membership(ens)
    live = group_sum((ens.state != PRUNED) & ~at.bias, at.network, ens.B)
    return live.double() / group_sum(~at.bias, at.network, ens.B).double()


checked(__name__)
