"""Losses and their derivatives, network by network: the public functions of (task, networks).

Task and networks are taken in either order; a task is an `edt.Task`, ``(x, y)``, a task over
infinite data (`edt.population`), anything else with ``objective(networks, task_index)``, or an
`edt.objectives.Objective`. All functions take ``theta`` (flat ``[total]``, default: the networks'
parameters), ``task_index`` (int64 ``[B]``, which of the task's T targets each network has, default
0) and ``backend``: "cpu" and "cuda" are the compiled engines, "reference" plain PyTorch (slow,
differentiable to any order, also by torch.func), "auto" the compiled engine of the networks'
device. Pruned and frozen parameters are constants: results are 0 there, inputs are ignored there.

Results on finite data are differentiable as said for each; those of other objectives carry no
graph.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from edt.arguments import checked
from edt.ensemble import Ensemble, ModuleEnsemble
from edt.ensemble.kinds import is_networks
from edt.objectives import ModuleObjective, Objective, hessians
from edt.ops import library, reference
from edt.ops.checks import backend_of, inputs_only, parameters, vectors_of
from edt.ops.compiled import layer_states, matrix_offsets, structure
from edt.ops.cpu import CpuCalls
from edt.ops.cuda import plan_of
from edt.ops.functional import functional_call
from edt.ops.jacobians import jacobian as structured_jacobian
from edt.ops.memory import room_for_hessians
from edt.ops.problem import Problem
from edt.tasks import ModuleTask
from edt.tasks.given import task_and_networks

__all__ = [
    "functional_call",
    "ggn_vp",
    "hessian",
    "hessian_blocks",
    "hvp",
    "jacobian",
    "loss",
    "loss_and_grad",
    "predict",
]


def predict(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Outputs of every network at every sample, ``f(x_n; theta_b)``.

    Differentiable in ``theta`` (backward: one ``J^T u``; second derivatives run the reference).

    Args:
        task: inputs ``[N, d_in]``, or a task with such samples, of which only the inputs matter.
        networks: B networks; either may come first.
        theta: flat parameters, float32 or float64 like the networks'.
        task_index: int64 ``[B]``.
        backend: "auto", "cpu", "cuda" or "reference".

    Returns:
        ``[B, N, d_out]``, dtype of the networks; logits if the loss is cross-entropy.

    Raises:
        TypeError, ValueError: bad arguments (`edt.errors.ShapeError` for shapes).

    Example:
        >>> ens = edt.Ensemble.init(widths=[2, 4], seeds=[0], d_in=3, d_out=1)
        >>> edt.predict(ens, torch.randn(5, 3, dtype=torch.float64)).shape
        torch.Size([2, 5, 1])
    """
    if is_networks(task):
        task, networks = networks, task
    if isinstance(task, torch.Tensor) and isinstance(networks, ModuleEnsemble):
        # Only its inputs matter: each sample is its own target.
        task = ModuleTask((task, task), _outputs_only)
    if isinstance(networks, ModuleEnsemble):
        objective, flat, _ = _arguments(task, networks, theta, task_index, backend)
        return torch.stack(_modules(objective, "predict").predict(flat))
    if isinstance(task, torch.Tensor) and isinstance(networks, Ensemble):
        engine, flat = backend_of(backend), parameters(networks, theta)
        problem = inputs_only(networks, task)
        _insist_on_engine(engine, flat)
    else:
        objective, flat, engine = _arguments(task, networks, theta, task_index, backend)
        problem = _samples(objective, "predict")
    out: torch.Tensor
    if engine == "reference":
        out = reference.predict(flat, problem)
    else:
        out = torch.ops.edt.predict(flat, *problem)
    return out


