"""Runs that end in a channel to infinity rather than at a minimum, recognised by their neurons.

In a channel two neurons' input weights approach each other while their output weights diverge with
opposite signs; the loss still falls, ever more slowly, and there is no minimum to converge to. Long
before the weights are large, the pair gives the channel away.

Reference: F. Martinelli et al., "Flat channels to infinity in neural loss landscapes", NeurIPS
2025, arXiv 2506.14951.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edt.ensemble import Ensemble

#: Activations with ``sigma(-z) = -sigma(z)``: there a neuron equals its mirror image.
ODD = frozenset({"identity", "tanh", "erf", "sin", "cube"})
#: Closeness ``1 - cos`` of a channel's pair, the paper's threshold.
CLOSE = 1e-3


def with_channels(outcomes: Sequence[str], closeness: Sequence[float]) -> list[str]:
    """Outcomes in which an unconverged run with a pair as close as `CLOSE` is in a "channel".

    Args:
        outcomes: ``[B]`` words, as in `edt.landscape.outcomes`.
        closeness: ``[B]``, from `closest_opponents`.
    """
    return [
        "channel" if word == "unconverged" and near <= CLOSE else word
        for word, near in zip(outcomes, closeness, strict=True)
    ]


def closest_opponents(networks: Ensemble) -> torch.Tensor:
    """How close the input weights of two neurons come that pull in opposite directions.

    ``min (1 - cos(w_i, w_j))`` over pairs with ``a_i a_j < 0`` (scalar output; the bias counts as
    an input weight; for odd activations a neuron may be mirrored first).

    Args:
        networks: B networks with one hidden layer, one width and one output.

    Returns:
        float64 ``[B]``; 2 where no pair qualifies.

    Raises:
        ValueError: another depth, several widths or outputs.
    """
    rows = networks.layer_widths
    if rows.shape[1] != 3 or networks.d_out != 1 or bool((rows != rows[0]).any()):
        raise ValueError(
            "networks must have one hidden layer, one width and one output, got layer widths "
            f"{rows[:3].tolist()}"
        )
    d_in, width = int(rows[0, 0]), int(rows[0, 1])
    flat = networks.theta.detach().to(torch.float64).reshape(int(networks.B), -1)
    inputs = flat[:, : d_in * width].reshape(-1, width, d_in)
    at = d_in * width
    if networks.has_bias:
        inputs = torch.cat([inputs, flat[:, at : at + width, None]], dim=2)
        at += width
    outputs = flat[:, at : at + width]
    unit = inputs / inputs.norm(dim=2, keepdim=True).clamp_min(1e-300)
    cosine = unit @ unit.transpose(1, 2)
    pull = outputs[:, :, None] * outputs[:, None, :]
    if networks.activation in ODD:
        pull = pull * cosine.sign()
        cosine = cosine.abs()
    distance: torch.Tensor = (1.0 - cosine).masked_fill(pull >= 0.0, 2.0)
    return distance.flatten(1).amin(dim=1)
