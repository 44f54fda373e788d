"""What a training run returns."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from edt.files import expect, parsing, read, words, write
from edt.frames import Tabular, with_ends
from edt.training.history import Record
from edt.training.state import OptimizerState
from edt.training.structure import hidden_widths, pack, unpack
from edt.training.validation import Validation

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

KIND = "train-result"


@dataclass
class TrainResult(Tabular):
    """Networks after training, and how they got there.

    Attributes:
        networks: the trained ensemble (its parameters are its own copy).
        loss: float64 ``[B]``, full-batch loss at the final parameters.
        grad_norm: float64 ``[B]``, ``max|grad|`` at the final parameters.
        status: ``[B]`` of "converged" (max|grad| <= tol), "target" (loss <= loss_target),
            "stopped" (the validation loss rose for too long, or ``on_record`` said so),
            "max_steps", "diverged" (loss or gradient not finite) or "interrupted".
        steps: int64 ``[B]``, optimiser steps taken.
        recorded: what was recorded on the way, as tensors; see `history`.
        task_index: int64 ``[B]``.
        interrupted: the run ended by Ctrl-C or ``max_seconds`` before its last step.
        seconds: wall-clock time, earlier parts of a resumed run included.
        validation: the networks at their least validation loss, if one was watched. Not saved.
        optimizer: the optimiser's moments, for ``masked_train(continue_from=...)``.
    """

    networks: Any
    loss: torch.Tensor
    grad_norm: torch.Tensor
    status: list[str]
    steps: torch.Tensor
    recorded: Record
    task_index: torch.Tensor
    interrupted: bool
    seconds: float
    validation: Validation | None = None
    optimizer: OptimizerState | None = None

    @cached_property
    def history(self) -> xr.Dataset:
        """Over (step, network): ``loss``, ``grad_norm`` and, when asked for, ``params`` (step,
        parameter). Entries after a network's end are NaN."""
        return self.recorded.dataset()

    def to_pandas(self) -> pd.DataFrame:
        """One row a network: widths, task, coords, layers_cut, loss, grad_norm, steps, status."""
        import pandas as pd

        return pd.DataFrame(
            {
                "network": range(len(self.status)),
                "widths": hidden_widths(self.networks),
                "task": self.task_index.tolist(),
                "coords": self.networks.coords.tolist(),
                "layers_cut": self.networks.layers_cut.tolist(),
                "loss": self.loss.tolist(),
                "grad_norm": self.grad_norm.tolist(),
                "steps": self.steps.tolist(),
                "status": self.status,
            }
        )

    def to_xarray(self) -> xr.Dataset:
        """The history with the final numbers of every network beside it."""
        names = ("loss", "grad_norm", "steps")
        return with_ends(
            self.history, {name: getattr(self, name) for name in names}, {"status": self.status}
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file (whole, then renamed) and a readable JSON copy beside it."""
        tensors, structure = pack(self.networks)
        tensors |= {
            "loss": self.loss,
            "grad_norm": self.grad_norm,
            "steps": self.steps,
            "task_index": self.task_index,
            **self.recorded.tensors(),
        }
        own = self.optimizer
        optimizer: dict[str, Any] | None = None
        if own is not None:
            moments = {"optimizer.m": own.m, "optimizer.v": own.v}
            tensors |= {name: value for name, value in moments.items() if value is not None}
            optimizer = {"name": own.name, "target": own.target, "settled": own.settled}
            optimizer |= {"heard": own.heard, "remasked": own.remasked}
        header = {
            "structure": structure,
            "optimizer": optimizer,
            "status": self.status,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
        }
        write(path, KIND, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str], modules: Any = None) -> TrainResult:
        """Read a file written by `save`.

        Args:
            path: of the file.
            modules: for module networks, as in `edt.ModuleEnsemble.load`.

        Raises:
            CheckpointError: missing, truncated, corrupted or another kind of file.
        """
        tensors, header = read(path, KIND)
        with parsing(path):
            networks = unpack(tensors, header["structure"], modules)
            B, rows = networks.B, tensors["history.step"].numel()
            per_network = dict.fromkeys(("steps", "task_index"), (B,))
            expect(tensors, torch.int64, per_network | {"history.step": (rows,)})
            recorded = dict.fromkeys(("history.loss", "history.grad_norm"), (rows, B))
            expect(tensors, torch.float64, {"loss": (B,), "grad_norm": (B,), **recorded})
            if "history.params" in tensors:
                expect(tensors, networks.dtype, {"history.params": (rows, networks.total)})
            moments = [name for name in ("optimizer.m", "optimizer.v") if name in tensors]
            expect(tensors, networks.dtype, dict.fromkeys(moments, (networks.total,)))
            own, optimizer = header.get("optimizer"), None
            if own is not None:
                m, v = (tensors.get(f"optimizer.{name}") for name in ("m", "v"))
                at = int(own["target"]), bool(own["settled"])
                seen = int(own["heard"]), int(own["remasked"])
                optimizer = OptimizerState(str(own["name"]), m, v, *at, *seen)
            return cls(
                networks=networks,
                loss=tensors["loss"],
                grad_norm=tensors["grad_norm"],
                status=words(header, "status", B),
                steps=tensors["steps"],
                recorded=Record.of_tensors("step", tensors),
                task_index=tensors["task_index"],
                interrupted=bool(header["interrupted"]),
                seconds=float(header["seconds"]),
                optimizer=optimizer,
            )

    def __repr__(self) -> str:
        count = len(self.status)
        networks = f"{count} network{'s' if count != 1 else ''}"
        counts = ", ".join(f"{n} {name}" for name, n in Counter(self.status).most_common())
        finite = self.loss[torch.isfinite(self.loss)]
        span = (
            f"loss {float(finite.min()):.3e} / {float(finite.median()):.3e} / "
            f"{float(finite.max()):.3e} (min / median / max)"
            if finite.numel()
            else "no finite loss"
        )
        return (
            f"TrainResult({networks}: {counts}; {span}; {self.seconds:.1f} s"
            f"{'; interrupted' if self.interrupted else ''})"
        )
