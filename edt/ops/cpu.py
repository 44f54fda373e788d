"""Calls of the compiled core on the CPU: the only module that hands it tensors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from edt import _core
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.cache import versions
from edt.ops.compiled import dataset, structure
from edt.ops.problem import Problem
from edt.ops.threads import set_core_threads
from edt.ops.training import Rule, Run, train_arguments

__all__ = ["CpuCalls", "activation"]


def _address(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else int(tensor.data_ptr())


def _named(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same with addresses in place of tensors."""
    return {k: v.data_ptr() if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}


@lru_cache(maxsize=64)
def _first_target(networks: int) -> torch.Tensor:
    """Zeros that nobody writes to, int64 ``[networks]``."""
    return torch.zeros(networks, dtype=torch.int64, device="cpu")  # whatever the default is


class CpuCalls:
    """See `edt.ops.calls.Calls`; tensors are contiguous and on the CPU."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        found = structure(problem)
        self._plan, self._data = found.plan, dataset(problem)
        self.coords, self.total = found.coords, int(found.plan.total)
        self.device = torch.device("cpu")
        index = problem.task_index
        if index is None:
            index = _first_target(problem.networks)
        elif index.shape != (problem.networks,) or index.dtype != torch.int64:
            raise ValueError(
                f"task_index must be int64 with shape [{problem.networks}], "
                f"got {index.dtype} with shape {list(index.shape)}"
            )
        self._index = index.contiguous()
        self._code = ACTIVATION_CODES[problem.activation]
        self._versions = versions(*problem.tensors)

    def _head(self, theta: torch.Tensor, active: torch.Tensor | None = None) -> tuple[Any, ...]:
        """First arguments of every call; sets the core's thread count."""
        if theta.shape != (self.total,) or theta.dtype != self.problem.x.dtype:
            raise ValueError(
                f"theta must be {self.problem.x.dtype} with shape [{self.total}], "
                f"got {theta.dtype} with shape {list(theta.shape)}"
            )
        self.problem.insist_on(self._versions)
        set_core_threads()
        return (
            self._plan,
            self._data,
            self._index.data_ptr(),
            self._code,
            theta.data_ptr(),
            _address(active),
        )

    def predict(
        self, theta: torch.Tensor, out: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Outputs; see `Calls`."""
        _core.predict(*self._head(theta, active), out.data_ptr())

    def vjp(
        self,
        theta: torch.Tensor,
        cotangent: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """``J^T u``; see `Calls`."""
        _core.vjp(*self._head(theta, active), cotangent.data_ptr(), out.data_ptr())

    def second_directional(
        self,
        theta: torch.Tensor,
        step: torch.Tensor,
        reach: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """The outputs' second derivative along a step, pulled back to the parameters.

        With ``f''_n`` the second derivative of the outputs along the step, by central differences
        of three evaluations (error O(h^2)), and ``A_n = d^2 l_n / df^2``:
        ``sum_n c_n J_n^T A_n f''_n``. No tensor of third derivatives, no Jacobian.

        Args:
            theta, step: flat.
            reach: ``[B]``, h: outputs are taken at ``theta +- h step``.
            out: flat; entries of other networks are left alone.
            active: uint8 ``[B]``.
        """
        head = self._head(theta, active)
        _core.second_directional(*head, step.data_ptr(), reach.data_ptr(), out.data_ptr())

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Calls`."""
        _core.loss(*self._head(theta, active), loss.data_ptr())

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Calls`."""
        _core.loss_and_grad(*self._head(theta, active), loss.data_ptr(), grad.data_ptr())

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors; see `Calls`."""
        count, total = vectors.shape
        if count > 0:
            _core.hvp(
                *self._head(theta, active), count, vectors.data_ptr(), out.data_ptr(), total, ggn
            )

    def matrices(self, theta: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """An empty buffer for `hessian`; see `Calls`."""
        out = theta.new_empty(int(offsets[-1]))
        _core.prepare_matrices(
            out.data_ptr(),
            out.element_size(),
            offsets.data_ptr(),
            self.coords.data_ptr(),
            self.coords.numel(),
        )
        return out

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Hessians; see `Calls`."""
        _core.hessian(*self._head(theta, active), out.data_ptr(), offsets.data_ptr(), ggn)

    def jacobian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        residual: bool = False,
    ) -> None:
        """Write ``[P_b, N * d_out]``, transposed Jacobians, at ``out[offsets[b]:]``.

        Args:
            residual: of ``sqrt(c_n) (f_n - y_n)`` instead of the outputs.
        """
        _core.prefer_huge_pages(out.data_ptr(), out.nbytes)
        _core.jacobian(*self._head(theta, active), out.data_ptr(), offsets.data_ptr(), residual)

    def lbfgs(
        self,
        theta: torch.Tensor,
        active: torch.Tensor,
        memory: int,
        iterations: int,
        tol: float,
        done: torch.Tensor,
        status: torch.Tensor,
        loss: torch.Tensor,
        grad_max: torch.Tensor,
    ) -> None:
        """L-BFGS inside the core; see `edt.objectives.CoreObjective.lbfgs`."""
        _core.lbfgs(
            *self._head(theta, active),
            int(memory),
            int(iterations),
            float(tol),
            done.data_ptr(),
            status.data_ptr(),
            loss.data_ptr(),
            grad_max.data_ptr(),
        )

    def newton(
        self, theta: torch.Tensor, active: torch.Tensor, rule: dict[str, Any], state: dict[str, Any]
    ) -> None:
        """Newton's method inside the core; see `edt.training.newton`. Tensors by name."""
        _core.newton(*self._head(theta, active), _named(rule), _named(state))

    def levenberg(
        self, theta: torch.Tensor, active: torch.Tensor, rule: dict[str, Any], state: dict[str, Any]
    ) -> None:
        """Levenberg-Marquardt inside the core; see `edt.training.levenberg`. Tensors by name."""
        _core.levenberg(*self._head(theta, active), _named(rule), _named(state))

    def excursions(
        self, theta: torch.Tensor, active: torch.Tensor, rule: dict[str, Any], state: dict[str, Any]
    ) -> None:
        """Excursions inside the core; see `edt.training.excursions`. Tensors by name."""
        _core.excursions(*self._head(theta, active), _named(rule), _named(state))

    def train(self, run: Run, rule: Rule, until: int) -> None:
        """First-order steps; see `Calls`."""
        arguments = train_arguments(run, rule, until, lambda t: t.data_ptr())
        _core.train(*self._head(run.theta), rule.hyper, arguments)

    def wait(self) -> None:
        """Calls here return finished."""


def activation(name: str, z: torch.Tensor, order: int) -> torch.Tensor:
    """The activation and its first ``order`` derivatives at ``z``, ``[order + 1, *z]``.

    Up to the second, and the third where the core was built with ``EDT_ISAS=all``.
    """
    z = z.contiguous()
    out = z.new_empty(order + 1, *z.shape)
    _core.activation(
        ACTIVATION_CODES[name],
        order,
        z.numel(),
        z.data_ptr(),
        out.data_ptr(),
        z.dtype == torch.float64,
    )
    return out
