"""The ops as PyTorch operators ``edt::*``: schema, kernels, fake kernel, autograd.

Each takes the parameters and the fields of a `Problem`, which are tensors and plain values, so the
operators are pure functions that `torch.compile`, autograd and `torch.library.opcheck` understand.
Their derivatives (u, w: what arrives from above) call one another:

    ============== ================================================== ======================
    operator       derivative                                         by
    ============== ================================================== ======================
    predict        ``J^T u``                                          predict_vjp
    predict_vjp    in theta and in the cotangent                      predict_vjp_backward
    loss           ``u g``                                            loss_and_grad
    loss_and_grad  ``u g + H w``                                      hvp
    hvp            in the vectors ``H w`` (symmetric)                 hvp
                   in theta                                           hvp_backward
    ============== ================================================== ======================

The core has no third derivatives and no second derivatives of the outputs alone: the ``_backward``
operators run the reference, slowly, and end the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edt.ops import reference
from edt.ops.calls import Calls, calls_of
from edt.ops.compiled import matrix_offsets
from edt.ops.memory import room_for_hessians
from edt.ops.problem import SCHEMA, Problem
from edt.ops.threads import set_own_threads

__all__ = ["NAMES", "hessian", "hessians", "hvp", "loss", "loss_and_grad"]

# Kernels, the same on both engines; derivatives beyond them run the reference on any device. -----


def _prepared(theta: Tensor, problem: tuple[Any, ...]) -> tuple[Calls, Tensor]:
    return calls_of(Problem(*problem), theta.device), theta.contiguous()


def _checked(name: str, given: Tensor, shape: tuple[int, ...], theta: Tensor) -> Tensor:
    """What the core would take on trust: it reads raw memory."""
    if tuple(given.shape) != shape or given.dtype != theta.dtype:
        raise ValueError(
            f"{name} must be {theta.dtype} with shape {list(shape)}, "
            f"got {given.dtype} with shape {list(given.shape)}"
        )
    return given.contiguous()


def _predict(theta: Tensor, *problem: Any) -> Tensor:
    calls, flat = _prepared(theta, problem)
    out = _fake_predict(flat, *problem)
    calls.predict(flat, out)
    return out


def _predict_vjp(theta: Tensor, cotangent: Tensor, *problem: Any) -> Tensor:
    calls, flat = _prepared(theta, problem)
    fields = calls.problem
    shape = (fields.networks, fields.samples, fields.d_out)
    out = torch.empty_like(flat)
    calls.vjp(flat, _checked("cotangent", cotangent, shape, theta), out)
    return out


def _predict_vjp_backward(
    theta: Tensor, cotangent: Tensor, w: Tensor, *problem: Any
) -> tuple[Tensor, Tensor]:
    def function(theta: Tensor, cotangent: Tensor) -> Tensor:
        return reference.predict_vjp(theta, cotangent, Problem(*problem))

    in_theta, in_cotangent = _gradients(function, (theta, cotangent), w)
    return in_theta, in_cotangent


def loss(theta: Tensor, *problem: Any) -> Tensor:
    """Kernel of ``edt::loss``, for callers that need no dispatcher."""
    calls, flat = _prepared(theta, problem)
    out = _fake_loss(flat, *problem)
    calls.loss(flat, out)
    return out


def loss_and_grad(theta: Tensor, *problem: Any) -> tuple[Tensor, Tensor]:
    """Kernel of ``edt::loss_and_grad``, for callers that need no dispatcher."""
    calls, flat = _prepared(theta, problem)
    value, grad = _fake_loss(flat, *problem), torch.empty_like(flat)
    calls.loss_and_grad(flat, value, grad)
    return value, grad


def hvp(theta: Tensor, vectors: Tensor, ggn: bool, *problem: Any) -> Tensor:
    """Kernel of ``edt::hvp``, for callers that need no dispatcher."""
    calls, flat = _prepared(theta, problem)
    rows = _checked("vectors", vectors, (vectors.shape[0], calls.total), theta)
    out = torch.empty_like(rows)
    calls.hvp(flat, rows, out, ggn=ggn)
    return out


def _hvp_backward(theta: Tensor, vectors: Tensor, ggn: bool, w: Tensor, *problem: Any) -> Tensor:
    product = reference.ggn_vp if ggn else reference.hvp

    def function(theta: Tensor) -> Tensor:
        return product(theta, vectors, Problem(*problem))

    return _gradients(function, (theta,), w)[0]


def hessian(theta: Tensor, ggn: bool, size: int, *problem: Any) -> Tensor:
    """Kernel of ``edt::hessian``.

    ``H`` or ``G`` of every network in one buffer ``[size]``, at `hessian_offsets`; 0 between them.
    """
    return hessians(theta, ggn, Problem(*problem), size)[0]


def hessians(
    theta: Tensor, ggn: bool, problem: Problem, size: int = -1
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for callers that need no dispatcher: (buffer, offsets, sizes of the matrices)."""
    calls, flat = calls_of(problem, theta.device), theta.contiguous()
    offsets = matrix_offsets(calls.coords, calls.coords, theta.element_size())
    end = int(offsets[-1])
    if size not in (-1, end):
        raise ValueError(f"size must be {end}, got {size}")
    room_for_hessians(end, calls.coords, flat)
    out = calls.matrices(flat, offsets)
    calls.hessian(flat, out, offsets, ggn=ggn)
    return out, offsets, calls.coords


