"""Networks in which a ticket is untouched and everything else is changed.

A kind of change takes the rest's initial parameters ``w`` and a size s to new ones:

==========  ==================================================================  ==========
kind        new rest                                                            size s
==========  ==================================================================  ==========
resample    ``sqrt(1 - s^2) w + s w'``, w' a fresh draw of the initialisation   0..1
replace     ``round(s n)`` of the n entries taken from w'                       0..1
rescale     ``s w``                                                             >= 0
flip        ``round(s n)`` entries change sign                                  0..1
permute     ``round(s n)`` entries of each layer change places                  0..1
zero        ``round(s n)`` entries become 0                                     0..1
noise       ``w + s |w| u``, u uniform on the unit sphere                       >= 0
==========  ==================================================================  ==========

"resample" keeps the distribution of normal initialisations at every s: s = 1 is a new rest. The
draws of a rest do not depend on s, so that sizes are points on one path and can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from edt.errors import unknown_choice
from edt.lottery.membership import Membership, group_sum, membership, ranks
from edt.lottery.module_recipe import ModuleRecipe
from edt.lottery.random_numbers import CHOICE_STREAM, VALUE_STREAM, normals, rest_ids, uniforms
from edt.lottery.recipe import Recipe
from edt.lottery.tickets import Tickets
from edt.scalars import integer

#: Kinds whose size is a share or a mixing weight, at most 1.
BOUNDED = frozenset({"resample", "replace", "flip", "permute", "zero"})


@dataclass(frozen=True)
class Rests:
    """Networks with a ticket kept and the rest changed: tickets outermost, then sizes, then rests.

    Attributes:
        networks: B = K S R networks, all of ticket and rest trainable.
        keep: bool ``[total]``, the tickets.
        task_index: int64 ``[B]``.
        table: one row a network: ``ticket`` (0..K-1), ``size``, ``rest`` (0..R-1) and
            ``distance``, ``|rest' - rest| / |rest|``.
    """

    networks: Any
    keep: torch.Tensor
    task_index: torch.Tensor
    table: pd.DataFrame


@dataclass(frozen=True)
class _Case:
    """What a kind of change works with; flat vectors over all networks, rest entries only."""

    w: torch.Tensor
    size: torch.Tensor
    networks: Any
    where: torch.Tensor
    at: Membership
    seed: int
    ids: torch.Tensor
    recipe: Recipe | ModuleRecipe

    def fresh(self) -> torch.Tensor:
        """Another draw of the initialisation."""
        drawn: torch.Tensor = self.recipe.redraw(self.networks, self.seed, self.ids)
        return drawn[self.where]

    def chosen(self, group: torch.Tensor) -> torch.Tensor:
        """bool: a random ``round(s n)`` of each group's n entries (halves up)."""
        key = uniforms(self.networks, self.seed, self.ids, CHOICE_STREAM)[self.where]
        groups = int(group.max()) + 1
        count = group_sum(torch.ones_like(group), group, groups)[group]
        return ranks(key, group) < torch.floor(self.size * count + 0.5)

    @property
    def network(self) -> torch.Tensor:
        """Network of each entry."""
        return self.at.network[self.where]


def _resample(case: _Case) -> torch.Tensor:
    s = case.size.to(case.w.dtype)
    fresh = case.fresh()
    # What every draw has (the ones of norms) is no random number, and stays.
    return torch.where(fresh == case.w, case.w, torch.sqrt(1.0 - s * s) * case.w + s * fresh)


def _replace(case: _Case) -> torch.Tensor:
    return torch.where(case.chosen(case.network), case.fresh(), case.w)


def _rescale(case: _Case) -> torch.Tensor:
    return case.size.to(case.w.dtype) * case.w


def _flip(case: _Case) -> torch.Tensor:
    return torch.where(case.chosen(case.network), -case.w, case.w)


def _permute(case: _Case) -> torch.Tensor:
    group = case.at.kind[case.where]
    moving = torch.nonzero(case.chosen(group)).flatten()
    key = uniforms(case.networks, case.seed, case.ids, VALUE_STREAM)[case.where][moving]
    mine = group[moving]
    # Entry i of a group in index order takes the value of entry i in the order of random keys.
    order = torch.from_numpy(np.lexsort((key.numpy(), mine.numpy())))
    straight = torch.from_numpy(np.lexsort((moving.numpy(), mine.numpy())))
    out = case.w.clone()
    out[moving[straight]] = case.w[moving[order]]
    return out


