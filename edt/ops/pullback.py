"""Vector-Jacobian product of the outputs, ``J^T u``, from the Gauss-Newton product of the core.

Take the squared error with coefficients ``u_no / 2`` for one output o, and the vector v that is 1
at the bias of that output and 0 elsewhere. Then ``J v`` is 1 at output o of every sample and 0 at
the others, so the Gauss-Newton product is

    G v = sum_n (2 u_no / 2) J_no^T (J v)_no = sum_n u_no J_no^T,

exactly what is wanted, with no rounding beyond that of any gradient. One product per output.
Networks whose output biases are missing, pruned or frozen get a twin that has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt import _core
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.cache import TensorCache
from edt.ops.compiled import Compiled, make_dataset, make_structure, structure
from edt.ops.cpu import call_head
from edt.ops.problem import Problem

__all__ = ["predict_vjp"]

#: Bytes of samples held at once: every network has coefficients, hence data, of its own.
MEMORY = 64 * 2**20


@dataclass(frozen=True)
class _Twin:
    """The same networks with trainable output biases.

    Attributes:
        structure: of the twin.
        state: uint8, of the twin.
        origin: int64 ``[total]``, where each original parameter lies in the twin.
        output_bias: int64 ``[B, d_out]``, positions in the twin.
        trainable: bool ``[total]``, of the original.
    """

    structure: Compiled
    state: torch.Tensor
    origin: torch.Tensor
    output_bias: torch.Tensor
    trainable: torch.Tensor


_twins: TensorCache[_Twin] = TensorCache()


def _twin(problem: Problem) -> _Twin:
    key = (problem.state, problem.layer_widths)
    found = _twins.find(key, problem.bias)
    return found or _twins.store(_make_twin(problem), key, problem.bias)


def _make_twin(problem: Problem) -> _Twin:
    widths = problem.layer_widths
    weights = (widths[:, :-1] * widths[:, 1:]).reshape(-1)
    biases = widths[:, 1:].reshape(-1)
    # Weights and biases alternate in the flat vector; without biases only the weights are there.
    pieces = torch.stack([weights, biases], 1).reshape(-1)
    is_bias = torch.tensor([False, True]).repeat(weights.numel())
    is_bias = torch.repeat_interleave(is_bias, pieces)
    total = int(pieces.sum())
    origin = torch.arange(total) if problem.bias else torch.nonzero(~is_bias).flatten()
    ends = (weights + biases).reshape(widths.shape[0], -1).sum(1).cumsum(0)
    output_bias = ends[:, None] - problem.d_out + torch.arange(problem.d_out)
    state = torch.zeros(total, dtype=torch.uint8)
    state[origin] = problem.state
    state[output_bias.reshape(-1)] = 1
    same = problem.bias and torch.equal(state, problem.state)
    return _Twin(
        structure(problem) if same else make_structure(problem._replace(state=state, bias=True)),
        state,
        origin,
        output_bias,
        problem.state == 1,
    )


def predict_vjp(theta: torch.Tensor, cotangent: torch.Tensor, problem: Problem) -> torch.Tensor:
    """``J^T u`` ``[total]`` for ``u`` ``[B, N, d_out]``; see `edt.ops.reference.predict_vjp`."""
    shape = (problem.networks, problem.samples, problem.d_out)
    if cotangent.shape != shape or cotangent.dtype != theta.dtype:
        raise ValueError(
            f"cotangent must be {theta.dtype} with shape {list(shape)}, "
            f"got {cotangent.dtype} with shape {list(cotangent.shape)}"
        )
    twin = _twin(problem)
    total = twin.state.numel()
    parameters = theta.new_zeros(total)
    # Pruned parameters count as 0, whatever theta holds there.
    parameters[twin.origin] = torch.where(problem.state == 0, torch.zeros_like(theta), theta)
    summed, part = theta.new_zeros(total), theta.new_empty(total)
    index = problem.task_index
    per_network = problem.samples * (problem.x.shape[-1] + problem.d_out + 1) * theta.element_size()
    step = max(1, MEMORY // per_network)
    for start in range(0, problem.networks, step):
        chosen = range(start, min(start + step, problem.networks))
        tasks = [0 if index is None else int(index[b]) for b in chosen]
        x = torch.stack([problem.inputs(t) for t in tasks])
        y = x.new_zeros(len(tasks), problem.samples, problem.d_out)
        own = torch.zeros(problem.networks, dtype=torch.int64)
        own[chosen.start : chosen.stop] = torch.arange(len(tasks))
        active = torch.zeros(problem.networks, dtype=torch.uint8)
        active[chosen.start : chosen.stop] = 1
        for o in range(problem.d_out):
            coef = cotangent[chosen.start : chosen.stop, :, o] / 2
            data = make_dataset(x, y, coef, "mse", problem.d_out)
            vector = theta.new_zeros(total)
            vector[twin.output_bias[:, o]] = 1
            part.zero_()
            _core.hvp(
                *call_head(
                    twin.structure.plan,
                    data,
                    own,
                    ACTIVATION_CODES[problem.activation],
                    parameters,
                    active,
                ),
                1,
                vector.data_ptr(),
                part.data_ptr(),
                total,
                True,
            )
            summed += part
    return torch.where(twin.trainable, summed[twin.origin], torch.zeros_like(theta))