def _gradients(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], w: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of ``<w, function(*inputs)>`` by autograd.

    Inside a kernel autograd is off, and under a dispatch mode torch.func is too. Both are states of
    the thread, so a thread of its own has neither.
    """

    def run() -> tuple[Tensor, ...]:
        leaves = tuple(tensor.detach().requires_grad_(True) for tensor in inputs)
        product = (function(*leaves) * w).sum()
        return torch.autograd.grad(product, leaves, materialize_grads=True)

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=set_own_threads, initargs=(threads,)) as pool:
        return pool.submit(run).result()


# Fake kernels: shapes and dtypes only --------------------------------------------------------


def _fake_predict(theta: Tensor, *problem: Any) -> Tensor:
    fields = Problem(*problem)
    return theta.new_empty(fields.networks, fields.samples, fields.d_out)


def _fake_predict_vjp_backward(
    theta: Tensor, cotangent: Tensor, w: Tensor, *problem: Any
) -> tuple[Tensor, Tensor]:
    return _like(theta), _like(cotangent)


def _fake_loss(theta: Tensor, *problem: Any) -> Tensor:
    return theta.new_empty(Problem(*problem).networks, dtype=torch.float64)


def _fake_loss_and_grad(theta: Tensor, *problem: Any) -> tuple[Tensor, Tensor]:
    return _fake_loss(theta, *problem), _like(theta)


def _fake_hvp(theta: Tensor, vectors: Tensor, *rest: Any) -> Tensor:
    return _like(vectors)


def _fake_flat(theta: Tensor, *rest: Any) -> Tensor:
    return _like(theta)


def _fake_hessian(theta: Tensor, ggn: bool, size: int, *problem: Any) -> Tensor:
    return theta.new_empty(size)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


# Autograd. Of the problem's tensors none has a derivative. -----------------------------------

_NONE = (None,) * len(Problem._fields)
_TENSORS = ("state", "layer_widths", "x", "y", "coef", "task_index")


def _save(ctx: Any, problem: tuple[Any, ...], *tensors: Tensor) -> None:
    fields = Problem(*problem)._asdict()
    ctx.count = len(tensors)
    ctx.save_for_backward(*tensors, *(fields.pop(name) for name in _TENSORS))
    ctx.plain = fields


def _saved(ctx: Any) -> tuple[tuple[Tensor, ...], Problem]:
    tensors = ctx.saved_tensors
    fields = dict(zip(_TENSORS, tensors[ctx.count :], strict=True))
    return tensors[: ctx.count], Problem(**fields, **ctx.plain)


def _per_parameter(per_network: Tensor, theta: Tensor, problem: Problem) -> Tensor:
    """``[B]`` -> ``[total]``: each network's number at each of its parameters, in theta's dtype."""
    sizes = problem.layer_sizes.sum(1).to(theta.device)
    return torch.repeat_interleave(per_network.to(theta.dtype), sizes, output_size=theta.shape[0])


def _setup_theta(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    theta, *problem = inputs
    _save(ctx, tuple(problem), theta)


def _setup_loss_and_grad(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    theta, *problem = inputs
    ctx.set_materialize_grads(False)
    _save(ctx, tuple(problem), theta, output[1])


def _setup_predict_vjp(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    theta, cotangent, *problem = inputs
    _save(ctx, tuple(problem), theta, cotangent)


def _setup_hvp(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    theta, vectors, ggn, *problem = inputs
    ctx.ggn = ggn
    _save(ctx, tuple(problem), theta, vectors)


def _diff_predict(ctx: Any, u: Tensor) -> tuple[Any, ...]:
    (theta,), problem = _saved(ctx)
    return (torch.ops.edt.predict_vjp(theta, u, *problem), *_NONE)


def _diff_predict_vjp(ctx: Any, w: Tensor) -> tuple[Any, ...]:
    (theta, cotangent), problem = _saved(ctx)
    return (*torch.ops.edt.predict_vjp_backward(theta, cotangent, w, *problem), *_NONE)


def _diff_loss(ctx: Any, u: Tensor) -> tuple[Any, ...]:
    (theta,), problem = _saved(ctx)
    _, grad = torch.ops.edt.loss_and_grad(theta, *problem)
    return (_per_parameter(u, theta, problem) * grad, *_NONE)


def _diff_loss_and_grad(ctx: Any, u: Tensor | None, w: Tensor | None) -> tuple[Any, ...]:
    (theta, grad), problem = _saved(ctx)
    found = None
    if u is not None:
        found = _per_parameter(u, theta, problem) * grad
    if w is not None:
        product = torch.ops.edt.hvp(theta, w[None], False, *problem)[0]
        found = product if found is None else found + product
    return (found, *_NONE)


def _diff_hvp(ctx: Any, w: Tensor) -> tuple[Any, ...]:
    (theta, vectors), problem = _saved(ctx)
    in_theta = in_vectors = None
    if ctx.needs_input_grad[0]:
        in_theta = torch.ops.edt.hvp_backward(theta, vectors, ctx.ggn, w, *problem)
    if ctx.needs_input_grad[1]:
        in_vectors = torch.ops.edt.hvp(theta, w, ctx.ggn, *problem)
    return (in_theta, in_vectors, None, *_NONE)


def _no_derivative(ctx: Any, *above: Any) -> Any:
    raise NotImplementedError(
        "this derivative goes beyond what the compiled ops offer; use backend='reference', which "
        "autograd differentiates to any order"
    )


# Registration --------------------------------------------------------------------------------


class _Operator(NamedTuple):
    name: str
    arguments: str
    returns: str
    kernel: Callable[..., Any]
    fake: Callable[..., Any]
    setup: Callable[..., None] | None
    backward: Callable[..., Any]


_PAIR = "(Tensor, Tensor)"
_OPERATORS = (
    _Operator(
        "predict",
        "Tensor theta",
        "Tensor",
        _predict,
        _fake_predict,
        _setup_theta,
        _diff_predict,
    ),
    _Operator(
        "predict_vjp",
        "Tensor theta, Tensor cotangent",
        "Tensor",
        _predict_vjp,
        _fake_flat,
        _setup_predict_vjp,
        _diff_predict_vjp,
    ),
    _Operator(
        "predict_vjp_backward",
        "Tensor theta, Tensor cotangent, Tensor w",
        _PAIR,
        _predict_vjp_backward,
        _fake_predict_vjp_backward,
        None,
        _no_derivative,
    ),
    _Operator(
        "loss",
        "Tensor theta",
        "Tensor",
        loss,
        _fake_loss,
        _setup_theta,
        _diff_loss,
    ),
    _Operator(
        "loss_and_grad",
        "Tensor theta",
        _PAIR,
        loss_and_grad,
        _fake_loss_and_grad,
        _setup_loss_and_grad,
        _diff_loss_and_grad,
    ),
    _Operator(
        "hvp",
        "Tensor theta, Tensor vectors, bool ggn",
        "Tensor",
        hvp,
        _fake_hvp,
        _setup_hvp,
        _diff_hvp,
    ),
    _Operator(
        "hvp_backward",
        "Tensor theta, Tensor vectors, bool ggn, Tensor w",
        "Tensor",
        _hvp_backward,
        _fake_flat,
        None,
        _no_derivative,
    ),
    _Operator(
        "hessian",
        "Tensor theta, bool ggn, SymInt size",
        "Tensor",
        hessian,
        _fake_hessian,
        None,
        _no_derivative,
    ),
)

#: Kernels by operator.
KERNELS = {op.name: op.kernel for op in _OPERATORS}
#: Names of the operators in ``torch.ops.edt``.
NAMES = tuple(op.name for op in _OPERATORS)

for _op in _OPERATORS:
    torch.library.define(
        f"edt::{_op.name}",
        f"({_op.arguments}, {SCHEMA}) -> {_op.returns}",
        tags=(torch.Tag.pt2_compliant_tag,),
    )
    torch.library.impl(f"edt::{_op.name}", ("cpu", "cuda"), _op.kernel)
    torch.library.register_fake(f"edt::{_op.name}", _op.fake)
    torch.library.register_autograd(f"edt::{_op.name}", _op.backward, setup_context=_op.setup)
