"""`Task`: what networks learn. Inputs, targets, sample weights and a loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from edt.ensemble import Ensemble
from edt.ensemble.arrays import as_tensor, integers, reals
from edt.ensemble.checks import DTYPES, check_dtype
from edt.ensemble.structure import counted
from edt.errors import ShapeError, unknown_choice
from edt.files import digest
from edt.frames import card
from edt.objectives.core import CoreObjective
from edt.ops.checks import problem_of
from edt.ops.losses import LOSSES, smoothed
from edt.scalars import number

__all__ = ["LOSSES", "Task"]


class Task:
    """N samples with one or several targets, and the loss to minimise.

    The loss of a network with outputs ``f(x_n)`` is ``sum_n c_n l(f(x_n), y_n)`` with ``sum_n c_n =
    1`` (a weighted mean), where l is

    - "mse": ``sum_o (f_o - y_o)^2``, summed over outputs, without a factor 1/2;
    - "cross_entropy": ``log sum_k exp(f_k) - f_y``, y a class;
    - "soft_cross_entropy": ``log sum_k exp(f_k) - sum_k y_k f_k``, y shares that add up to 1;

    or a loss of each output, added over the outputs:

    - "bce": ``log(1 + exp(f)) - y f``, y in [0, 1] (binary cross-entropy with logits);
    - "logistic": ``log(1 + exp(-y f))``, y -1 or 1;
    - "squared_hinge": ``max(0, 1 - y f)^2``, y -1 or 1;
    - "huber": ``r^2 / 2`` where ``|r| <= 1``, else ``|r| - 1/2``, with ``r = f - y``.

    Where data can be separated, bce, logistic and cross-entropy have no minimum: the loss falls
    towards 0 as the weights grow without bound. `edt.converge` then has the verdict "separable".

    Several targets share N and the sizes; each network of an ensemble learns one of them, chosen
    by ``task_index``. The tensors given are copied.

    Args:
        x: inputs ``[N, d_in]``, or ``[T, N, d_in]`` when targets have inputs of their own.
        y: targets ``[N, d_out]`` or ``[T, N, d_out]`` in the dtype of x; cross-entropy: integer
            classes ``[N]`` or ``[T, N]``.
        loss: see above.
        weights: sample weights ``[N]`` or ``[T, N]``, >= 0, scaled to sum to 1 per target; default
            equal.
        n_classes: cross-entropy only: number of classes; default ``max(y) + 1``.
        label_smoothing: cross-entropy only: share in [0, 1) of each target that is spread evenly
            over all classes; above 0 the task's loss is "soft_cross_entropy".
        name: for tables and pictures.
        info: anything worth keeping with the data.

    Raises:
        TypeError: not tensors or arrays, or of a wrong dtype. ShapeError: sizes do not fit.
        ValueError: no samples, NaN or Inf, labels or weights out of range, unknown loss.

    Example:
        >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
        >>> Task(x, torch.sin(3 * x))
        Task(50 samples, 1 -> 1, mse, float64)
    """

    #: See `edt.tasks.given.moves`.
    moves = True

    def __init__(
        self,
        x: Any,
        y: Any,
        loss: str = "mse",
        weights: Any = None,
        name: str | None = None,
        *,
        n_classes: int | None = None,
        label_smoothing: float = 0.0,
        info: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(loss, str) or loss not in LOSSES:
            raise unknown_choice("loss", loss, tuple(LOSSES))
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        smooth = number("label_smoothing", label_smoothing)
        if smooth >= 1.0 or (smooth and loss != "cross_entropy"):
            raise ValueError(
                "label_smoothing must be in [0, 1) and needs loss='cross_entropy', got "
                f"{label_smoothing!r} with {loss}"
            )
        self.loss: str = loss
        self.name: str | None = name
        #: Anything the maker of the task kept with it.
        self.info: dict[str, Any] = dict(info or {})
        #: Inputs, ``[N, d_in]`` or ``[T, N, d_in]``.
        self.x: torch.Tensor = _inputs(x)
        if not LOSSES[loss].classes:
            if n_classes is not None:
                raise ValueError(
                    f"n_classes needs loss='cross_entropy', got {n_classes!r} with {loss}"
                )
            #: Targets, ``[N, d_out]`` or ``[T, N, d_out]``; classes ``[N]`` or ``[T, N]``.
            self.y: torch.Tensor = _targets(y, self.x, loss)
            #: Outputs a network must have.
            self.d_out: int = int(self.y.shape[-1])
        else:
            self.y, self.d_out = _classes(y, n_classes)
            if smooth:
                self.y = smoothed(self.y, self.d_out, smooth, self.x.dtype)
                self.loss = "soft_cross_entropy"
        if int(self.y.shape[self.y.dim() - LOSSES[self.loss].dims]) != self.N:
            raise ShapeError(
                f"y must have one entry per sample: x has shape {list(self.x.shape)}, "
                f"y {list(self.y.shape)}"
            )
        several = {int(t.shape[0]) for t, single in self._tensors() if t.dim() > single}
        if len(several) > 1:
            raise ShapeError(
                f"x and y must have the same number of targets T: x has shape "
                f"{list(self.x.shape)}, y {list(self.y.shape)}"
            )
        #: Number of targets.
        self.T: int = several.pop() if several else 1
        #: ``[T, N]``, sample weights scaled to sum to 1 per target, in the dtype of x.
        self.coef: torch.Tensor = self._coefficients(weights)
        self.x, self.y, self.coef = counted(self.x), counted(self.y), counted(self.coef)

    @property
    def N(self) -> int:
        """Number of samples."""
        return int(self.x.shape[-2])

    @property
    def d_in(self) -> int:
        """Number of inputs."""
        return int(self.x.shape[-1])

    @property
    def dtype(self) -> torch.dtype:
        """torch.float32 or torch.float64."""
        return self.x.dtype

    @property
    def variance(self) -> torch.Tensor:
        """float64 ``[T]``, weighted variance of y summed over outputs.

        For mse this is the loss of the best constant. For cross-entropy it is that of the one-hot
        targets, ``1 - sum_k p_k^2``.
        """
        coef = self.coef.to(torch.float64)[..., None]
        y = self.y
        if LOSSES[self.loss].classes:
            y = torch.nn.functional.one_hot(y, self.d_out)
        y = y.to(torch.float64)
        y = y.expand(self.T, self.N, self.d_out)
        centred = y - (coef * y).sum(1, keepdim=True)
        return (coef * centred * centred).sum((1, 2))

    def objective(
        self, networks: Ensemble, task_index: torch.Tensor | None = None
    ) -> CoreObjective:
        """The losses of these networks with their derivatives, `edt.objectives.Objective`.

        It is made of the data as they are now; after a change in place make another.

        Args:
            networks: B networks of the task's dtype, on its device; only their structure is used.
            task_index: int64 ``[B]``, which target each has; default the first.

        Raises:
            TypeError, ValueError: they do not fit; names what (`edt.errors.ShapeError` for shapes).
        """
        return CoreObjective(problem_of(networks, self, task_index))

    @property
    def numbers(self) -> int:
        """How many numbers one target's samples are."""
        return self.N * (self.d_in + self.d_out)

    def with_samples(self, x: Any, y: Any) -> Task:
        """The same task with other inputs and targets; loss and sample weights stay.

        Args:
            x, y: as of the constructor, with as many samples and targets.

        Raises:
            TypeError, ValueError: as there, or other sizes.
        """
        x, y = (
            part.to(self.dtype)
            if isinstance(part, torch.Tensor) and part.is_floating_point()
            else part
            for part in (x, y)
        )
        classes = self.d_out if LOSSES[self.loss].classes else None
        out = Task(x, y, self.loss, None, self.name, n_classes=classes, info=self.info)
        for size in ("N", "d_in", "d_out", "T"):
            mine, other = getattr(self, size), getattr(out, size)
            if mine != other:
                raise ShapeError(f"samples must have {size}={mine} like the task, got {other}")
        out.coef = self.coef
        return out

    @classmethod
    def joined(cls, parts: Sequence[tuple[Task, int]]) -> Task:
        """The task whose targets are those of others: for each pair, target t of a task.

        Args:
            parts: (task, t), tasks of one loss, size and dtype; at least one.
        """
        out = copy.copy(parts[0][0])
        out.x = counted(
            torch.stack([task.x if task.x.dim() == 2 else task.x[t] for task, t in parts])
        )
        single = LOSSES[out.loss].dims
        out.y = counted(
            torch.stack([task.y if task.y.dim() == single else task.y[t] for task, t in parts])
        )
        out.coef = counted(torch.stack([task.coef[t] for task, t in parts]))
        out.T = len(parts)
        return out

    def fingerprint(self) -> str:
        """Digest of inputs, targets, per-sample coefficients and loss: names the task in files."""
        return f"{self.loss}/{digest({'x': self.x, 'y': self.y, 'coef': self.coef})[:32]}"

    @property
    def device(self) -> torch.device:
        """Where x, y and coef lie."""
        return self.x.device

    def to(self, dtype: torch.dtype | None = None, *, device: Any = None) -> Task:
        """The same task in another dtype or on another device (itself if nothing changes)."""
        if device is not None and torch.empty(0, device=device).device != self.device:
            moved = copy.copy(self)
            moved.x, moved.y, moved.coef = (t.to(device) for t in (self.x, self.y, self.coef))
            return moved.to(dtype)
        dtype = self.dtype if dtype is None else dtype
        check_dtype(dtype)
        if dtype == self.dtype:
            return self
        if self.device.type != "cpu":
            return self.to(device="cpu").to(dtype).to(device=self.device)
        y = self.y if LOSSES[self.loss].classes else self.y.to(dtype)
        return Task(
            self.x.to(dtype),
            y,
            self.loss,
            self.coef.to(dtype),
            self.name,
            n_classes=self.d_out if LOSSES[self.loss].classes else None,
            info=self.info,
        )

    def _repr_html_(self) -> str:
        """What notebooks show: sizes, and how each target is spread."""
        variance = self.variance.tolist()
        return card(
            repr(self),
            [{"target": t, "samples": self.N, "inputs": self.d_in, "outputs": self.d_out,
              "variance": f"{value:.4g}"} for t, value in enumerate(variance)],
        )  # fmt: skip

    def __repr__(self) -> str:
        parts = [
            f"{self.N:,} sample{'s' if self.N > 1 else ''}",
            f"{self.d_in} -> {self.d_out}",
            self.loss,
            str(self.dtype).removeprefix("torch."),
        ]
        if self.T > 1:
            parts.insert(1, f"{self.T} targets")
        return f"Task({'' if self.name is None else self.name + ': '}{', '.join(parts)})"

    def _tensors(self) -> tuple[tuple[torch.Tensor, int], tuple[torch.Tensor, int]]:
        """x and y, each with the number of dimensions of a single target."""
        return (self.x, 2), (self.y, LOSSES[self.loss].dims)

    def _coefficients(self, weights: Any) -> torch.Tensor:
        if weights is None:
            return torch.full((self.T, self.N), 1.0 / self.N, dtype=self.dtype)
        given = _tensor("weights", weights, ("int", "float"))
        if tuple(given.shape) not in ((self.N,), (self.T, self.N)):
            raise ShapeError(
                f"weights must have shape [{self.N}] or [{self.T}, {self.N}], "
                f"got {list(given.shape)}"
            )
        given = given.to(torch.float64)
        _finite("weights", given)
        bad = torch.nonzero(given < 0.0)
        if bad.numel():
            at = bad[0].tolist()
            raise ValueError(f"weights{at} must be >= 0, got {float(given[tuple(at)])}")
        # The largest first: sums of subnormal or huge weights would not divide well.
        peak = given.amax(-1, keepdim=True)
        if bool((peak == 0.0).any()):
            raise ValueError("weights must have at least one entry > 0 per target, got all zero")
        scaled = given / peak
        scaled = scaled / scaled.sum(-1, keepdim=True)
        return scaled.expand(self.T, self.N).to(self.dtype).contiguous()


