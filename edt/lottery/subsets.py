"""Every subset of r neurons of a wide network as a ticket: what the metaphor counts.

A network of m neurons holds ``C(m, r)`` tickets of r neurons, most of which overlap. The disjoint
ones of `edt.lottery.multistart` are a few of them; whether some ticket wins is a question to all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import comb

import numpy as np
import torch

from edt.ensemble import Ensemble
from edt.ensemble.kinds import chains
from edt.lottery.tickets import Tickets, neuron_mask
from edt.scalars import integer

__all__ = ["Subsets", "subset_tickets"]


@dataclass(frozen=True)
class Subsets:
    """Tickets of r neurons of every network, network after network.

    Attributes:
        tickets: K tickets.
        network: int64 ``[K]``, the wide network of each.
        neurons: int64 ``[K, r]``, ascending.
        whole: whether they are all there are; else a random sample without replacement.
    """

    tickets: Tickets
    network: torch.Tensor
    neurons: torch.Tensor
    whole: bool


def subset_tickets(
    start: Ensemble,
    r: int,
    task_index: torch.Tensor,
    *,
    most: int = 5000,
    seed: int = 0,
    names: torch.Tensor | None = None,
) -> Subsets:
    """All ``C(m, r)`` tickets of r neurons of each network, or a random sample of ``most`` of them.

    Every ticket has the output biases (`edt.lottery.Tickets`).

    Args:
        start: B networks of one hidden layer and one width, at their initial parameters.
        r: neurons of a ticket.
        task_index: int64 ``[B]``.
        most: tickets a network; all of them where there are no more.
        seed: of the samples; the sample of a network depends on (seed, its name) only.
        names: int64 ``[B]``; default 0..B-1.

    Returns:
        `Subsets`.

    Raises:
        ValueError: networks of several layers or widths, or r or ``most`` out of range.

    Example:
        >>> wide = Ensemble.init([5], [0, 1], d_in=2, d_out=1)
        >>> subset_tickets(wide, 2, torch.zeros(2, dtype=torch.int64)).neurons.shape
        torch.Size([20, 2])
    """
    sizes = chains(start, "a subset of neurons", "start").layer_widths
    if sizes.shape[1] != 3 or bool((sizes != sizes[0]).any()):
        raise ValueError("subsets need networks of one hidden layer and one width")
    m = int(sizes[0, 1])
    if not 1 <= r <= m:
        raise ValueError(f"r must be in 1..{m} (the width), got {r}")
    most = integer("most", most)
    label = torch.arange(start.B) if names is None else names
    total = comb(m, r)
    if total <= most:
        every = torch.tensor(list(itertools.combinations(range(m), r)), dtype=torch.int64)
        neurons = every.repeat(start.B, 1)
    else:
        neurons = torch.cat([_sample(m, r, most, seed, int(name)) for name in label.tolist()])
    count = min(total, most)
    network = torch.arange(start.B).repeat_interleave(count)
    chosen = torch.zeros(network.numel(), m, dtype=torch.bool)
    chosen[torch.arange(network.numel())[:, None], neurons] = True
    wide = start.select(network)
    tickets = Tickets(wide, neuron_mask(wide, chosen), task_index[network], label[network])
    return Subsets(tickets, network, neurons, total <= most)


def _sample(m: int, r: int, most: int, seed: int, name: int) -> torch.Tensor:
    """Distinct random subsets, in the order of their first draw, int64 ``[most, r]``."""
    generator = np.random.Generator(np.random.Philox(key=[seed, name]))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < most:
        rows = np.sort(generator.random((most, m)).argsort(axis=1)[:, :r], axis=1)
        found.update(dict.fromkeys(map(tuple, rows.tolist())))
    return torch.tensor(list(found)[:most], dtype=torch.int64)
