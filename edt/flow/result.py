"""What `gradient_flow` returns."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from edt.ensemble import Ensemble
from edt.files import expect, parsing, read, words, write
from edt.frames import Tabular, with_ends
from edt.scalars import index
from edt.training.history import Record
from edt.training.structure import hidden_widths, pack, unpack

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

KIND = "flow-result"
_NUMBERS = ("loss", "grad_max", "time")
_COUNTS = ("steps", "refusals", "gradients", "products", "hessians", "task_index")


@dataclass
class FlowResult(Tabular):
    """Networks where their gradient flows ended, and the way there.

    Attributes:
        networks: the ensemble, float64.
        loss: float64 ``[B]``.
        grad_max: float64 ``[B]``, ``max|grad|``.
        time: float64 ``[B]``, when each flow ended.
        status: ``[B]`` of "converged" (max|grad| <= tol), "target" (loss <= loss_target), "norm"
            (|theta| >= norm_limit), "max_time", "max_steps", "stalled" (no step is short enough),
            "diverged" (the beginning is not finite) or "interrupted".
        method: ``[B]`` of "rosenbrock" or "chebyshev".
        steps, refusals: int64 ``[B]``, steps accepted and refused.
        gradients, products, hessians: int64 ``[B]``, gradients, Hessian-vector products and
            Hessians evaluated (without those of the records).
        recorded: what was recorded on the way, as tensors; see `history`.
        task_index: int64 ``[B]``.
        interrupted: ended by Ctrl-C or ``max_seconds``.
        seconds: wall-clock time.
    """

    networks: Ensemble
    loss: torch.Tensor
    grad_max: torch.Tensor
    time: torch.Tensor
    status: list[str]
    method: list[str]
    steps: torch.Tensor
    refusals: torch.Tensor
    gradients: torch.Tensor
    products: torch.Tensor
    hessians: torch.Tensor
    recorded: Record
    task_index: torch.Tensor
    interrupted: bool
    seconds: float

    @cached_property
    def history(self) -> xr.Dataset:
        """Over (time, network): ``loss``, ``grad_norm`` (``max|grad|``) and, when asked for,
        ``params`` (time, parameter). Entries after a network's end are NaN."""
        return self.recorded.dataset()

    def trajectory(self, b: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Network b's recorded path.

        Returns:
            (times ``[r]``, parameters ``[r, size_b]``) up to the network's end.

        Raises:
            ValueError: the parameters were not recorded. IndexError: no such network.
        """
        if self.recorded.params is None:
            raise ValueError("parameters were not recorded; use gradient_flow(record_params=True)")
        b = index("b", b, len(self.status))
        known = int((~torch.isnan(self.recorded.loss[:, b])).sum())
        span = slice(int(self.networks.offsets[b]), int(self.networks.offsets[b + 1]))
        return self.recorded.at[:known].clone(), self.recorded.params[:known, span].clone()

    def to_xarray(self) -> xr.Dataset:
        """The history with the final numbers of every network beside it."""
        names = ("loss", "grad_max", "time", "steps", "refusals")
        return with_ends(
            self.history,
            {name: getattr(self, name) for name in names},
            {"status": self.status, "method": self.method},
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row a network."""
        import pandas as pd

        return pd.DataFrame(
            {
                "network": range(len(self.status)),
                "widths": hidden_widths(self.networks),
                "task": self.task_index.tolist(),
                "coords": self.networks.coords.tolist(),
                "layers_cut": self.networks.layers_cut.tolist(),
                "loss": self.loss.tolist(),
                "grad_max": self.grad_max.tolist(),
                "time": self.time.tolist(),
                "status": self.status,
                "method": self.method,
                "steps": self.steps.tolist(),
                "refusals": self.refusals.tolist(),
            }
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file (whole, then renamed) and a readable JSON copy beside it."""
        tensors, structure = pack(self.networks)
        tensors |= {name: getattr(self, name) for name in (*_NUMBERS, *_COUNTS)}
        tensors |= self.recorded.tensors()
        header = {
            "structure": structure,
            "status": self.status,
            "method": self.method,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
        }
        write(path, KIND, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FlowResult:
        """Read a file written by `save`.

        Raises:
            CheckpointError: missing, truncated, corrupted or another kind of file.
        """
        tensors, header = read(path, KIND)
        with parsing(path):
            networks = unpack(tensors, header["structure"])
            B, rows = networks.B, tensors["history.time"].numel()
            expect(tensors, torch.float64, dict.fromkeys(_NUMBERS, (B,)))
            expect(tensors, torch.int64, dict.fromkeys(_COUNTS, (B,)))
            recorded = dict.fromkeys(("history.loss", "history.grad_norm"), (rows, B))
            expect(tensors, torch.float64, {"history.time": (rows,), **recorded})
            if "history.params" in tensors:
                expect(tensors, torch.float64, {"history.params": (rows, networks.total)})
            return cls(
                networks=networks,
                status=words(header, "status", B),
                method=words(header, "method", B),
                recorded=Record.of_tensors("time", tensors),
                interrupted=bool(header["interrupted"]),
                seconds=float(header["seconds"]),
                **{name: tensors[name] for name in (*_NUMBERS, *_COUNTS)},
            )

    def __repr__(self) -> str:
        count = len(self.status)
        networks = f"{count} network{'s' if count != 1 else ''}"
        status = ", ".join(f"{n} {name}" for name, n in Counter(self.status).most_common())
        return (
            f"FlowResult({networks}: {status}; {int(self.steps.sum()):,} steps, "
            f"{self.seconds:.1f} s{'; interrupted' if self.interrupted else ''})"
        )
