"""Compiled counterparts of ensembles and tasks, made from their tensors and cached by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt import _core
from edt.errors import ShapeError, unknown_choice
from edt.ops.cache import TensorCache
from edt.ops.losses import LOSSES, loss_code
from edt.ops.problem import Problem

__all__ = [
    "Compiled",
    "dataset",
    "layer_states",
    "make_dataset",
    "make_structure",
    "matrix_offsets",
    "structure",
]

#: Matrices start at multiples of this many bytes: LAPACK needs no aligned copy of them.
_ALIGNMENT = 64


@dataclass(frozen=True)
class Compiled:
    """Plan of the core for one structure (widths and masks), and what the ops ask about it.

    Attributes:
        plan: `_core.Plan`.
        coords: int64 ``[B]``, trainable parameters of each network.
    """

    plan: Any
    coords: torch.Tensor


_structures: TensorCache[Compiled] = TensorCache()
_datasets: TensorCache[Any] = TensorCache()
_layer_states: TensorCache[list[torch.Tensor]] = TensorCache()
_offsets: TensorCache[torch.Tensor] = TensorCache()


def structure(problem: Problem) -> Compiled:
    """The compiled structure of a problem, from the cache if it is there."""
    key = (problem.state, problem.layer_widths)
    found = _structures.find(key, problem.bias)
    return found or _structures.store(make_structure(problem), key, problem.bias)


def make_structure(problem: Problem) -> Compiled:
    """Compile the widths and masks of a problem.

    Raises:
        ValueError: tensors of the wrong dtype, device or shape.
    """
    state, widths = problem.state.contiguous(), problem.layer_widths.contiguous()
    _expect("state", state, torch.uint8, 1)
    _expect("layer_widths", widths, torch.int64, 2)
    needed = int(problem.layer_sizes.sum())
    if state.numel() != needed:
        raise ShapeError(
            f"state must have shape [{needed}] (all parameters of {problem.networks} networks), "
            f"got {list(state.shape)}"
        )
    plan = _core.Plan(
        widths.data_ptr(),
        widths.shape[0],
        widths.shape[1],
        problem.bias,
        state.data_ptr(),
        state.numel(),
    )
    ends = torch.tensor([0, *(span.stop for span in problem.spans())])
    before = torch.cat([torch.zeros(1, dtype=torch.int64), (state == 1).cumsum(0)])
    return Compiled(plan, before[ends].diff())


def dataset(problem: Problem) -> Any:
    """The compiled data of a problem, from the cache if it is there."""
    key = (problem.x, problem.y, problem.coef)
    rest = (problem.loss, problem.d_out)
    found = _datasets.find(key, *rest)
    return found or _datasets.store(_make_dataset(problem), key, *rest)


def _make_dataset(problem: Problem) -> Any:
    if problem.loss not in LOSSES:
        raise unknown_choice("loss", problem.loss, tuple(LOSSES))
    x, y, coef, entropy = problem.x, problem.y, problem.coef, LOSSES[problem.loss].classes
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be torch.float32 or torch.float64, got {x.dtype}")
    _expect("coef", coef, x.dtype, 2)
    targets, samples = coef.shape
    _expect("x", x, x.dtype, 2, 3)
    _expect("y", y, torch.int64 if entropy else x.dtype, *((1, 2) if entropy else (2, 3)))
    end = (samples,) if entropy else (samples, problem.d_out)
    if x.shape[-2] != samples or y.shape[-len(end) :] != end:
        raise ShapeError(
            f"x, y and coef must agree in samples and outputs ({samples} and {problem.d_out}), "
            f"got shapes {list(x.shape)}, {list(y.shape)} and {list(coef.shape)}"
        )
    if entropy and y.numel() and not 0 <= int(y.min()) <= int(y.max()) < problem.d_out:
        raise ValueError(
            f"y must hold classes in 0..{problem.d_out - 1}, got {int(y.min())}..{int(y.max())}"
        )
    return make_dataset(
        x.expand(targets, *x.shape[-2:]),
        y.expand(targets, *end),
        coef,
        problem.loss,
        problem.d_out,
    )


def make_dataset(
    x: torch.Tensor, y: torch.Tensor, coef: torch.Tensor, loss: str, d_out: int
) -> Any:
    """`_core.Dataset` of x ``[T, N, d_in]``, y ``[T, N(, d_out)]``, coef ``[T, N]``; copies all."""
    x, y, coef = x.contiguous(), y.contiguous(), coef.contiguous()
    return _core.Dataset(
        x.data_ptr(),
        y.data_ptr(),
        coef.data_ptr(),
        x.shape[0],
        x.shape[1],
        x.shape[2],
        d_out,
        loss_code(loss),
        x.dtype == torch.float64,
    )


def layer_states(problem: Problem) -> list[torch.Tensor]:
    """For each layer 0..D the masks in which all that is trainable outside it is frozen.

    Kept with the structure, as they are keys to compiled structures of their own.
    """
    key = (problem.state, problem.layer_widths)
    found = _layer_states.find(key, problem.bias)
    if found is not None:
        return found
    networks, layers = problem.layer_sizes.shape
    owner = torch.repeat_interleave(
        torch.arange(layers).repeat(networks), problem.layer_sizes.reshape(-1)
    ).to(problem.state.device)
    states = [
        problem.state.masked_fill((problem.state == 1) & (owner != layer), 2)
        for layer in range(layers)
    ]
    return _layer_states.store(states, key, problem.bias)


def matrix_offsets(rows: torch.Tensor, columns: torch.Tensor, itemsize: int) -> torch.Tensor:
    """Where matrices ``[rows_b, columns_b]`` start in one flat buffer; the last entry is its size.

    Args:
        rows, columns: int64 ``[B]``.
        itemsize: bytes of a number.

    Returns:
        int64 ``[B + 1]``, multiples of 64 bytes; kept for the next call, not to be changed.
    """
    found = _offsets.find((rows, columns), itemsize)
    if found is not None:
        return found
    step = _ALIGNMENT // itemsize
    padded = (rows * columns + step - 1) // step * step
    offsets = torch.cat([padded.new_zeros(1), padded.cumsum(0)])
    return _offsets.store(offsets, (rows, columns), itemsize)


def _expect(name: str, tensor: torch.Tensor, dtype: torch.dtype, *dims: int) -> None:
    """What the core would take on trust: it reads raw memory."""
    if tensor.dtype != dtype or tensor.dim() not in dims:
        raise ValueError(
            f"{name} must be {dtype} with {' or '.join(map(str, dims))} dimensions, "
            f"got {tensor.dtype} with shape {list(tensor.shape)}"
        )
