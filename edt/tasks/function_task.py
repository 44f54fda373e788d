"""`FunctionTask`: finite data under a loss of one's own."""

from __future__ import annotations

from typing import Any

import torch

from edt.ensemble import ModuleEnsemble
from edt.ensemble.arrays import as_tensor
from edt.ensemble.kinds import Networks, chains
from edt.errors import ShapeError
from edt.files import digest
from edt.objectives import ModuleObjective
from edt.objectives.function import FunctionObjective, SampleLoss
from edt.ops.checks import inputs_only
from edt.scalars import integer
from edt.tasks.module_task import ModuleTask

__all__ = ["FunctionTask"]


class FunctionTask:
    """``L_b = sum_n c_n l(f(x_n; theta_b), y_n)``, l a torch function.

    Training, minima, flows and curvature take it as they take an `edt.Task`, for chains and for
    networks of modules, in the networks' dtype and on their device. Chains go through the kernels;
    the function itself, and its derivatives in the outputs, are computed by autograd on the CPU.
    For modules it is called where they are.

    Args:
        x: ``[N, d_in]``, for modules ``[N, ...]``; kept in float64, see `to`.
        y: ``[N, ...]``, targets as the function takes them.
        loss: ``(outputs [N, d_out], y) -> [N]``, one number a sample that depends on nothing but
            the sample, twice differentiable. Where its second derivative is negative, Gauss-Newton
            matrices take 0 for it.
        weights: ``[N]``, positive; divided by their sum. None: alike.
        d_out: outputs of networks, for verbs that make networks of ``widths``; None: any.
        name: for tables and files; default the function's.

    Raises:
        TypeError, ValueError: an argument is wrong, or the function returns no such numbers.

    Example:
        >>> cauchy = lambda f, y: (1 + (f - y).square()).log().sum(1)
        >>> zeros = torch.zeros(4, 1, dtype=torch.float64)
        >>> FunctionTask(zeros, zeros, cauchy, name="cauchy")
        FunctionTask(4 samples, cauchy)
    """

    dtype = torch.float64
    device = torch.device("cpu")
    T = 1
    #: See `edt.tasks.given.moves`.
    moves = True

    def __init__(
        self,
        x: Any,
        y: Any,
        loss: SampleLoss,
        weights: Any = None,
        d_out: int | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(loss) or isinstance(loss, type):
            raise TypeError(f"loss must be a function (outputs, y) -> [N], got {loss!r:.60}")
        self.x, self.y = as_tensor("x", x).double().clone(), as_tensor("y", y).clone()
        if self.x.dim() < 2 or not len(self.x):
            raise ShapeError(f"x must have shape [N, d_in], got {list(self.x.shape)}")
        #: Number of samples.
        self.N = len(self.x)
        self.d_in = self.x.shape[1] if self.x.dim() == 2 else None
        if self.y.dim() < 1 or len(self.y) != self.N:
            raise ShapeError(f"y must have {self.N} rows like x, got {list(self.y.shape)}")
        given = torch.ones(self.N) if weights is None else as_tensor("weights", weights)
        if tuple(given.shape) != (self.N,) or not bool((given > 0).all()):
            raise ValueError(f"weights must be {self.N} positive numbers")
        self.coef = given.double() / given.double().sum()
        self.d_out = None if d_out is None else integer("d_out", d_out)
        self._loss = loss
        #: Name of the loss.
        self.loss = name or str(getattr(loss, "__qualname__", type(loss).__name__))

    def with_samples(self, x: Any, y: Any) -> FunctionTask:
        """The same task with other inputs and targets; loss and sample weights stay.

        Args:
            x, y: as of the constructor, with as many samples.

        Raises:
            TypeError, ValueError: as there, or other sizes.
        """
        out = FunctionTask(x, y, self._loss, None, self.d_out, self.loss)
        if out.x.shape != self.x.shape:
            raise ShapeError(
                f"x must have shape {list(self.x.shape)} like the task's, got {list(out.x.shape)}"
            )
        out.coef = self.coef
        return out.to(self.dtype, device=self.device)

    def objective(
        self, networks: Networks, task_index: torch.Tensor | None = None
    ) -> FunctionObjective | ModuleObjective:
        """The losses of these networks with their derivatives.

        Raises:
            ShapeError: the function returns no ``[N]``, or x is no ``[N, d_in]`` for chains.
        """
        if self.dtype != networks.dtype or self.device != networks.device:
            here = self.to(networks.dtype, device=networks.device)
            return here.objective(networks, task_index)
        if isinstance(networks, ModuleEnsemble):
            task = ModuleTask.of_samples(self.x, self.y, self.coef, self._loss, self.loss)
            return task.objective(networks, task_index)
        nets = chains(networks, "a FunctionTask")
        problem = inputs_only(nets, self.x)
        f = torch.zeros(self.N, nets.d_out, dtype=self.dtype)
        found = self._loss(f, self.y.cpu())
        if not isinstance(found, torch.Tensor) or tuple(found.shape) != (self.N,):
            given = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise ShapeError(f"loss must return a tensor [{self.N}], got {given}")
        return FunctionObjective(problem, self.y, self.coef, self._loss)

    def fingerprint(self) -> str:
        """Digest of the data with the name and the code of the loss."""
        code = getattr(getattr(self._loss, "__code__", None), "co_code", b"")
        bits = torch.tensor(list(code), dtype=torch.uint8)
        data = {"x": self.x, "y": self.y, "coef": self.coef, "code": bits}
        return f"{self.loss}/{digest(data)[:32]}"

    def to(self, dtype: torch.dtype | None = None, *, device: Any = None) -> FunctionTask:
        """The same in another dtype (inputs, weights, and targets that are floating) or elsewhere.

        Raises:
            ValueError: a dtype that is neither float64 nor float32.
        """
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
        dtype = dtype or self.dtype
        where = self.device if device is None else torch.device(device)
        if dtype == self.dtype and where == self.device:
            return self
        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        out.dtype = dtype
        out.x, out.coef = (part.to(dtype).to(where) for part in (self.x, self.coef))
        out.y = (self.y.to(dtype) if self.y.is_floating_point() else self.y).to(where)
        out.device = out.x.device
        return out

    def __repr__(self) -> str:
        return f"FunctionTask({self.N} samples, {self.loss})"
