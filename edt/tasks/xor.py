"""Exclusive or: the smallest task on which width decides."""

from __future__ import annotations

import torch

from edt.ensemble import Ensemble
from edt.errors import unknown_choice
from edt.tasks.task import LOSSES, Task

__all__ = ["one_logit", "xor"]


def xor(
    loss: str = "cross_entropy",
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Task:
    """The four points of exclusive or.

    Args:
        loss: "cross_entropy": two classes, so two outputs; with `one_logit` networks the loss is
            the logistic loss of a 2-m-1 network. "mse": one output, targets 0 and 1.
        low, high: the two values of an input.
        dtype: of the task.

    Returns:
        `Task` with x ``[4, 2]``.

    Raises:
        ValueError: unknown loss, or values that are not finite and different.

    Example:
        >>> xor()
        Task(xor: 4 samples, 2 -> 2, cross_entropy, float64)
    """
    if not isinstance(loss, str) or loss not in LOSSES or loss == "soft_cross_entropy":
        known = [name for name in LOSSES if name != "soft_cross_entropy"]
        raise unknown_choice("loss", loss, known)
    if low == high:
        raise ValueError(f"low and high must differ, got {low!r} twice")
    x = torch.tensor([[a, b] for a in (low, high) for b in (low, high)], dtype=torch.float64)
    classes = torch.tensor([0, 1, 1, 0])
    if LOSSES[loss].classes:
        return Task(x, classes, loss, name="xor").to(dtype)
    y = LOSSES[loss].of_shares(classes.to(torch.float64)[:, None])
    return Task(x, y, loss, name="xor").to(dtype)


def one_logit(ens: Ensemble) -> Ensemble:
    """Networks whose first of two outputs is pruned to 0: binary classifiers with one logit.

    With outputs ``(0, z)`` the two-class cross-entropy is the logistic loss ``log(1 + exp(-z))``
    (class 1) or ``log(1 + exp(z))`` (class 0) of the one remaining output z.

    Args:
        ens: networks with ``d_out = 2``.

    Raises:
        ValueError: another number of outputs.

    Example:
        >>> one_logit(Ensemble.init([3], d_in=2, d_out=2)).coords
        tensor([13])
    """
    if ens.d_out != 2:
        raise ValueError(f"ens must have d_out = 2, got {ens.d_out}")
    keep = ens.masks
    for b in range(ens.B):
        ens.layout.weight(keep, b, -1)[0] = False
        if ens.has_bias:
            ens.layout.bias(keep, b, -1)[0] = False
    return ens.with_masks(keep)
