"""Multi-start: is a wide network its own narrow networks, started together?"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.ensemble import Ensemble
from edt.lottery.tickets import Tickets, neuron_mask


@dataclass(frozen=True)
class Partition:
    """Wide networks cut into disjoint tickets of r neurons.

    Attributes:
        tickets: K tickets, network after network; neurons ``i r .. (i + 1) r - 1`` form ticket i.
        network: int64 ``[K]``, the wide network of each.
        part: int64 ``[K]``, i.
    """

    tickets: Tickets
    network: torch.Tensor
    part: torch.Tensor


def partition(
    start: Ensemble, r: int, task_index: torch.Tensor, names: torch.Tensor | None = None
) -> Partition:
    """Cut networks of one hidden layer into ``floor(m / r)`` tickets each; left-over neurons are
    in none. Every ticket has the output biases.

    Args:
        start: B networks at their initial parameters.
        r: neurons of a ticket.
        task_index: int64 ``[B]``.
        names: int64 ``[B]``; default 0..B-1.

    Raises:
        ValueError: r < 1, or a network narrower than r.
    """
    widths = start.layer_widths[:, 1]
    if r < 1 or int(widths.min()) < r:
        raise ValueError(f"r must be in 1..{int(widths.min())} (the least width), got {r}")
    counts = widths // r
    network = torch.repeat_interleave(torch.arange(start.B), counts)
    first = torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
    part = torch.arange(network.numel()) - first
    wide = start.select(network)
    neurons = torch.arange(int(widths.max())) // r == part[:, None]
    label = torch.arange(start.B) if names is None else names
    tickets = Tickets(wide, neuron_mask(wide, neurons), task_index[network], label[network])
    return Partition(tickets, network, part)
