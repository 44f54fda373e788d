"""Channels to infinity, recognised by their neurons.

In a channel two neurons' input weights approach each other while their output weights diverge with
opposite signs; the loss still falls, ever more slowly, and there is no minimum to converge to. Long
before the weights are large, the pair gives the channel away. The output bias counts as a neuron
with input weights ``(0, ..., 0, 1)``: a neuron whose weights vanish against its bias while its
output weight grows is in a channel with it (and tends to a linear unit).

Reference: F. Martinelli et al., "Flat channels to infinity in neural loss landscapes", NeurIPS
2025, arXiv 2506.14951.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.ensemble import Ensemble

__all__ = ["BIAS", "CLOSE", "ODD", "Opponents", "closest_opponents", "opponents"]

#: Activations with ``sigma(-z) = -sigma(z)``: there a neuron equals its mirror image.
ODD = frozenset({"identity", "tanh", "erf", "sin", "cube"})
#: Closeness ``1 - cos`` of a channel's pair, the paper's threshold.
CLOSE = 1e-3
#: `Opponents.second` where the second neuron is the output bias.
BIAS = -2


@dataclass
class Opponents:
    """The closest pair of neurons of each network that pull in opposite directions.

    Attributes:
        closeness: float64 ``[B]``, ``1 - cos`` of their input weights (with the bias); 2 where no
            pair qualifies.
        first, second: int64 ``[B]``, the neurons; -1 without a pair. ``second`` is `BIAS` where
            the partner is the output bias.
        reach: float64 ``[B]``, the larger of their output weights' norms; 0 without a pair.
    """

    closeness: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    reach: torch.Tensor


def opponents(networks: Ensemble, *, output_bias: bool = True) -> Opponents:
    """The pair with the least ``1 - cos(w_i, w_j)`` among those with ``a_i . a_j < 0``.

    For odd activations a neuron may be mirrored first. Networks with several hidden layers have
    no pair.

    Args:
        networks: B networks.
        output_bias: whether the output bias counts as a neuron, see above; it is an opponent of
            every neuron, being free.
    """
    count = int(networks.B)
    found = Opponents(
        closeness=torch.full((count,), 2.0, dtype=torch.float64),
        first=torch.full((count,), -1, dtype=torch.int64),
        second=torch.full((count,), -1, dtype=torch.int64),
        reach=torch.zeros(count, dtype=torch.float64),
    )
    if networks.layer_widths.shape[1] != 3:
        return found
    # A few numbers a network: not worth the GPU's time.
    networks = networks.to(device="cpu")
    odd = networks.activation in ODD
    for b, (d_in, width, d_out) in enumerate(networks.layer_widths.tolist()):
        start, end = int(networks.offsets[b]), int(networks.offsets[b + 1])
        flat = networks.theta[start:end].detach().to(torch.float64)
        inputs = flat[: d_in * width].view(width, d_in)
        at = d_in * width
        if networks.has_bias:
            inputs = torch.cat([inputs, flat[at : at + width, None]], dim=1)
            at += width
        outputs = flat[at : at + d_out * width].view(d_out, width)
        lengths = inputs.norm(dim=1, keepdim=True)
        unit = inputs / lengths.clamp_min(1e-300)
        cosine = _products(unit)
        pull = _products(outputs.T)
        if odd:
            pull, cosine = pull * cosine.sign(), cosine.abs()
        # A neuron without input weights, or without an output weight, is nobody's opponent.
        distance = (1.0 - cosine).masked_fill(pull >= 0.0, 2.0)
        sizes = outputs.norm(dim=0)
        best = int(distance.argmin())
        if float(distance.flatten()[best]) < 2.0:
            i, j = best // width, best % width
            found.closeness[b] = distance[i, j].clamp_min(0.0)
            found.first[b], found.second[b] = min(i, j), max(i, j)
            found.reach[b] = torch.maximum(sizes[i], sizes[j])
        if networks.has_bias and output_bias:
            toward = 1.0 - unit[:, -1].abs()
            # Only where the weights are alive: a neuron without any is a constant, no channel.
            alive = (inputs[:, :-1].norm(dim=1) > 0.0) & (sizes > 0.0)
            toward = toward.masked_fill(~alive, 2.0)
            k = int(toward.argmin())
            if float(toward[k]) < float(found.closeness[b]):
                found.closeness[b], found.reach[b] = toward[k].clamp_min(0.0), sizes[k]
                found.first[b], found.second[b] = k, BIAS
    return found


def closest_opponents(networks: Ensemble) -> torch.Tensor:
    """`Opponents.closeness` of pairs of neurons, float64 ``[B]``; see `opponents`."""
    return opponents(networks, output_bias=False).closeness


def _products(rows: torch.Tensor) -> torch.Tensor:
    """All inner products of rows, ``[n, k] -> [n, n]``, the same bits in any company."""
    out: torch.Tensor = (rows[:, None, :] * rows[None, :, :]).sum(-1)
    return out
