"""The optimiser's arguments, checked: one set of constants for every group of like networks.

Networks may differ in momentum and batch size. Those alike go through the kernels together; what a
network computes does not depend on the others, so how they are grouped changes no bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edt.ensemble.arrays import integers, plain
from edt.errors import unknown_choice
from edt.scalars import flag, integer, number
from edt.training.checks import per_network
from edt.training.optimizers import OPTIMIZERS

__all__ = ["Group", "clip_norms", "hyper_groups"]

#: Constants, and the networks that have them (bool ``[B]``).
Group = tuple[dict[str, Any], torch.Tensor]


def hyper_groups(
    task: Any,
    networks: int,
    *,
    optimizer: Any,
    momentum: Any,
    nesterov: Any,
    dampening: Any,
    betas: Any,
    eps: Any,
    batch_size: Any,
    tol: Any,
    loss_target: Any,
) -> list[Group]:
    """Groups of networks of one momentum and batch size, the largest momentum first.

    Args:
        task: what is learned.
        networks: B.
        optimizer, momentum, ...: of `edt.masked_train`.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.
    """
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise unknown_choice("optimizer", str(optimizer), list(OPTIMIZERS))
    heavy = per_network("momentum", momentum, networks)
    dampening = number("dampening", dampening)
    nesterov = flag("nesterov", nesterov)
    if optimizer != "sgd" and (bool((heavy != 0.0).any()) or dampening or nesterov):
        raise ValueError(
            f"momentum, dampening and nesterov need optimizer='sgd', not {optimizer!r}"
        )
    if nesterov and (bool((heavy <= 0.0).any()) or dampening != 0.0):
        raise ValueError("nesterov=True needs momentum > 0 and dampening = 0")
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be two numbers in [0, 1), got {betas!r}")
    sizes = _batch_sizes(batch_size, task, networks)
    tol = number("tol", tol)
    if tol > 0.0 and bool((sizes > 0).any()):
        raise ValueError("tol needs full batches (batch_size=None): a minibatch gradient is noise")
    shared = {
        "optimizer": OPTIMIZERS[optimizer].core,
        "dampening": dampening,
        "nesterov": nesterov,
        "beta1": number("betas[0]", betas[0], below=1.0),
        "beta2": number("betas[1]", betas[1], below=1.0),
        "eps": number("eps", eps),
        "tol": tol,
        "loss_target": -float("inf") if loss_target is None else number("loss_target", loss_target),
    }
    kinds = sorted(set(zip(heavy.tolist(), sizes.tolist(), strict=True)), reverse=True)
    return [
        ({**shared, "momentum": mu, "batch_size": size}, (heavy == mu) & (sizes == size))
        for mu, size in kinds
    ]


def _batch_sizes(value: Any, task: Any, networks: int) -> torch.Tensor:
    """int64 ``[B]``, 0 for full batches."""
    if value is None:
        return torch.zeros(networks, dtype=torch.int64)
    if isinstance(value, (int, np.integer, float, bool, str)):
        sizes = torch.full((networks,), integer("batch_size", value), dtype=torch.int64)
    else:
        sizes = integers("batch_size", plain("batch_size", value)).clone()
        if tuple(sizes.shape) != (networks,):
            raise ValueError(
                f"batch_size must be an integer or have shape [{networks}] (one per network), got "
                f"shape {list(sizes.shape)}"
            )
        bad = torch.nonzero(sizes < 1).flatten().tolist()
        if bad:
            raise ValueError(f"batch_size[{bad[0]}] must be >= 1, got {int(sizes[bad[0]])}")
    if not hasattr(task, "N"):
        raise ValueError(f"batch_size needs samples, got {value!r} for a task without any")
    return torch.where(sizes >= task.N, 0, sizes)


def clip_norms(value: Any, networks: int) -> torch.Tensor | None:
    """Largest norms of a step's gradient, float64 ``[B]``; None: not clipped.

    Raises:
        TypeError, ValueError: not positive numbers.
    """
    if value is None:
        return None
    norms = per_network("clip_norm", value, networks)
    bad = torch.nonzero(norms <= 0.0).flatten().tolist()
    if bad:
        raise ValueError(f"clip_norm must be > 0, got {float(norms[bad[0]])} for network {bad[0]}")
    return norms
