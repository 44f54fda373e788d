"""Crossed designs: the same rests around every ticket.

A rest that is drawn anew for each ticket cannot tell a ticket that does well from rests that do.
Here a rest is a set of neurons of its own, put beside the neurons of any ticket: network (i, j) is
ticket i with rest j, and what a win owes to either can be told apart
(`edt.stats.variance_components`).
"""

from __future__ import annotations

import torch

from edt.ensemble import Ensemble
from edt.ensemble.kinds import chains

__all__ = ["cross", "joined", "neurons_of"]


def neurons_of(networks: Ensemble, neurons: torch.Tensor) -> Ensemble:
    """The chosen neurons of each network as a narrow network, with its output biases.

    Args:
        networks: B networks of one hidden layer and one width.
        neurons: int64 ``[B, r]``, distinct in each row; their order is kept.

    Raises:
        ValueError: several layers or widths, or no such neurons.
    """
    d_in, m, d_out = _one_shape(networks)
    if neurons.dim() != 2 or neurons.shape[0] != networks.B:
        raise ValueError(f"neurons must be [{networks.B}, r], got {list(neurons.shape)}")
    if neurons.numel() and not 0 <= int(neurons.min()) <= int(neurons.max()) < m:
        raise ValueError(f"neurons must be in 0..{m - 1}")
    inputs, biases, outputs, last = _parts(networks, d_in, m, d_out)
    row = torch.arange(networks.B)[:, None]
    parts = [inputs[row, neurons], outputs[row, :, neurons].transpose(1, 2)]
    return _made(
        networks, neurons.shape[1], parts, None if biases is None else biases[row, neurons], last
    )


def joined(tickets: Ensemble, rests: Ensemble) -> Ensemble:
    """Ticket b and rest b side by side in one network; output biases are the tickets'.

    Args:
        tickets, rests: B networks each, of one hidden layer and one width.

    Raises:
        ValueError: they do not fit.
    """
    d_in, r, d_out = _one_shape(tickets)
    same = rests.d_in == d_in and rests.d_out == d_out and rests.activation == tickets.activation
    if not same or rests.has_bias != tickets.has_bias or rests.B != tickets.B:
        raise ValueError(
            "tickets and rests must agree in number, inputs, outputs, activation, bias"
        )
    one = _parts(tickets, d_in, r, d_out)
    other = _parts(rests, *_one_shape(rests))
    parts = [torch.cat([one[0], other[0]], 1), torch.cat([one[2], other[2]], 2)]
    biases = None if one[1] is None or other[1] is None else torch.cat([one[1], other[1]], 1)
    return _made(tickets, r + int(rests.layer_widths[0, 1]), parts, biases, one[3])


def cross(tickets: Ensemble, rests: Ensemble) -> Ensemble:
    """Every ticket with every rest, tickets outermost: ``K R`` networks; see `joined`.

    Example:
        >>> ticket = Ensemble.init([2], [0, 1], d_in=3, d_out=1)
        >>> cross(ticket, Ensemble.init([4], [7, 8, 9], d_in=3, d_out=1)).layer_widths[:,
        1].tolist() [6, 6, 6, 6, 6, 6]
    """
    row = torch.arange(tickets.B).repeat_interleave(rests.B)
    return joined(tickets.select(row), rests.select(torch.arange(rests.B).repeat(tickets.B)))


def _one_shape(networks: Ensemble) -> tuple[int, int, int]:
    sizes = chains(networks, "a cross of neurons").layer_widths
    if sizes.shape[1] != 3 or bool((sizes != sizes[0]).any()):
        raise ValueError("crossed designs need networks of one hidden layer and one width")
    d_in, m, d_out = (int(size) for size in sizes[0])
    return d_in, m, d_out


def _parts(
    networks: Ensemble, d_in: int, m: int, d_out: int
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
    """Input weights ``[B, m, d_in]``, biases ``[B, m]``, output weights ``[B, o, m]``, biases."""
    theta = networks.theta.reshape(networks.B, -1)
    at = m * d_in
    inputs = theta[:, :at].reshape(-1, m, d_in)
    biases = theta[:, at : at + m] if networks.has_bias else None
    at += m * networks.has_bias
    outputs = theta[:, at : at + d_out * m].reshape(-1, d_out, m)
    return inputs, biases, outputs, theta[:, at + d_out * m :] if networks.has_bias else None


def _made(
    like: Ensemble,
    width: int,
    parts: list[torch.Tensor],
    biases: torch.Tensor | None,
    last: torch.Tensor | None,
) -> Ensemble:
    rows = [parts[0].flatten(1), biases, parts[1].flatten(1), last]
    theta = torch.cat([row for row in rows if row is not None], 1)
    return Ensemble(
        [width] * int(theta.shape[0]), like.d_in, like.d_out, activation=like.activation,
        bias=like.has_bias, dtype=like.dtype, theta=theta.flatten(),
    )  # fmt: skip
