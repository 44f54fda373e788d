"""The ops on the compiled CPU engine: tensors in, one call of `edt._core`, tensors out.

Every function takes detached tensors and a `Problem`, allocates its results with torch, and
trusts shapes only as far as memory safety does not hang on them.
"""

from __future__ import annotations

from typing import Any

import torch

from edt import _core
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.compiled import dataset, matrix_offsets, structure
from edt.ops.memory import room_for_hessians
from edt.ops.problem import Problem
from edt.ops.threads import set_core_threads

__all__ = [
    "activation",
    "call_head",
    "hessian",
    "hessians",
    "hvp",
    "jacobian",
    "loss",
    "loss_and_grad",
    "predict",
    "predict_vjp",
]


def call_head(
    plan: Any,
    data: Any,
    task_index: torch.Tensor,
    code: int,
    theta: torch.Tensor,
    active: torch.Tensor | None = None,
) -> tuple[Any, ...]:
    """First arguments of every call of the core; sets its thread count to torch's.

    The caller keeps the tensors alive until the call returns.
    """
    set_core_threads()
    return (
        plan,
        data,
        task_index.data_ptr(),
        code,
        theta.data_ptr(),
        0 if active is None else active.data_ptr(),
    )


class _Call:
    """The checked, contiguous arguments of one call of the core."""

    def __init__(self, theta: torch.Tensor, problem: Problem) -> None:
        self.structure = structure(problem)
        self.data = dataset(problem)
        total = self.structure.plan.total
        if theta.shape != (total,) or theta.dtype != problem.x.dtype:
            raise ValueError(
                f"theta must be {problem.x.dtype} with shape [{total}], "
                f"got {theta.dtype} with shape {list(theta.shape)}"
            )
        self.theta = theta.contiguous()
        index = problem.task_index
        if index is None:
            index = torch.zeros(problem.networks, dtype=torch.int64)
        elif index.shape != (problem.networks,) or index.dtype != torch.int64:
            raise ValueError(
                f"task_index must be int64 with shape [{problem.networks}], "
                f"got {index.dtype} with shape {list(index.shape)}"
            )
        self.task_index = index.contiguous()
        self.code = ACTIVATION_CODES[problem.activation]

    @property
    def head(self) -> tuple[Any, ...]:
        return call_head(self.structure.plan, self.data, self.task_index, self.code, self.theta)