def _zero(case: _Case) -> torch.Tensor:
    return case.w.masked_fill(case.chosen(case.network), 0.0)


def _noise(case: _Case) -> torch.Tensor:
    step = normals(case.networks, case.seed, case.ids, VALUE_STREAM)[case.where]
    norms = [
        group_sum(v.double().square(), case.network, case.networks.B).sqrt() for v in (case.w, step)
    ]
    factor = (norms[0] / norms[1].clamp_min(1e-300))[case.network]
    return case.w + (case.size * factor * step).to(case.w.dtype)


_KINDS: dict[str, Callable[[_Case], torch.Tensor]] = {
    "resample": _resample,
    "replace": _replace,
    "rescale": _rescale,
    "flip": _flip,
    "permute": _permute,
    "zero": _zero,
    "noise": _noise,
}
#: Names of all kinds of change.
KINDS: tuple[str, ...] = tuple(_KINDS)


def check_sizes(kind: str, sizes: Sequence[float], name: str = "kind") -> tuple[float, ...]:
    """Sizes as floats, in range for the kind.

    Args:
        kind, sizes: as of `perturb_rest`.
        name: what messages call the kind.

    Raises:
        ValueError: unknown kind, no sizes, or one out of range.
    """
    if kind not in _KINDS:
        raise unknown_choice(name, kind, KINDS)
    if not len(sizes):
        raise ValueError("sizes must hold at least one size")
    top = 1.0 if kind in BOUNDED else np.inf
    for size in sizes:
        if isinstance(size, bool) or not 0.0 <= float(size) <= top or not np.isfinite(size):
            span = "0..1" if kind in BOUNDED else ">= 0"
            raise ValueError(f"sizes must be in {span} for kind {kind!r}, got {size!r}")
    return tuple(float(size) for size in sizes)


def perturb_rest(
    tickets: Tickets,
    kind: str,
    sizes: Sequence[float],
    rests: int,
    *,
    recipe: Recipe | ModuleRecipe,
    seed: int = 0,
    first_rest: int = 0,
) -> Rests:
    """Keep every ticket's weights and positions; change the rest in many ways.

    Args:
        tickets: K tickets.
        kind: of change, see the top of this file.
        sizes: S sizes.
        rests: R changes of each ticket and size.
        recipe: initialisation that fresh draws come from; a `ModuleRecipe` for modules.
        seed: of the changes; change j of a ticket depends on (seed, the ticket's name, j) only.
        first_rest: number of the first change.

    Returns:
        `Rests` of K S R networks.

    Raises:
        ValueError: unknown kind, or a number out of range.

    Example:
        >>> ens = Ensemble.init([4], [0], d_in=2, d_out=1, scheme="glorot")
        >>> ticket = Tickets.of(ens, torch.arange(ens.total) % 2 == 0)
        >>> perturb_rest(ticket, "flip", [0.5, 1.0], rests=3, recipe=Recipe()).networks.B
        6
    """
    values = check_sizes(kind, sizes)
    rests = integer("rests", rests)
    count = len(values) * rests
    many = tickets.repeat(count)
    networks = many.inside()
    ticket = torch.arange(len(tickets)).repeat_interleave(count)
    size = torch.tensor(values, dtype=torch.float64).repeat_interleave(rests).repeat(len(tickets))
    rest = (first_rest + torch.arange(rests)).repeat(len(tickets) * len(values))
    where = torch.nonzero(many.rest).flatten()
    at = membership(networks)
    network = at.network[where]
    w = networks.theta[where]
    theta = networks.theta.clone()
    if where.numel():
        case = _Case(
            w, size[network], networks, where, at, seed, rest_ids(many.names, rest), recipe
        )
        theta[where] = _KINDS[kind](case)
    change = group_sum((theta[where] - w).double().square(), network, networks.B).sqrt()
    length = group_sum(w.double().square(), network, networks.B).sqrt()
    table = pd.DataFrame(
        {
            "ticket": ticket.numpy(),
            "size": size.numpy(),
            "rest": rest.numpy(),
            "distance": (change / length.clamp_min(1e-300)).numpy(),
        }
    )
    return Rests(networks.with_theta(theta), many.keep, many.task_index, table)
