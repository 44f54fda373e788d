"""Fisher matrices, true and empirical, and the gradients of single samples they are made of.

With sample weights c_n (1/N for means), outputs ``f_n``, ``J_n = df_n / dtheta`` and the loss as a
negative log-likelihood ``l = -log p(y | f)``:

- true: ``F = sum_n c_n J_n^T E_y[l' l'^T] J_n``, y drawn from the network's own ``p(. | f_n)``;
- empirical: ``F = sum_n c_n g_n g_n^T`` with ``g_n = J_n^T l'(f_n, y_n)``.

The losses that are likelihoods of an exponential family (mse of a normal distribution of variance
1/2, cross-entropies, bce, logistic) have ``E l' l'^T = l''``: their true Fisher is the Gauss-Newton
matrix, exactly, without draws.

Reference: J. Martens, "New insights and perspectives on the natural gradient method", JMLR 2020; F.
Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher", NeurIPS 2019.
"""

from __future__ import annotations

from typing import Any

import torch

from edt.curvature.inputs import prepare
from edt.ensemble.kinds import chains
from edt.ensemble.masks import TRAINABLE
from edt.errors import unknown_choice
from edt.functional import ggn_vp, jacobian, predict
from edt.objectives import hessians
from edt.ops.losses import LOSSES
from edt.tasks import Task
from edt.tasks.given import index_of, task_and_networks

__all__ = ["FISHERS", "finite_data", "fisher", "fisher_product", "sample_gradients"]

FISHERS = ("true", "empirical")
#: Losses that are negative log-likelihoods, up to a constant.
LIKELIHOODS = ("mse", "cross_entropy", "soft_cross_entropy", "bce", "logistic")


def sample_gradients(
    task: Any, networks: Any, theta: torch.Tensor | None = None, task_index: Any = None
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradient of every sample's loss, and its weight in the whole.

    Args:
        task: an `edt.Task` or ``(x, y)``.
        networks: B chains.
        theta, task_index: as in `edt.hessian`.

    Returns:
        (gradients ``[N, P_b]`` over coordinates, weights c ``[N]``), float64 of each network; the
        gradient of the loss is ``sum_n c_n g_n``.

    Raises:
        TypeError: a task that is no finite data, or networks that are no chains.

    Example:
        >>> gradients, weights = sample_gradients(task, networks)  # doctest: +SKIP
    """
    data, nets, flat, index = finite_data(task, networks, theta, task_index)
    loss = LOSSES[data.loss]
    rows = jacobian(data, nets, flat, index)
    outputs = predict(data, nets, flat, index).detach()
    problem = data.objective(nets, index).problem
    gradients, weights = [], []
    for b in range(nets.B):
        t = problem.task_of(b)
        f = outputs[b].clone().requires_grad_()
        with torch.enable_grad():
            total = loss.sample(f, problem.targets(t)).sum()
        slope = torch.autograd.grad(total, f)[0]
        gradients.append(torch.einsum("no,nop->np", slope, rows[b].reshape(*f.shape, -1)))
        weights.append(problem.coef[t])
    return gradients, weights


def fisher(
    task: Any,
    networks: Any,
    *,
    kind: str = "true",
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> list[torch.Tensor]:
    """Fisher matrix of every network over its coordinates.

    Args:
        task, networks, theta, task_index: as in `sample_gradients`; with kind="true" also others
            that `edt.hessian` takes, of a loss that is a likelihood.
        kind: "true" or "empirical".

    Returns:
        list of float64 ``[P_b, P_b]``, symmetric and positive semidefinite.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.
    """
    if _checked(kind, task, networks) == "true":
        objective, flat = prepare(task, networks, theta, task_index)
        every = torch.arange(objective.B)
        return [matrix.double() for matrix in hessians(objective, flat, every, ggn=True)]
    gradients, weights = sample_gradients(task, networks, theta, task_index)
    return [g.T @ (c[:, None] * g) for g, c in zip(gradients, weights, strict=True)]


def fisher_product(
    task: Any,
    networks: Any,
    vectors: torch.Tensor,
    *,
    kind: str = "true",
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> torch.Tensor:
    """``F_b v_b`` for K vectors without forming F.

    Args:
        task, networks, kind, theta, task_index: as in `fisher`.
        vectors: ``[total]`` or ``[K, total]``; entries of pruned and frozen parameters are ignored.

    Returns:
        like ``vectors``, float64.
    """
    if _checked(kind, task, networks) == "true":
        return ggn_vp(task, networks, vectors, theta, task_index).double()
    gradients, weights = sample_gradients(task, networks, theta, task_index)
    _, nets = task_and_networks(task, networks)
    given = vectors.detach().double().reshape(-1, nets.total)
    out = torch.zeros_like(given)
    live = (nets.state == TRAINABLE).cpu()
    for b, (g, c) in enumerate(zip(gradients, weights, strict=True)):
        span = slice(int(nets.offsets[b]), int(nets.offsets[b + 1]))
        here = torch.nonzero(live[span]).flatten() + span.start
        out[:, here] = (given[:, here] @ g.T * c) @ g
    return out.reshape(vectors.shape)


def finite_data(
    task: Any, networks: Any, theta: torch.Tensor | None, task_index: Any
) -> tuple[Task, Any, torch.Tensor, torch.Tensor]:
    """(task, chains, parameters, targets) on the CPU in float64.

    Raises:
        TypeError: no finite data, or no chains.
    """
    prepare(task, networks, theta, task_index)
    data, nets = task_and_networks(task, networks)
    chains(nets, "what is made of single samples")
    if not isinstance(data, Task):
        raise TypeError(f"task must be an edt.Task or a pair (x, y), got {type(data).__name__}")
    flat = (nets.theta if theta is None else theta).detach().cpu().double()
    data = data.to(nets.dtype, device="cpu").to(torch.float64)
    index = index_of(data, nets, task_index)
    return data, nets.to(torch.float64, device="cpu"), flat, index


def _checked(kind: Any, task: Any, networks: Any) -> str:
    if not isinstance(kind, str) or kind not in FISHERS:
        raise unknown_choice("kind", kind, FISHERS)
    loss = task_and_networks(task, networks)[0].loss
    if kind == "true" and loss not in LIKELIHOODS:
        raise ValueError(
            f"the true Fisher matrix needs a likelihood, one of {', '.join(LIKELIHOODS)}, got "
            f"{loss}: take kind='empirical', or the Gauss-Newton matrix"
        )
    return kind