def _tensor(name: str, value: Any, kinds: tuple[Literal["int", "float"], ...]) -> torch.Tensor:
    """A tensor from a tensor, any array, or nested lists of numbers (those become float64)."""
    if isinstance(value, (list, tuple)):
        value = integers(name, value) if kinds == ("int",) else reals(name, value)
    given = as_tensor(name, value)
    if given.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU, got {given.device}; use {name}.cpu()")
    floating = given.dtype in DTYPES
    whole = not given.is_floating_point() and not given.is_complex() and given.dtype != torch.bool
    if not ((floating and "float" in kinds) or (whole and "int" in kinds)):
        wanted = {"int": "an integer dtype", "float": "dtype torch.float32 or torch.float64"}
        hint = ""
        if name == "y":
            hint = "; for class indices use loss='cross_entropy'" if whole else ""
            hint += ", for numbers y.double()" if whole else ""
            if kinds == ("int",):
                hint = " (class indices, not one-hot rows: y.argmax(1) makes them)"
        raise TypeError(
            f"{name} must have {' or '.join(wanted[k] for k in kinds)}, got {given.dtype}{hint}"
        )
    return given


def _finite(name: str, tensor: torch.Tensor) -> None:
    bad = torch.nonzero(~torch.isfinite(tensor))
    if bad.numel():
        at = bad[0].tolist()
        raise ValueError(
            f"{name} must be finite, got {float(tensor[tuple(at)])} at {at} "
            f"({bad.shape[0]} of {tensor.numel()} entries are NaN or Inf)"
        )