def loss(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Loss of every network.

    ``L_b = sum_n coef_n l(f(x_n; theta_b), y_n)``, with ``l = |f - y|^2`` (summed over outputs, no
    factor 1/2) or ``l = log sum_o exp(f_o) - f_y``; the coefficients are 1/N unless the task has
    sample weights. Differentiable in ``theta``, twice (backward: one `loss_and_grad`; its backward:
    one `hvp`), a third time through the reference.

    Args:
        task, networks, theta, task_index, backend: as in `predict`.

    Returns:
        float64 ``[B]``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> theta = ens.theta.clone().requires_grad_(True)
        >>> edt.loss(task, ens, theta).sum().backward()
        >>> theta.grad.shape == theta.shape
        True
    """
    objective, flat, engine = _arguments(task, networks, theta, task_index, backend)
    problem = _problem(objective, engine)
    if problem is None:
        return _evaluated(objective, flat)[0]
    out: torch.Tensor
    if engine == "reference":
        out = reference.loss(flat, problem)
    else:
        out = (library.loss if _plain(flat) else torch.ops.edt.loss)(flat, *problem)
    return out


def loss_and_grad(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every network and its gradient, ``dL_b / dtheta_b``, in one pass.

    Args:
        task, networks, theta, task_index, backend: as in `predict`.

    Returns:
        (loss float64 ``[B]``, gradient flat ``[total]`` in the networks' dtype).

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> value, gradient = edt.loss_and_grad(task, ens)
    """
    objective, flat, engine = _arguments(task, networks, theta, task_index, backend)
    problem = _problem(objective, engine)
    if problem is None:
        return _evaluated(objective, flat)
    if engine == "reference":
        return reference.loss_and_grad(flat, problem)
    if _plain(flat):
        return library.loss_and_grad(flat, *problem)
    value, grad = torch.ops.edt.loss_and_grad(flat, *problem)
    return value, grad


def hvp(
    task: Any,
    networks: Any,
    vectors: torch.Tensor,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Hessian-vector products ``H_b v_b``, K vectors per network in one pass.

    ``H_b = d^2 L_b / dtheta_b^2``; every network takes its slice of each vector. Differentiable in
    ``vectors`` (H is symmetric) and, through the reference, in ``theta``.

    Args:
        task, networks, theta, task_index, backend: as in `predict`.
        vectors: ``[K, total]`` or ``[total]``, the networks' dtype.

    Returns:
        Products, shape of ``vectors``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> product = edt.hvp(task, ens, torch.ones(8, ens.theta.numel(), dtype=ens.dtype))

    Reference: B. Pearlmutter, "Fast exact multiplication by the Hessian", 1994.
    """
    return _product(task, networks, vectors, theta, task_index, backend, ggn=False)


def ggn_vp(
    task: Any,
    networks: Any,
    vectors: torch.Tensor,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> torch.Tensor:
    """Products ``G_b v_b`` with the generalised Gauss-Newton matrix.

    ``G_b = sum_n coef_n J_n^T (d^2 l / df^2) J_n``, ``J_n = df_n / dtheta_b``: the Hessian without
    the curvature of the outputs; positive semidefinite.

    Args:
        task, networks, vectors, theta, task_index, backend: as in `hvp`.

    Returns:
        Products, shape of ``vectors``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> product = edt.ggn_vp(task, ens, torch.ones_like(ens.theta))

    Reference: N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient
    descent", 2002.
    """
    return _product(task, networks, vectors, theta, task_index, backend, ggn=True)


def hessian(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    ggn: bool = False,
    backend: str = "auto",
) -> list[torch.Tensor]:
    """Exact Hessian of every network over its coordinates.

    ``H_b = d^2 L_b / dc_b^2``, c the trainable parameters in flat order. Not differentiable on the
    compiled engine.

    Args:
        task, networks, theta, task_index, backend: as in `predict`.
        ggn: the generalised Gauss-Newton matrix (see `ggn_vp`) instead.

    Returns:
        list of symmetric ``[P_b, P_b]``, views of one buffer, each 64-byte aligned.

    Raises:
        TypeError, ValueError: bad arguments.
        MemoryError: the matrices do not fit what is free; names both in bytes, before any work.

    Example:
        >>> torch.linalg.eigvalsh(edt.hessian(task, ens)[0]).shape
        torch.Size([11])
    """
    objective, flat, engine = _arguments(task, networks, theta, task_index, backend)
    problem = _problem(objective, engine)
    if problem is None:
        coords, here = objective.coords, flat.detach().cpu()
        room_for_hessians(int((coords * coords).sum()), coords, here)
        found = hessians(objective, here, torch.arange(objective.B), ggn=ggn)
        return [matrix.to(flat.device) for matrix in found]
    if engine == "reference":
        return reference.hessian(flat, problem, ggn=ggn)
    return _hessian(flat.detach(), problem, ggn)


def hessian_blocks(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    ggn: bool = False,
    backend: str = "auto",
) -> list[list[torch.Tensor]]:
    """Diagonal blocks of the Hessian of every network, one per layer (weights, then biases).

    The block of a layer is the Hessian with all other layers frozen, and is computed so: no
    ``[P_b, P_b]`` matrix is formed.

    Args:
        task, networks, theta, task_index, ggn, backend: as in `hessian`.

    Returns:
        per network a list of D + 1 symmetric matrices ``[P_bl, P_bl]``, from the inputs up.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> [block.shape[0] for block in edt.hessian_blocks(task, ens)[0]]
        [8, 3]
    """
    objective, flat, engine = _arguments(task, networks, theta, task_index, backend)
    problem = _samples(objective, "hessian_blocks")
    if engine == "reference":
        return reference.hessian_blocks(flat, problem, ggn=ggn)
    flat = flat.detach()
    layers = [_hessian(flat, problem._replace(state=state), ggn) for state in layer_states(problem)]
    return [list(blocks) for blocks in zip(*layers, strict=True)]


def jacobian(
    task: Any,
    networks: Any,
    theta: torch.Tensor | None = None,
    task_index: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> list[torch.Tensor]:
    """Jacobian of the outputs of every network over its coordinates, ``df / dc_b``.

    Not differentiable on the compiled engine.

    Args:
        task, networks, theta, task_index, backend: as in `predict`.

    Returns:
        list of ``[N * d_out, P_b]``, row ``n * d_out + o``.

    Raises:
        TypeError, ValueError: bad arguments.

    Example:
        >>> edt.jacobian(task, ens)[0].shape
        torch.Size([5, 11])
    """
    objective, flat, engine = _arguments(task, networks, theta, task_index, backend)
    if isinstance(objective, ModuleObjective):
        return objective.jacobian(flat)
    problem = _samples(objective, "jacobian")
    if engine == "reference":
        return reference.jacobian(flat, problem)
    flat = flat.detach()
    return structured_jacobian(flat, problem) if flat.is_cuda else _jacobian(flat, problem)


def _arguments(
    task: Any, networks: Any, theta: Any, task_index: Any, backend: Any
) -> tuple[Objective, torch.Tensor, str]:
    """(losses, parameters, engine)."""
    engine = backend_of(backend)
    task, networks = task_and_networks(task, networks)
    objective: Objective = task.objective(networks, task_index)
    flat = parameters(networks, theta)
    _insist_on_engine(engine, flat)
    return objective, flat, engine


def _insist_on_engine(engine: str, flat: torch.Tensor) -> None:
    if engine == "reference":
        return
    if engine != "auto" and flat.device.type != engine:
        raise ValueError(
            f"backend={engine!r} needs networks on that device, they are on {flat.device}"
        )
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(flat).tangent is not None:  # type: ignore[no-untyped-call]
        raise NotImplementedError(
            f"backend={engine!r} has no forward-mode derivatives, and theta carries a tangent; "
            "use edt.hvp, or backend='reference'"
        )


def _problem(objective: Objective, engine: str) -> Problem | None:
    """The tensors of finite data, which operators take; None where there are none."""
    found: Problem | None = getattr(objective, "problem", None)
    if found is None and engine not in ("auto", "cpu"):
        raise ValueError(
            f"backend={engine!r} needs finite data; this loss is computed by "
            f"{type(objective).__name__}"
        )
    return found


def _samples(objective: Objective, what: str) -> Problem:
    found: Problem | None = getattr(objective, "problem", None)
    if found is None:
        raise TypeError(
            f"edt.{what} needs a task with samples, an edt.Task or a pair (x, y): "
            f"{type(objective).__name__} has none"
        )
    return found


def _modules(objective: Objective, what: str) -> ModuleObjective:
    if not isinstance(objective, ModuleObjective):
        raise TypeError(f"edt.{what} of an edt.ModuleEnsemble needs samples, got {objective!r}")
    return objective


def _outputs_only(f: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return f.sum()


def _evaluated(objective: Objective, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    here = flat.detach().cpu().contiguous()
    value = torch.zeros(objective.B, dtype=torch.float64)
    grad = torch.zeros_like(here)
    objective.loss_and_grad(here, value, grad)
    return value.to(flat.device), grad.to(flat.device)


def _plain(flat: torch.Tensor) -> bool:
    """Whether nobody watches the call: then the dispatcher, half of a small call, is left out.

    Watching are autograd, tracers, and modes that see every operator or every tensor.
    """
    return (
        type(flat) is torch.Tensor
        and flat.device.type == "cpu"
        and not (flat.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
    )


def _product(
    task: Any,
    networks: Any,
    vectors: Any,
    theta: Any,
    task_index: Any,
    backend: Any,
    *,
    ggn: bool,
) -> torch.Tensor:
    objective, flat, engine = _arguments(task, networks, theta, task_index, backend)
    problem = _problem(objective, engine)
    rows = vectors_of(networks if is_networks(networks) else task, vectors)
    out: torch.Tensor
    if problem is None:
        here = rows.detach().cpu().contiguous()
        made = torch.zeros_like(here)
        objective.hvp(flat.detach().cpu().contiguous(), here, made, ggn=ggn)
        out = made.to(flat.device)
    elif engine == "reference":
        out = (reference.ggn_vp if ggn else reference.hvp)(flat, rows, problem)
    else:
        kernel = library.hvp if _plain(flat) and _plain(rows) else torch.ops.edt.hvp
        out = kernel(flat, rows, ggn, *problem)
    return out if vectors.dim() == 2 else out[0]


def _hessian(flat: torch.Tensor, problem: Problem, ggn: bool) -> list[torch.Tensor]:
    if _plain(flat):
        buffer, found, sizes = library.hessians(flat, ggn, problem)
        offsets = found.tolist()
    else:
        sizes = (plan_of(problem, flat.device) if flat.is_cuda else structure(problem)).coords
        offsets = matrix_offsets(sizes, sizes, flat.element_size()).tolist()
        buffer = torch.ops.edt.hessian(flat, ggn, offsets[-1], *problem)
    return [
        buffer.as_strided((size, size), (size, 1), at)
        for at, size in zip(offsets, sizes.tolist(), strict=False)
    ]


def _jacobian(flat: torch.Tensor, problem: Problem) -> list[torch.Tensor]:
    """Transposed views of one buffer: what belongs to one coordinate is contiguous."""
    calls = CpuCalls(problem)
    sizes, rows = calls.coords, problem.samples * problem.d_out
    offsets = matrix_offsets(sizes, torch.full_like(sizes, rows), flat.element_size())
    out = flat.new_empty(int(offsets[-1]))
    calls.jacobian(flat.contiguous(), out, offsets)
    return [
        out[at : at + size * rows].view(size, rows).T
        for at, size in zip(offsets[:-1].tolist(), sizes.tolist(), strict=True)
    ]


checked(__name__)
