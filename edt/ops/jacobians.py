"""Jacobians of the outputs over the coordinates in PyTorch, layer by layer: for CUDA tensors.

With ``D_l[o, j, n] = df_no / dz_lj`` (backwards: ``D_l = (W_{l+1}^T D_{l+1}) sigma'(z_l)``, the
identity at the outputs), the entry of weight (j, i) of layer l is ``D_l[o, j, n] a_{l-1}[i, n]``
and that of a bias ``D_l[o, j, n]``. Cost ``N d_out P`` to write it, and as many products.

Sums run over neurons in order, one elementwise operation each, and activations come from the
compiled core: unlike with a BLAS, the bits do not depend on threads or on the place in memory.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from edt.ops import cpu, cuda
from edt.ops.problem import Problem

__all__ = ["jacobian"]


def jacobian(theta: torch.Tensor, problem: Problem) -> list[torch.Tensor]:
    """``[N * d_out, P_b]`` of every network; see `edt.ops.reference.jacobian`."""
    rows = problem.layer_widths.tolist()
    found = []
    for b, (span, widths) in enumerate(zip(problem.spans(), rows, strict=True)):
        x = problem.inputs(problem.task_of(b))
        found.append(_network_jacobian(theta[span], problem.state[span], widths, x, problem))
    return found


def _network_jacobian(
    theta: torch.Tensor, state: torch.Tensor, widths: list[int], x: torch.Tensor, problem: Problem
) -> torch.Tensor:
    """Jacobian ``[N * d_out, P]`` of one network.

    Args:
        theta, state: its parameters and their states, ``[total_b]``.
        widths: ``d_in, h_1, ..., h_D, d_out``.
        x: ``[N, d_in]``.
        problem: its activation, bias flag and number of outputs are used.
    """
    theta = torch.where(state == 0, torch.zeros_like(theta), theta)
    weights: list[torch.Tensor] = []
    starts: list[int] = []
    below: list[torch.Tensor] = [x.T.contiguous()]  # [in, N], what enters each layer
    slopes: list[torch.Tensor] = []  # [h, N], sigma' of each hidden layer
    at, depth = 0, len(widths) - 2
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        starts.append(at)
        weights.append(theta[at : at + fan_in * fan_out].view(fan_out, fan_in))
        at += fan_in * fan_out
        z = below[-1].new_zeros(fan_out, x.shape[0])
        if problem.bias:
            z += theta[at : at + fan_out, None]
            at += fan_out
        if layer == depth:
            break
        for i in range(fan_in):
            z += weights[layer][:, i, None] * below[-1][i]
        engine = cuda if z.is_cuda else cpu
        value, slope = engine.activation(problem.activation, z, 1)
        below.append(value)
        slopes.append(slope)

    columns: list[torch.Tensor] = []
    eye = torch.eye(problem.d_out, dtype=x.dtype, device=x.device)
    D = eye[:, :, None].expand(-1, -1, x.shape[0])  # [d_out, out, N]
    for layer in range(depth, -1, -1):
        fan_out, fan_in = weights[layer].shape
        start, area = starts[layer], fan_in * fan_out
        if problem.bias:
            free = torch.nonzero(state[start + area : start + area + fan_out] == 1).flatten()
            columns.append(D[:, free])
        free = torch.nonzero(state[start : start + area] == 1).flatten()
        columns.append(D[:, free // fan_in] * below[layer][free % fan_in])
        if layer > 0:
            pulled = x.new_zeros(problem.d_out, fan_in, x.shape[0])
            for j in range(fan_out):
                pulled += D[:, j, None] * weights[layer][j, :, None]
            D = pulled * slopes[layer - 1]
    # [d_out, P, N] -> [N, d_out, P]
    whole = torch.cat(columns[::-1], 1).permute(2, 0, 1)
    return whole.reshape(x.shape[0] * problem.d_out, -1)