def _inputs(x: Any) -> torch.Tensor:
    out = _tensor("x", x, ("float",))
    if out.dim() not in (2, 3):
        column = "; x[:, None] makes a column of it" if out.dim() == 1 else ""
        raise ShapeError(
            f"x must have shape [N, d_in] or [T, N, d_in], got {list(out.shape)}{column}"
        )
    _nonempty("x", out)
    _finite("x", out)
    return out.clone(memory_format=torch.contiguous_format)


def _targets(y: Any, x: torch.Tensor, loss: str) -> torch.Tensor:
    out = _tensor("y", y, ("float",))
    if out.dim() not in (2, 3):
        column = "; y[:, None] makes a column of it" if out.dim() == 1 else ""
        raise ShapeError(
            f"y must have shape [N, d_out] or [T, N, d_out] for {loss}, got "
            f"{list(out.shape)}{column}"
        )
    if out.dtype != x.dtype:
        raise TypeError(f"y must have the dtype of x, {x.dtype}, got {out.dtype}")
    _nonempty("y", out)
    _finite("y", out)
    LOSSES[loss].check(out)
    return out.clone(memory_format=torch.contiguous_format)


def _classes(y: Any, n_classes: Any) -> tuple[torch.Tensor, int]:
    out = _tensor("y", y, ("int",))
    if out.dim() not in (1, 2):
        raise ShapeError(
            f"y must have shape [N] or [T, N] for cross_entropy (class indices), "
            f"got {list(out.shape)}"
        )
    _nonempty("y", out)
    out = out.to(torch.int64)
    if n_classes is None:
        count = int(out.max()) + 1
    elif isinstance(n_classes, bool) or not isinstance(n_classes, (int, np.integer)):
        raise TypeError(f"n_classes must be an integer >= 2, got {n_classes!r}")
    else:
        count = int(n_classes)
    bad = torch.nonzero((out < 0) | (out >= max(count, 1)))
    if bad.numel():
        at = bad[0].tolist()
        raise ValueError(
            f"y{at} must be a class in 0..{max(count, 1) - 1}, got {int(out[tuple(at)])}"
        )
    if count < 2:
        raise ValueError(
            f"n_classes must be >= 2, got {count}"
            + (" (the largest label + 1)" if n_classes is None else "")
        )
    return out.clone(memory_format=torch.contiguous_format), count


def _nonempty(name: str, tensor: torch.Tensor) -> None:
    if tensor.numel() == 0:
        raise ValueError(
            f"{name} must hold at least one sample, one feature and one target, "
            f"got shape {list(tensor.shape)}"
        )
