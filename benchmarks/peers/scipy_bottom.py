"""scipy, one network after another: gradient flow by LSODA, then `minimize(method="trust-exact")`.

Gradients and Hessians are written out in PyTorch (no autograd), for one hidden tanh layer and one
output; nothing is formed twice at the same point.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from edt import Ensemble, Task

Array = npt.NDArray[np.float64]
#: Time to which the flow is followed. Later hand-over costs more: LSODA's steps are the dear part.
TIME = 100.0
TOL = 1e-10


class Pipeline:
    """Drives networks of one width to a critical point.

    Args:
        ens: networks 'd_in -> width -> 1', biases, tanh, nothing pruned.
        task: N samples, one output.
    """

    def __init__(self, ens: Ensemble, task: Task) -> None:
        self._ens = ens
        self._x, self._y = task.x, task.y[:, 0]
        self._ones = torch.cat([task.x, torch.ones(len(task.x), 1, dtype=torch.float64)], 1)
        self._width, self._inputs = int(ens.layer_widths[0, 1]), int(task.x.shape[1])

    def run(self, count: int) -> list[float]:
        """``max|grad|`` at the end of each of the first networks."""
        return [self._bottom(self._ens.network(b).theta.numpy()) for b in range(count)]

    def _bottom(self, start: Array) -> float:
        flow = solve_ivp(
            lambda _, theta: -self.gradient(theta),
            (0.0, TIME),
            start,
            method="LSODA",
            jac=lambda _, theta: -self.hessian(theta),
            rtol=1e-3,
            atol=1e-6,
        )
        found = minimize(
            self._loss,
            flow.y[:, -1],
            method="trust-exact",
            jac=self.gradient,
            hess=self.hessian,
            options={"gtol": TOL, "maxiter": 2000},
        )
        return float(np.abs(self.gradient(found.x)).max())

    def _parts(self, theta: Array) -> tuple[torch.Tensor, ...]:
        flat, m = torch.from_numpy(np.asarray(theta)), self._width
        w, b, v, c = torch.split(flat, [m * self._inputs, m, m, 1])
        s = torch.tanh(self._x @ w.view(m, self._inputs).T + b)
        return v, s, s @ v + c - self._y

    def _loss(self, theta: Array) -> float:
        miss = self._parts(theta)[2]
        return float((miss * miss).mean())

    def _jacobian(self, v: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        slope = (1.0 - s * s) * v
        inner = (slope[:, :, None] * self._x[:, None, :]).flatten(1)
        return torch.cat([inner, slope, s, torch.ones(len(s), 1, dtype=torch.float64)], 1)

    def gradient(self, theta: Array) -> Array:
        """``[P]``."""
        v, s, miss = self._parts(theta)
        out: Array = (2.0 / len(s) * (self._jacobian(v, s).T @ miss)).numpy()
        return out

    def hessian(self, theta: Array) -> Array:
        """``[P, P]``."""
        v, s, miss = self._parts(theta)
        jacobian, m, d = self._jacobian(v, s), self._width, self._inputs
        out = jacobian.T @ jacobian
        slope = 1.0 - s * s
        bend = miss[:, None] * -2.0 * s * slope * v
        first = (miss[:, None] * slope).T @ self._ones
        for i in range(m):
            block = self._ones.T @ (bend[:, i, None] * self._ones)
            at = torch.tensor([*range(i * d, (i + 1) * d), m * d + i])
            out[at[:, None], at] += block
            out[at, m * d + m + i] += first[i]
            out[m * d + m + i, at] += first[i]
        answer: Array = (2.0 / len(s) * out).numpy()
        return answer
