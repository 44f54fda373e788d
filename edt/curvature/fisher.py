"""Fisher matrices, true, empirical and of drawn targets, and the gradients of single samples.

With sample weights c_n (1/N for means), outputs ``f_n``, ``J_n = df_n / dtheta`` and the loss as a
negative log-likelihood ``l = -log p(y | f)``:

- true: ``F = sum_n c_n J_n^T E_y[l' l'^T] J_n``, y drawn from the network's own ``p(. | f_n)``;
- mc: the same with the mean over some draws of y for E;
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
from edt.curvature.samples import given_modules, sample_rows, sliced
from edt.curvature.slopes import Slopes, likelihood_needed
from edt.ensemble import ModuleEnsemble
from edt.ensemble.masks import TRAINABLE
from edt.errors import ShapeError
from edt.functional import ggn_vp
from edt.objectives import hessians
from edt.ops.losses import LOSSES
from edt.tasks.given import task_and_networks

__all__ = ["fisher", "fisher_product", "sample_gradients"]


def sample_gradients(
    task: Any, networks: Any, theta: torch.Tensor | None = None, task_index: Any = None
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradient of every sample's loss, and its weight in the whole.

    Args:
        task: an `edt.Task` or ``(x, y)``; for modules also an `edt.ModuleTask` whose loss is a
            function of outputs and targets.
        networks: B chains or networks of modules.
        theta, task_index: as in `edt.hessian`.

    Returns:
        (gradients ``[N, P_b]`` over coordinates, weights c ``[N]``), float64 of each network; the
        gradient of the loss is ``sum_n c_n g_n``.

    Raises:
        TypeError: a task that is no finite data, or has no single samples. ValueError: samples that
            depend on each other (``mode="train"``).

    Example:
        >>> gradients, weights = sample_gradients(task, networks)  # doctest: +SKIP
    """
    found = list(sample_rows(task, networks, theta, task_index, Slopes("empirical")))
    return [rows[0] for rows, _ in found], [weights for _, weights in found]


def fisher(
    task: Any,
    networks: Any,
    *,
    kind: str = "true",
    draws: int = 1,
    seed: int = 0,
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> list[torch.Tensor]:
    """Fisher matrix of every network over its coordinates.

    Args:
        task, networks, theta, task_index: as in `sample_gradients`; with kind="true" also others
            that `edt.hessian` takes, of a loss that is a likelihood.
        kind: "true", "empirical", or "mc", where targets are drawn.
        draws: of targets for each sample, with "mc"; seed: theirs, the same for every network.

    Returns:
        list of float64 ``[P_b, P_b]``, symmetric and positive semidefinite.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.
    """
    slopes = _checked(task, networks, kind, draws, seed)
    if slopes.kind == "true":
        objective, flat = prepare(task, networks, theta, task_index)
        every = torch.arange(objective.B)
        return [matrix.double() for matrix in hessians(objective, flat, every, ggn=True)]
    rows = sample_rows(task, networks, theta, task_index, slopes)
    return [torch.einsum("knp,n,knq->pq", g, c, g) for g, c in rows]


def fisher_product(
    task: Any,
    networks: Any,
    vectors: torch.Tensor,
    *,
    kind: str = "true",
    draws: int = 1,
    seed: int = 0,
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> torch.Tensor:
    """``F_b v_b`` for K vectors without forming F.

    Args:
        task, networks, kind, draws, seed, theta, task_index: as in `fisher`.
        vectors: ``[total]`` or ``[K, total]``; entries of pruned and frozen parameters are ignored.

    Returns:
        like ``vectors``, float64.
    """
    slopes = _checked(task, networks, kind, draws, seed)
    if slopes.kind == "true":
        return ggn_vp(task, networks, vectors, theta, task_index).double()
    _, nets = task_and_networks(task, networks)
    if not isinstance(vectors, torch.Tensor) or vectors.shape[-1:] != (nets.total,):
        got = list(vectors.shape) if isinstance(vectors, torch.Tensor) else vectors
        raise ShapeError(f"vectors must have shape [{nets.total}] or [K, ...], got {got}")
    given = vectors.detach().cpu().double()
    if isinstance(nets, ModuleEnsemble):
        data, nets, index = given_modules(task, networks, theta, task_index)
        squares, own = sliced(data, nets, index, slopes)
        return ggn_vp(squares, nets, given, None, own)
    rows = given.reshape(-1, nets.total)
    out = torch.zeros_like(rows)
    live = (nets.state == TRAINABLE).cpu()
    found = sample_rows(task, networks, theta, task_index, slopes)
    for b, (g, c) in enumerate(found):
        span = slice(int(nets.offsets[b]), int(nets.offsets[b + 1]))
        here = torch.nonzero(live[span]).flatten() + span.start
        for way in g:
            out[:, here] += (rows[:, here] @ way.T * c) @ way
    return out.reshape(vectors.shape)


def _checked(task: Any, networks: Any, kind: Any, draws: Any, seed: Any) -> Slopes:
    loss = task_and_networks(task, networks)[0].loss
    slopes = Slopes.asked(kind, draws, seed, loss)
    if slopes.kind == "true" and not (loss in LOSSES and LOSSES[loss].likelihood):
        raise likelihood_needed("the true Fisher matrix", loss)
    return slopes
