"""What was recorded on the way, as tensors; a dataset of xarray when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Record"]


@dataclass
class Record:
    """Numbers of all networks along an axis.

    Attributes:
        axis: "step" or "time".
        at: ``[R]``, where on it.
        loss, grad_norm: float64 ``[R, B]``; NaN after a network's end.
        params: ``[R, total]``, or None where they were not asked for.
    """

    axis: str
    at: torch.Tensor
    loss: torch.Tensor
    grad_norm: torch.Tensor
    params: torch.Tensor | None = None

    def dataset(self) -> xr.Dataset:
        """The same over (axis, "network"), ``params`` over (axis, "parameter")."""
        import xarray as xr

        variables: dict[str, Any] = {
            "loss": ((self.axis, "network"), self.loss.numpy()),
            "grad_norm": ((self.axis, "network"), self.grad_norm.numpy()),
        }
        if self.params is not None:
            variables["params"] = ((self.axis, "parameter"), self.params.numpy())
        coords = {self.axis: self.at.numpy(), "network": range(int(self.loss.shape[1]))}
        return xr.Dataset(variables, coords=coords)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a file must hold, by name; `of_tensors` reads it."""
        out = {
            f"history.{self.axis}": self.at,
            "history.loss": self.loss,
            "history.grad_norm": self.grad_norm,
        }
        return out if self.params is None else {**out, "history.params": self.params}

    @classmethod
    def of_tensors(cls, axis: str, tensors: dict[str, torch.Tensor]) -> Record:
        """The inverse of `tensors`."""
        names = (axis, "loss", "grad_norm")
        at, loss, grad_norm = (tensors[f"history.{name}"] for name in names)
        return cls(axis, at, loss, grad_norm, tensors.get("history.params"))
