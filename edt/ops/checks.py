"""Argument checks of the public ops: all before any work, all naming argument, value and rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edt import _core
from edt.ensemble import Ensemble
from edt.ensemble.arrays import integers, plain
from edt.ensemble.layout import Layout
from edt.ensemble.structure import counted
from edt.errors import ShapeError, unknown_choice
from edt.ops.problem import Problem

if TYPE_CHECKING:
    from edt.tasks import Task

__all__ = [
    "BACKENDS",
    "backend_of",
    "inputs_only",
    "parameters",
    "problem_of",
    "task_index_of",
    "vectors_of",
]

#: "auto" takes the compiled engine of the networks' device.
BACKENDS = ("auto", "cpu", "cuda", "reference")


def backend_of(backend: Any) -> str:
    """Return "auto", "cpu", "cuda" or "reference".

    Raises:
        ValueError: unknown name. NotImplementedError: the compiled engine inside `torch.func`.
    """
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise unknown_choice("backend", backend, BACKENDS)
    if backend == "reference":
        return backend
    if not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack():
        raise NotImplementedError(
            f"backend={backend!r} does not work inside torch.func transforms (grad, vmap, ...); "
            "use backend='reference' there, or torch.autograd"
        )
    return backend


def problem_of(ens: Ensemble, task: Task, task_index: Any) -> Problem:
    """Networks on finite data, checked to fit each other.

    Raises:
        TypeError: not an `Ensemble`, unequal dtypes, indices that are not integers.
        ShapeError: d_in, d_out or the length of ``task_index`` do not match.
        ValueError: an index out of range, or a tensor on a device without an engine.
    """
    # A traced call has been made with these arguments before, or will fail in the core.
    traced = torch.compiler.is_compiling()
    if not traced and not isinstance(ens, Ensemble):
        raise TypeError(f"networks must be an edt.Ensemble, got {type(ens).__name__}")
    layout, state, widths = ens._structure.parts()
    if not traced:
        _fit(ens, layout, task)
    return Problem(
        state=state,
        layer_widths=widths,
        bias=layout.has_bias,
        activation=ens.activation,
        x=counted(task.x),
        y=counted(task.y),
        coef=counted(task.coef),
        loss=task.loss,
        d_out=task.d_out,
        task_index=None
        if task_index is None
        else task_index_of(task_index, layout.B, task.T, wait=False),
    )


def inputs_only(ens: Ensemble, x: torch.Tensor) -> Problem:
    """Networks at inputs ``[N, d_in]`` without targets: what the outputs need.

    Raises:
        TypeError: another dtype than the networks'. ShapeError: another shape. ValueError: another
            device.
    """
    given = _tensor("x", x, ens)
    if given.dim() != 2 or given.shape[1] != ens.d_in or given.shape[0] < 1:
        raise ShapeError(f"x must have shape [N, {ens.d_in}], got {list(given.shape)}")
    samples = given.shape[0]
    return Problem(
        state=ens.state,
        layer_widths=ens.layer_widths,
        bias=ens.has_bias,
        activation=ens.activation,
        x=counted(given.detach()),
        y=given.new_zeros(samples, ens.d_out),
        coef=given.new_zeros(1, samples),
        loss="mse",
        d_out=ens.d_out,
        task_index=None,
    )


def _fit(ens: Ensemble, layout: Layout, task: Task) -> None:
    """Insist that networks and data have one device, one dtype, and the same sizes."""
    _has_engine("networks", ens.theta)
    if task.x.device != ens.device:
        _has_engine("task", task.x)
        raise ValueError(
            f"task must be on the networks' device {ens.device}, got {task.x.device}; "
            f"use task.to(device={str(ens.device)!r})"
        )
    if task.dtype != ens.dtype:
        raise TypeError(
            f"task must have the networks' dtype {ens.dtype}, got {task.dtype}; "
            f"use task.to({ens.dtype})"
        )
    sizes = layout.table[0]
    for name, ours, theirs in (
        ("d_in", int(sizes[0]), task.d_in),
        ("d_out", int(sizes[-1]), task.d_out),
    ):
        if ours != theirs:
            raise ShapeError(
                f"task must have {name} = {ours} like the networks, got {name} = {theirs}"
            )


def parameters(ens: Ensemble, theta: Any) -> torch.Tensor:
    """``theta``, or the ensemble's own parameters; flat ``[total]``.

    Raises:
        TypeError: not a tensor of the ensemble's dtype. ShapeError: another shape. ValueError: on
            another device.
    """
    if theta is None:
        return ens.theta
    given, total = _tensor("theta", theta, ens), ens.theta.shape[0]
    if tuple(given.shape) != (total,):
        raise ShapeError(
            f"theta must have shape [{total}] (all parameters of the {ens.B} networks), "
            f"got {list(given.shape)}"
        )
    return given


def vectors_of(ens: Ensemble, vectors: Any) -> torch.Tensor:
    """The vectors as ``[K, total]``.

    Raises:
        TypeError: not a tensor of the ensemble's dtype. ShapeError: another shape. ValueError: on
            another device.
    """
    given, total = _tensor("vectors", vectors, ens), ens.theta.shape[0]
    if given.dim() not in (1, 2) or given.shape[-1] != total:
        raise ShapeError(
            f"vectors must have shape [K, {total}] or [{total}] (one entry per parameter of the "
            f"{ens.B} networks), got {list(given.shape)}"
        )
    return given if given.dim() == 2 else given[None]


def _tensor(name: str, value: Any, ens: Ensemble) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    plain(name, value, grad=True)
    _has_engine(name, value)
    if value.dtype != ens.dtype:
        raise TypeError(f"{name} must have the networks' dtype {ens.dtype}, got {value.dtype}")
    if value.device != ens.device:
        raise ValueError(f"{name} must be on {ens.device} like the networks, got {value.device}")
    # A view that stands for -x has the memory of x.
    return value.resolve_neg()


def _has_engine(name: str, tensor: torch.Tensor) -> None:
    """A CUDA tensor counts where the CUDA engine is built."""
    kind = tensor.device.type
    if kind == "cpu" or (kind == "cuda" and hasattr(_core, "cuda")):
        return
    raise ValueError(
        f"{name} must be on the CPU, got device {tensor.device}; this build has no engine for "
        f"it (use .cpu())"
    )


def task_index_of(
    value: Any, networks: int, tasks: int, name: str = "task_index", *, wait: bool = True
) -> torch.Tensor:
    """``task_index`` as int64 ``[B]``.

    Without ``wait`` nobody waits for a GPU to look at what lies there: it looks itself, and an
    index out of range is its next error.

    Raises:
        TypeError: not integers. ShapeError: wrong length. ValueError: out of range, or on a device
        without an engine. RuntimeError: out of range on a GPU, without ``wait``.
    """
    out = plain(name, value) if isinstance(value, torch.Tensor) else integers(name, value)
    if out.is_floating_point() or out.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got dtype {out.dtype}")
    _has_engine(name, out)
    if out.dim() == 0:
        out = out.expand(networks)
    if tuple(out.shape) != (networks,):
        raise ShapeError(
            f"{name} must have shape [{networks}] (one per network), got {list(out.shape)}"
        )
    out = out.to(torch.int64)
    # A traced call has no values to look at yet; the core checks them when it runs.
    if torch.compiler.is_compiling():
        return out
    if out.is_cuda and not wait:
        inside = ((out >= 0) & (out < tasks)).all()
        torch._assert_async(inside, f"{name} must be in 0..{tasks - 1}")
    else:
        bad = torch.nonzero((out < 0) | (out >= tasks)).flatten()
        if bad.numel() > 0:
            b = int(bad[0])
            raise ValueError(f"{name}[{b}] must be in 0..{tasks - 1}, got {int(out[b])}")
    return out
