"""What `converge` returns."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from edt.curvature.verdicts import Evidence
from edt.files import expect, parsing, read, words, write
from edt.frames import Tabular
from edt.scalars import index
from edt.training.structure import hidden_widths, pack, unpack

if TYPE_CHECKING:
    import pandas as pd

KIND = "converge-result"
_NUMBERS = ("loss", "grad_max", "min_eig", "max_eig", "eps_H", "closeness", "moving",
            "loss_floor", "separated")  # fmt: skip
_COUNTS = ("index", "n_flat", "lbfgs_iterations", "newton_iterations", "task_index")
_TENSORS = (*_NUMBERS, *_COUNTS, "pair")


@dataclass
class ConvergeResult(Tabular):
    """Networks at the bottom, and what kind of point each stands on.

    Attributes:
        networks: the ensemble, float64.
        loss: float64 ``[B]``.
        grad_max: float64 ``[B]``, ``max|grad|``.
        status: ``[B]`` of "converged" (max|grad| <= tol), "stalled" (no progress in floating
            point), "max_steps", "diverged", "channel" (not converged, and either two opponents'
            input weights within 1e-3, see `edt.training.channels`, or the parameter norm above
            1e3 and still growing) or "interrupted".
        verdict: ``[B]`` of "minimum" (no eigenvalue below -eps_H, none within it), "flat" (none
            below, some within; or loss 0 to rounding, where none counts as below), "saddle" (some
            below), "separable" (logistic losses and cross-entropy: no minimum, the readout
            separates samples and the loss falls for ever as weights grow, whatever the gradient;
            see `edt.training.separable`) or "unconverged". It says what the Hessian is there;
            whether a run would stay there under more optimisation is what `edt.landscape.certify`
            says.
        index: int64 ``[B]``, eigenvalues below -eps_H; -1 where no Hessian was computed. It means
            something at critical points only: `to_pandas` shows it there and nowhere else.
        n_flat: int64 ``[B]``, eigenvalues within eps_H; -1 likewise.
        min_eig, max_eig: float64 ``[B]``, smallest and largest eigenvalue; NaN likewise (where no
            Hessian was formed, ``max_eig`` is the largest magnitude Lanczos met).
        eps_H: float64 ``[B]``, the threshold ``10 u P ||H||_2``; NaN likewise.
        lbfgs_iterations, newton_iterations: int64 ``[B]``.
        task_index: int64 ``[B]``.
        pair: int64 ``[B, 2]``, the closest opponents; closeness: float64 ``[B]``, how close; see
            `edt.training.channels.opponents`.
        moving: float64 ``[B]``, length of the last Newton step relative to ``|theta|`` (0: none).
        loss_floor: float64 ``[B]``, what rounding the parameters makes of loss 0, see
            `edt.training.floor.loss_floor`: a loss within a few times of it cannot be told from 0.
            NaN where no Jacobian of residuals can be formed.
        separated: float64 ``[B]``, weight of the samples whose margins can grow for ever by the
            readout alone, from 0 to 1; NaN where that is unknown or the loss has a minimum anyway.
        maxnorm: float64 ``[B]``, the soft bound that is part of the loss, or None.
        task: fingerprint of the data.
        tol: the bound on ``max|grad|`` that was asked for.
        interrupted: ended by Ctrl-C or ``max_seconds``.
        seconds: wall-clock time.
    """

    networks: Any
    loss: torch.Tensor
    grad_max: torch.Tensor
    status: list[str]
    verdict: list[str]
    index: torch.Tensor
    n_flat: torch.Tensor
    min_eig: torch.Tensor
    max_eig: torch.Tensor
    eps_H: torch.Tensor
    lbfgs_iterations: torch.Tensor
    newton_iterations: torch.Tensor
    task_index: torch.Tensor
    pair: torch.Tensor
    closeness: torch.Tensor
    moving: torch.Tensor
    loss_floor: torch.Tensor
    separated: torch.Tensor
    maxnorm: torch.Tensor | None
    task: str
    tol: float
    interrupted: bool
    seconds: float

    @property
    def iterations(self) -> torch.Tensor:
        """L-BFGS and Newton iterations together, int64 ``[B]``."""
        return self.lbfgs_iterations + self.newton_iterations

    def evidence(self, b: int) -> Evidence:
        """What network b's verdict rests on.

        Raises:
            IndexError: no such network.
        """
        b = index("b", b, len(self.status))
        return Evidence(
            verdict=self.verdict[b],
            loss=float(self.loss[b]),
            grad_max=float(self.grad_max[b]),
            tol=self.tol,
            min_eig=float(self.min_eig[b]),
            max_eig=float(self.max_eig[b]),
            threshold=float(self.eps_H[b]),
            index=int(self.index[b]),
            n_flat=int(self.n_flat[b]),
            separated=float(self.separated[b]),
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row a network; ``index`` and ``n_flat`` are missing (NA) off critical points."""
        import pandas as pd

        critical = [word not in ("unconverged", "separable") for word in self.verdict]
        return pd.DataFrame(
            {
                "network": range(len(self.status)),
                "widths": hidden_widths(self.networks),
                "task": self.task_index.tolist(),
                "coords": self.networks.coords.tolist(),
                "layers_cut": self.networks.layers_cut.tolist(),
                "loss": self.loss.tolist(),
                "grad_max": self.grad_max.tolist(),
                "status": self.status,
                "verdict": self.verdict,
                "index": _where(critical, self.index),
                "n_flat": _where(critical, self.n_flat),
                "min_eig": self.min_eig.tolist(),
                "max_eig": self.max_eig.tolist(),
                "eps_H": self.eps_H.tolist(),
                "closeness": self.closeness.tolist(),
                "loss_floor": self.loss_floor.tolist(),
                "iterations": self.iterations.tolist(),
                "newton_iterations": self.newton_iterations.tolist(),
            }
        )

    @classmethod
    def concat(cls, parts: Sequence[ConvergeResult]) -> ConvergeResult:
        """The networks of several results on one task, in order.

        Raises:
            ValueError: none, or results that differ in task, tolerance or kind of bound.
        """
        if not parts:
            raise ValueError("parts must hold at least one result, got none")
        first = parts[0]
        for name in ("task", "tol"):
            if any(getattr(part, name) != getattr(first, name) for part in parts):
                raise ValueError(f"parts must agree in {name}")
        bounds = [part.maxnorm for part in parts if part.maxnorm is not None]
        if len(bounds) not in (0, len(parts)):
            raise ValueError("parts must agree in having a maxnorm")
        return cls(
            networks=type(first.networks).concat([part.networks for part in parts]),
            status=[word for part in parts for word in part.status],
            verdict=[word for part in parts for word in part.verdict],
            maxnorm=torch.cat(bounds) if bounds else None,
            task=first.task,
            tol=first.tol,
            interrupted=any(part.interrupted for part in parts),
            seconds=sum(part.seconds for part in parts),
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS},
        )

    def recheck(self, task: Any) -> pd.DataFrame:
        """Compute the evidence again from the networks; see `edt.training.recheck`."""
        from edt.training.recheck import recheck

        return recheck(self, task)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file (whole, then renamed) and a readable JSON copy beside it."""
        write(path, KIND, *self.payload())

    def payload(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON header that hold everything."""
        tensors, structure = pack(self.networks)
        tensors |= {name: getattr(self, name) for name in _TENSORS}
        if self.maxnorm is not None:
            tensors["maxnorm"] = self.maxnorm
        names = ("status", "verdict", "task", "tol", "interrupted", "seconds")
        return tensors, {"structure": structure} | {name: getattr(self, name) for name in names}

    @classmethod
    def load(cls, path: str | os.PathLike[str], modules: Any = None) -> ConvergeResult:
        """Read a file written by `save`.

        Args:
            path: of the file.
            modules: for module networks, as in `edt.ModuleEnsemble.load`.

        Raises:
            CheckpointError: missing, truncated, corrupted or another kind of file.
        """
        tensors, header = read(path, KIND)
        with parsing(path):
            return cls.from_payload(tensors, header, modules)

    @classmethod
    def from_payload(
        cls, tensors: dict[str, torch.Tensor], header: dict[str, Any], modules: Any = None
    ) -> ConvergeResult:
        """Inverse of `payload`.

        Raises:
            AttributeError, LookupError, TypeError, ValueError: not such a payload.
        """
        networks = unpack(tensors, header["structure"], modules)
        B = networks.B
        # Files of before there was such a verdict.
        tensors.setdefault("separated", torch.full((B,), float("nan"), dtype=torch.float64))
        bound = ("maxnorm",) if "maxnorm" in tensors else ()
        expect(tensors, torch.float64, dict.fromkeys((*_NUMBERS, *bound), (B,)))
        expect(tensors, torch.int64, {"pair": (B, 2)} | dict.fromkeys(_COUNTS, (B,)))
        return cls(
            networks=networks,
            status=words(header, "status", B),
            verdict=words(header, "verdict", B),
            maxnorm=tensors.get("maxnorm"),
            task=str(header["task"]),
            tol=float(header["tol"]),
            interrupted=bool(header["interrupted"]),
            seconds=float(header["seconds"]),
            **{name: tensors[name] for name in _TENSORS},
        )

    def __repr__(self) -> str:
        count = len(self.status)
        networks = f"{count} network{'s' if count != 1 else ''}"
        status = ", ".join(f"{n} {name}" for name, n in Counter(self.status).most_common())
        verdict = ", ".join(f"{n} {name}" for name, n in Counter(self.verdict).most_common())
        return (
            f"ConvergeResult({networks}: {status}; {verdict}; "
            f"{self.seconds:.1f} s{'; interrupted' if self.interrupted else ''})"
        )


def _where(known: list[bool], counts: torch.Tensor) -> pd.Series[Any]:
    """Counts as nullable integers, missing where unknown (or -1)."""
    import pandas as pd

    rows = zip(known, counts.tolist(), strict=True)
    return pd.Series([n if good and n >= 0 else None for good, n in rows], dtype="Int64")
