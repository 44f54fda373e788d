"""`converge`: drive networks to critical points of their loss, and say which kind."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from edt.curvature.verdicts import verdict
from edt.ensemble import Ensemble
from edt.tasks import Task
from edt.training import checks
from edt.training.converge_result import ConvergeResult
from edt.training.descent import (
    CONVERGED,
    INTERRUPTED,
    RUNNING,
    STATUS,
    Descent,
    OutOfTime,
    lbfgs,
)
from edt.training.escape import Spectra, escape, measure
from edt.training.masked import as_task, check_fits
from edt.training.newton import newton
from edt.training.progress import Meter
from edt.training.structure import as_dtype

__all__ = ["ConvergeResult", "converge"]

#: Largest number of coordinates whose Hessian is formed and factorised.
DENSE_LIMIT = 4096
#: Gradient at which L-BFGS hands over: below it a few Newton steps are cheaper.
SWITCH = 1e-6
#: Saddles left in a row by one network before it is reported as a saddle.
ESCAPES = 5


def converge(
    task: Task | tuple[torch.Tensor, torch.Tensor],
    networks: Ensemble,
    *,
    task_index: Any = None,
    tol: float = 1e-10,
    lbfgs_steps: int = 2000,
    newton_steps: int = 200,
    memory: int = 20,
    escape_saddles: bool = True,
    max_seconds: float | None = None,
    progress: bool = True,
) -> ConvergeResult:
    """Drive every network to ``max|grad L_b| <= tol`` and classify where it stands.

    L-BFGS in the kernel, then trust-region Newton on the exact Hessian ``H_b``, then the
    eigenvalues of ``H_b``: with ``eps_H = 10 u P ||H||_2`` the verdict is "minimum" (all above
    eps_H), "flat" (none below -eps_H, some within) or "saddle"; the index counts those below. The
    loss never rises beyond its rounding. A network's result does not depend on the others.

    Args:
        task: an `edt.Task`, or ``(x, y)``.
        networks: starting points (not modified); float32 ones are converted to float64.
        task_index: int64 ``[B]``, default 0.
        tol: bound on ``max|grad|``.
        lbfgs_steps, newton_steps: iterations of each stage a network may take (again after each
            saddle it leaves).
        memory: pairs kept by L-BFGS.
        escape_saddles: leave strict saddles along their most negative direction and go on. If
            False there is no L-BFGS stage, and Newton goes to the nearest critical point, saddles
            included, by lowering ``|grad|``: start close to one.
        max_seconds: stop after about this much wall-clock time.
        progress: show a progress bar on a terminal.

    Returns:
        A `ConvergeResult`; after Ctrl-C with what is there.

    Raises:
        ValueError, TypeError: an argument is wrong, or a network has more than 4096 coordinates.

    Example:
        >>> result = converge(task, masked_train(task, ens).networks)  # doctest: +SKIP

    Reference: J. Nocedal, S. Wright, "Numerical Optimization", 2006, chapters 4 and 7.
    """
    data = as_task(task)
    if not isinstance(networks, Ensemble):
        raise TypeError(f"networks must be an edt.Ensemble, got {type(networks).__name__}")
    data = check_fits(data, networks)
    tol = checks.number("tol", tol, strict=True)
    lbfgs_steps = checks.whole("lbfgs_steps", lbfgs_steps, 0)
    newton_steps = checks.whole("newton_steps", newton_steps, 0)
    memory = checks.whole("memory", memory, 1)
    index = checks.index_per_network("task_index", task_index, int(networks.B), data.T)
    if max_seconds is not None:
        max_seconds = checks.number("max_seconds", max_seconds)
    big = int(networks.coords.max())
    if big > DENSE_LIMIT:
        raise ValueError(
            f"converge forms exact Hessians of up to {DENSE_LIMIT} coordinates, a network has {big}"
        )
    if networks.dtype != torch.float64:
        if progress:
            print("edt: converge works in float64; the networks are converted", file=sys.stderr)
        networks = as_dtype(networks, torch.float64)
        data = data.to(torch.float64)
    started = time.monotonic()
    state = Descent(networks, data, index, tol, max_seconds)
    spectra = Spectra.empty(state.B)
    interrupted = False
    with Meter(progress, "converge", state.B) as meter:
        everyone = torch.arange(state.B)
        measured = torch.zeros(state.B, dtype=torch.bool)
        try:
            state.refresh(everyone)
            work = everyone
            for round_ in range(ESCAPES + 1):
                if escape_saddles:
                    # With no Newton to hand over to, L-BFGS goes all the way itself.
                    switch = max(SWITCH, tol) if newton_steps else tol
                    lbfgs(state, work, memory, lbfgs_steps, switch, meter)
                newton(state, work, newton_steps, not escape_saddles, meter)
                measure(state, work, spectra)
                measured[work] = True
                ended = (state.status == CONVERGED) & (spectra.negative > 0)
                saddles = work[ended[work]]
                if not escape_saddles or round_ == ESCAPES or not saddles.numel():
                    break
                work = escape(state, saddles)
                measured[work] = False
        except (KeyboardInterrupt, OutOfTime) as stop:
            interrupted = True
            state.refresh(everyone)
            closed = (state.status == RUNNING) & (state.grad_max <= tol)
            state.status[closed] = CONVERGED
            state.status[state.status == RUNNING] = INTERRUPTED
            if isinstance(stop, OutOfTime):
                measure(state, everyone[closed & ~measured], spectra)
                measured |= closed
            spectra.negative[~measured] = -1
    if interrupted and progress:
        print("edt: stopped early, returning what is there", file=sys.stderr)
    return _result(networks, state, spectra, index, interrupted, time.monotonic() - started)


def _result(
    networks: Ensemble,
    state: Descent,
    spectra: Spectra,
    index: torch.Tensor,
    interrupted: bool,
    seconds: float,
) -> ConvergeResult:
    unknown = spectra.negative < 0
    spectra.zero[unknown] = -1
    spectra.lowest[unknown] = float("nan")
    spectra.threshold[unknown] = float("nan")
    verdicts = [
        verdict(negative, zero) if code == CONVERGED and negative >= 0 else "unconverged"
        for code, negative, zero in zip(
            state.status.tolist(), spectra.negative.tolist(), spectra.zero.tolist(), strict=True
        )
    ]
    return ConvergeResult(
        networks=networks.with_theta(state.theta),
        loss=state.loss,
        grad_max=state.grad_max,
        status=[STATUS[code] for code in state.status.tolist()],
        verdict=verdicts,
        index=spectra.negative,
        n_flat=spectra.zero,
        min_eig=spectra.lowest,
        eps_H=spectra.threshold,
        lbfgs_iterations=state.lbfgs_iterations,
        newton_iterations=state.newton_iterations,
        task_index=index,
        interrupted=interrupted,
        seconds=seconds,
    )
