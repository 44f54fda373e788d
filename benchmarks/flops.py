"""Arithmetic of one training step, counted exactly."""

from __future__ import annotations

from itertools import pairwise

#: A fused multiply-add counts as two operations, as in the measured peak.
FMA = 2


def step_flops(layers: tuple[int, ...], samples: int) -> int:
    """Multiply-adds of forward and backward pass of one dense network, times two.

    Counted: the products with the weights forward, the gradients of the weights, and the errors
    carried back through every layer but the first (inputs need none). Not counted, though done:
    biases, activation, loss and optimiser, so the share of the peak is understated.

    Args:
        layers: d_in, h_1, ..., h_D, d_out.
        samples: N.
    """
    weights = [i * o for i, o in pairwise(layers)]
    per_sample = 2 * sum(weights) + sum(weights[1:])
    return FMA * per_sample * samples
