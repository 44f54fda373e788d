"""Channels to infinity, recognised by their neurons.

In a channel two neurons' input weights approach each other while their output weights diverge with
opposite signs; the loss still falls, ever more slowly, and there is no minimum to converge to. Long
before the weights are large, the pair gives the channel away. The output bias counts as a neuron
with input weights ``(0, ..., 0, 1)``: a neuron whose weights vanish against its bias while its
output weight grows is in a channel with it (and tends to a linear unit). In deeper networks the
same holds within each hidden layer, with the layer below as inputs and the layer above as outputs.

Reference: F. Martinelli et al., "Flat channels to infinity in neural loss landscapes", NeurIPS
2025, arXiv 2506.14951.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.ensemble import ACTIVATIONS, ModuleEnsemble
from edt.ensemble.kinds import Networks

__all__ = ["BIAS", "CLOSE", "ODD", "Opponents", "closest_opponents", "opponents"]

#: Activations with ``sigma(-z) = -sigma(z)``: there a neuron equals its mirror image.
ODD = frozenset(name for name, a in ACTIVATIONS.items() if a.symmetry.parity == "odd")
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
            the partner is the bias of the next layer.
        reach: float64 ``[B]``, the larger of their output weights' norms; 0 without a pair.
        layer: int64 ``[B]``, the hidden layer they are in, from 0; -1 without a pair.
    """

    closeness: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    reach: torch.Tensor
    layer: torch.Tensor


def opponents(networks: Networks, *, output_bias: bool = True) -> Opponents:
    """The pair with the least ``1 - cos(w_i, w_j)`` among those with ``a_i . a_j < 0``.

    For odd activations a neuron may be mirrored first. The pairs of every hidden layer are looked
    at: what two neurons do together, ``a_i sigma(w_i.h) + a_j sigma(w_j.h)``, has the same limit
    whatever computed h and whatever reads the sum.

    Args:
        networks: B networks; in those of modules no pair is looked for.
        output_bias: whether the bias of the next layer counts as a neuron, see above; it is an
            opponent of every neuron, being free.
    """
    count = int(networks.B)
    found = Opponents(
        closeness=torch.full((count,), 2.0, dtype=torch.float64),
        first=torch.full((count,), -1, dtype=torch.int64),
        second=torch.full((count,), -1, dtype=torch.int64),
        reach=torch.zeros(count, dtype=torch.float64),
        layer=torch.full((count,), -1, dtype=torch.int64),
    )
    if isinstance(networks, ModuleEnsemble):
        return found
    # A few numbers a network: not worth the GPU's time.
    networks = networks.to(device="cpu")
    odd = networks.activation in ODD
    for b, sizes in enumerate(networks.layer_widths.tolist()):
        at = int(networks.offsets[b])
        for layer, (d_in, width, d_out) in enumerate(
            zip(sizes, sizes[1:], sizes[2:], strict=False)
        ):
            end = at + width * (d_in + networks.has_bias)
            flat = networks.theta[at : end + d_out * width].detach().to(torch.float64)
            inputs = flat[: d_in * width].view(width, d_in)
            if networks.has_bias:
                inputs = torch.cat([inputs, flat[d_in * width : end - at, None]], dim=1)
            outputs = flat[end - at :].view(d_out, width)
            _look(found, b, layer, inputs, outputs, odd, networks.has_bias and output_bias)
            at = end
    return found


def _look(
    found: Opponents,
    b: int,
    layer: int,
    inputs: torch.Tensor,
    outputs: torch.Tensor,
    odd: bool,
    with_bias: bool,
) -> None:
    """Enter the closest pair of one layer, ``[width, D]`` and ``[o, width]``, if it is closer."""
    width = inputs.shape[0]
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
    if float(distance.flatten()[best]) < float(found.closeness[b]):
        i, j = best // width, best % width
        found.closeness[b] = distance[i, j].clamp_min(0.0)
        found.first[b], found.second[b] = min(i, j), max(i, j)
        found.reach[b], found.layer[b] = torch.maximum(sizes[i], sizes[j]), layer
    if with_bias:
        toward = 1.0 - unit[:, -1].abs()
        # Only where the weights are alive: a neuron without any is a constant, no channel.
        alive = (inputs[:, :-1].norm(dim=1) > 0.0) & (sizes > 0.0)
        toward = toward.masked_fill(~alive, 2.0)
        k = int(toward.argmin())
        if float(toward[k]) < float(found.closeness[b]):
            found.closeness[b], found.reach[b] = toward[k].clamp_min(0.0), sizes[k]
            found.first[b], found.second[b], found.layer[b] = k, BIAS, layer


def closest_opponents(networks: Networks) -> torch.Tensor:
    """`Opponents.closeness` of pairs of neurons, float64 ``[B]``; see `opponents`."""
    return opponents(networks, output_bias=False).closeness


def _products(rows: torch.Tensor) -> torch.Tensor:
    """All inner products of rows, ``[n, k] -> [n, n]``, the same bits in any company."""
    out: torch.Tensor = (rows[:, None, :] * rows[None, :, :]).sum(-1)
    return out