def predict(theta: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Outputs ``[B, N, d_out]``; see `edt.ops.reference.predict`."""
    call = _Call(theta, problem)
    out = theta.new_empty(problem.networks, problem.samples, problem.d_out)
    _core.predict(*call.head, out.data_ptr())
    return out


def predict_vjp(theta: torch.Tensor, cotangent: torch.Tensor, problem: Problem) -> torch.Tensor:
    """``J^T u`` ``[total]`` for ``u`` ``[B, N, d_out]``; see `edt.ops.reference.predict_vjp`."""
    call = _Call(theta, problem)
    shape = (problem.networks, problem.samples, problem.d_out)
    if cotangent.shape != shape or cotangent.dtype != theta.dtype:
        raise ValueError(
            f"cotangent must be {theta.dtype} with shape {list(shape)}, "
            f"got {cotangent.dtype} with shape {list(cotangent.shape)}"
        )
    cotangent = cotangent.contiguous()
    out = torch.empty_like(call.theta)
    _core.vjp(*call.head, cotangent.data_ptr(), out.data_ptr())
    return out


def loss(theta: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Loss, float64 ``[B]``; see `edt.ops.reference.loss`."""
    call = _Call(theta, problem)
    out = torch.empty(problem.networks, dtype=torch.float64)
    _core.loss(*call.head, out.data_ptr())
    return out


def loss_and_grad(theta: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss float64 ``[B]`` and gradient ``[total]``; see `edt.ops.reference.loss_and_grad`."""
    call = _Call(theta, problem)
    out = torch.empty(problem.networks, dtype=torch.float64)
    grad = torch.empty_like(call.theta)
    _core.loss_and_grad(*call.head, out.data_ptr(), grad.data_ptr())
    return out, grad


def hvp(
    theta: torch.Tensor, vectors: torch.Tensor, problem: Problem, *, ggn: bool = False
) -> torch.Tensor:
    """Products ``[K, total]`` with ``H`` or ``G``; see `edt.ops.reference.hvp` and ``ggn_vp``."""
    call = _Call(theta, problem)
    count, total = vectors.shape[0], call.theta.numel()
    if vectors.shape != (count, total) or vectors.dtype != theta.dtype:
        raise ValueError(
            f"vectors must be {theta.dtype} with shape [K, {total}], "
            f"got {vectors.dtype} with shape {list(vectors.shape)}"
        )
    vectors = vectors.contiguous()
    out = torch.empty_like(vectors)
    if count > 0:
        _core.hvp(*call.head, count, vectors.data_ptr(), out.data_ptr(), total, ggn)
    return out


def hessian(theta: torch.Tensor, problem: Problem, size: int, *, ggn: bool = False) -> torch.Tensor:
    """``H`` or ``G`` of every network in one buffer ``[size]``, at `matrix_offsets`.

    Entries between the matrices are 0.
    """
    call = _Call(theta, problem)
    coords = call.structure.coords
    offsets = matrix_offsets(coords, coords, theta.element_size())
    if size != int(offsets[-1]):
        raise ValueError(f"size must be {int(offsets[-1])}, got {size}")
    return _hessian(call, offsets, size, ggn)


def hessians(theta: torch.Tensor, problem: Problem, *, ggn: bool = False) -> list[torch.Tensor]:
    """`hessian` as views ``[P_b, P_b]``, with the least to do around the core."""
    call = _Call(theta, problem)
    coords = call.structure.coords
    offsets = matrix_offsets(coords, coords, theta.element_size())
    places = offsets.tolist()
    out = _hessian(call, offsets, places[-1], ggn)
    return [
        out.as_strided((size, size), (size, 1), at)
        for at, size in zip(places, coords.tolist(), strict=False)
    ]


def _hessian(call: _Call, offsets: torch.Tensor, size: int, ggn: bool) -> torch.Tensor:
    coords = call.structure.coords
    room_for_hessians(size, coords, call.theta)
    out = call.theta.new_empty(size)
    _core.prepare_matrices(
        out.data_ptr(), out.element_size(), offsets.data_ptr(), coords.data_ptr(), coords.numel()
    )
    _core.hessian(*call.head, out.data_ptr(), offsets.data_ptr(), ggn)
    return out


def jacobian(theta: torch.Tensor, problem: Problem) -> list[torch.Tensor]:
    """``[N * d_out, P_b]`` of every network; see `edt.ops.reference.jacobian`.

    Transposed views of one buffer: what belongs to one coordinate is contiguous.
    """
    call = _Call(theta, problem)
    coords, rows = call.structure.coords, problem.samples * problem.d_out
    offsets = matrix_offsets(coords, torch.full_like(coords, rows), theta.element_size())
    out = theta.new_empty(int(offsets[-1]))
    _core.prefer_huge_pages(out.data_ptr(), out.nbytes)
    _core.jacobian(*call.head, out.data_ptr(), offsets.data_ptr(), False)
    return [
        out[at : at + size * rows].view(size, rows).T
        for at, size in zip(offsets[:-1].tolist(), coords.tolist(), strict=True)
    ]


def activation(name: str, z: torch.Tensor, order: int) -> torch.Tensor:
    """The activation and its first ``order`` derivatives at ``z``, ``[order + 1, *z]``.

    Up to the second, and the third where the core was built with ``EDT_ISAS=all``.
    """
    z = z.contiguous()
    out = z.new_empty(order + 1, *z.shape)
    _core.activation(
        ACTIVATION_CODES[name],
        order,
        z.numel(),
        z.data_ptr(),
        out.data_ptr(),
        z.dtype == torch.float64,
    )
    return out
