"""Multi-start: is a wide network its own narrow networks, started together?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
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


def mutual_information(
    one: npt.ArrayLike, other: npt.ArrayLike, given: npt.ArrayLike | None = None
) -> float:
    """Mutual information of two yes-or-no outcomes, in bits, from their counts.

    ``I = sum p(a, b) log2(p(a, b) / (p(a) p(b)))``; with ``given`` the conditional information,
    ``sum_g p(g) I_g``, which leaves out what the groups explain. Plug-in estimates are biased
    upwards by about ``1 / (2 n ln 2)`` bits a group.

    Args:
        one, other: bool ``[n]``.
        given: int ``[n]``, groups; default one group.

    Example:
        >>> mutual_information([True, True, False, False], [True, True, False, False])
        1.0

    Reference: T. Cover, J. Thomas, "Elements of Information Theory", 2006, chapter 2.
    """
    a, b = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    group = np.zeros(a.size, dtype=np.int64) if given is None else np.asarray(given)
    total = 0.0
    for g in np.unique(group):
        own = group == g
        joint = np.array(
            [[np.mean(a[own] & b[own]), np.mean(a[own] & ~b[own])],
             [np.mean(~a[own] & b[own]), np.mean(~a[own] & ~b[own])]]
        )  # fmt: skip
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        cells = joint > 0
        total += float(np.mean(own)) * float(
            np.sum(joint[cells] * np.log2(joint[cells] / product[cells]))
        )
    return max(total, 0.0)
