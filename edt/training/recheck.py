"""Verdicts computed again from saved results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edt.curvature.dense import eigenvalues
from edt.curvature.spectrum import groups
from edt.curvature.verdicts import inertia, verdict, zero_threshold
from edt.objectives import NormPenalty, Objective, hessians, segment_max
from edt.training.floor import loss_floor, zero_losses
from edt.training.inputs import ready
from edt.training.separable import separated_share

if TYPE_CHECKING:
    import pandas as pd

    from edt.training.converge_result import ConvergeResult

__all__ = ["recheck"]


def recheck(result: ConvergeResult, task: Any) -> pd.DataFrame:
    """Loss, gradient and eigenvalues at a result's networks, from nothing but them and the data.

    Hessians are formed for every network, also where `edt.converge` took Lanczos.

    Args:
        result: of `edt.converge`, or loaded.
        task: the data it was made with.

    Returns:
        One row a network: ``loss``, ``grad_max``, ``loss_floor``, ``min_eig``, ``max_eig``,
        ``eps_H``, ``index``, ``n_flat``, the ``verdict`` these numbers give at the result's
        ``tol``, and ``agrees``: whether it is the stored one. Numbers that are not finite have the
        verdict "unconverged".

    Raises:
        ValueError: other data than the result's.

    Example:
        >>> result = edt.ConvergeResult.load("ends.safetensors")  # doctest: +SKIP
        >>> result.recheck(task)["agrees"].all()  # doctest: +SKIP
    """
    import pandas as pd

    inputs = ready("recheck", task, result.networks, result.task_index, False)
    if inputs.fingerprint != result.task:
        raise ValueError(
            f"task must be the data of the result ({result.task}), got {inputs.fingerprint}"
        )
    objective: Objective = inputs.objective
    if result.maxnorm is not None:
        objective = NormPenalty(objective, result.maxnorm)
    theta = inputs.networks.theta
    loss = torch.full((objective.B,), float("nan"), dtype=torch.float64)
    grad = torch.zeros_like(theta)
    objective.loss_and_grad(theta, loss, grad)
    slope = segment_max(grad.abs(), objective.offsets.diff())
    finite = torch.isfinite(loss) & torch.isfinite(slope)
    chosen = torch.nonzero(finite).flatten()
    floor = loss_floor(inputs.objective, theta, chosen)
    zero_loss = zero_losses(inputs.objective, theta, loss, chosen, floor)
    rows: list[dict[str, Any]] = [
        {
            "loss": float(loss[b]),
            "grad_max": float(slope[b]),
            "loss_floor": float(floor[b]),
            "min_eig": float("nan"),
            "max_eig": float("nan"),
            "eps_H": float("nan"),
            "index": -1,
            "n_flat": -1,
            "verdict": "unconverged",
        }
        for b in range(objective.B)
    ]
    for place in groups(objective.coords[chosen]):
        part = chosen[place]
        spectra = eigenvalues(hessians(objective, theta, part))
        for b, values in zip(part.tolist(), spectra, strict=True):
            threshold = zero_threshold(values)
            negative, zero, _ = inertia(values, threshold)
            if bool(zero_loss[b]) and result.maxnorm is None:
                negative, zero = 0, zero + negative
            rows[b] |= {"eps_H": threshold, "index": negative, "n_flat": zero}
            if values.numel():
                rows[b] |= {"min_eig": float(values[0]), "max_eig": float(values[-1])}
            if rows[b]["grad_max"] <= result.tol:
                rows[b]["verdict"] = verdict(negative, zero)
    if result.maxnorm is None:
        ended = torch.tensor([word not in ("interrupted", "diverged") for word in result.status])
        part = chosen[ended[chosen]]
        shares = separated_share(inputs.task, inputs.networks, inputs.task_index, part)
        for b in torch.nonzero(shares > 0.0).flatten().tolist():
            rows[b]["verdict"] = "separable"
    table = pd.DataFrame(rows)
    table.insert(0, "network", range(objective.B))
    table["agrees"] = table["verdict"] == pd.Series(result.verdict)
    return table
