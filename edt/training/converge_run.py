"""`converge`: drive networks to critical points of their loss, and say which kind."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from edt.curvature.verdicts import verdict
from edt.ensemble import Ensemble
from edt.errors import unknown_choice
from edt.objectives import NormPenalty, Objective
from edt.training import checks
from edt.training.channels import CLOSE, opponents
from edt.training.converge_result import ConvergeResult
from edt.training.descent import (
    CHANNEL,
    CONVERGED,
    INTERRUPTED,
    MAX_STEPS,
    RUNNING,
    STALLED,
    STATUS,
    Descent,
    OutOfTime,
)
from edt.training.escape import Spectra, escape, measure
from edt.training.inputs import ready
from edt.training.plan import METHODS, Plan
from edt.training.progress import Meter
from edt.training.stationary import stationary

__all__ = ["METHODS", "ConvergeResult", "converge"]

#: Saddles left in a row by one network before it is reported as a saddle.
ESCAPES = 5


def converge(
    task: Any,
    networks: Ensemble,
    *,
    task_index: Any = None,
    tol: float = 1e-10,
    method: str = "auto",
    lbfgs_steps: int = 2000,
    newton_steps: int = 1000,
    memory: int = 20,
    polish: bool = False,
    escape_saddles: bool = True,
    maxnorm: Any = None,
    dense_limit: int = 2000,
    max_seconds: float | None = None,
    progress: bool = True,
) -> ConvergeResult:
    """Drive every network to ``max|grad L_b| <= tol`` and classify where it stands.

    A first stage, then damped Newton on the exact Hessian ``H_b`` (`edt.training.newton`), then the
    eigenvalues of ``H_b``: with ``eps_H = 10 u P ||H||_2`` the verdict is "minimum" (all above
    eps_H), "flat" (none below -eps_H, some within) or "saddle"; the index counts those below.
    Saddles are left and the search goes on. A squared error that may be on its way to zero is
    taken there by Levenberg-Marquardt on the Jacobian (`edt.training.levenberg`). No step is taken
    that raises the loss (beyond its rounding). A network's result does not depend on the others.

    ==============  =========================================================================
    method          what runs
    ==============  =========================================================================
    lbfgs+newton    L-BFGS to ``max|grad|`` 1e-6 or ``lbfgs_steps``, then Newton
    newton          Newton from the start
    lm              Levenberg-Marquardt to 1e-6, then Newton. The fastest where zero loss is
                    possible (mse; other losses: with their Gauss-Newton matrix)
    cg              L-BFGS, then truncated Newton by conjugate gradients; eigenvalues by Lanczos.
                    No Hessian is formed
    auto            "lbfgs+newton" up to ``dense_limit`` coordinates, "cg" above
    ==============  =========================================================================

    Args:
        task: an `edt.Task`, ``(x, y)``, or a task over infinite data (`edt.population`).
        networks: starting points (not modified); float32 ones are converted to float64.
        task_index: int64 ``[B]``, default 0.
        tol: bound on ``max|grad|``; down to about 1e-14 where rounding allows.
        method: see above.
        lbfgs_steps, newton_steps: iterations of L-BFGS, and of Levenberg-Marquardt and Newton, a
            network may take (again after each saddle it leaves).
        memory: pairs kept by L-BFGS.
        polish: a wide network near zero loss moves on a valley that goes on downwards ever more
            slowly. By default it stops there once ``max|grad| <= tol`` and the loss falls by less
            than a factor 10 in 20 iterations; with ``polish=True`` it goes on to 1e-27 of the
            targets' size, or until ``newton_steps`` are spent.
        escape_saddles: leave strict saddles along their most negative direction and go on. If
            False there is no first stage, and Newton goes to the nearest critical point, saddles
            included, by lowering ``|grad|``: start close to one.
        maxnorm: soft bound on ``|theta_b|^2 / (2 P_b)``, a number or ``[B]``, see
            `edt.objectives.NormPenalty`; loss, gradient and eigenvalues then include the penalty.
        dense_limit: see ``method``.
        max_seconds: stop after about this much wall-clock time.
        progress: show a progress bar on a terminal.

    Returns:
        A `ConvergeResult`; after Ctrl-C with what is there.

    Raises:
        ValueError, TypeError: an argument is wrong.

    Example:
        >>> result = converge(task, masked_train(task, ens).networks)  # doctest: +SKIP
        >>> result.evidence(0)  # doctest: +SKIP

    Reference: J. Nocedal, S. Wright, "Numerical Optimization", 2006, chapters 4, 7 and 10;
    M. Transtrum, J. Sethna, arXiv 1201.5885.
    """
    inputs = ready("converge", task, networks, task_index, progress)
    if not isinstance(method, str) or method not in METHODS:
        raise unknown_choice("method", method, METHODS)
    tol = checks.number("tol", tol, strict=True)
    lbfgs_steps = checks.whole("lbfgs_steps", lbfgs_steps, 0)
    newton_steps = checks.whole("newton_steps", newton_steps, 0)
    memory = checks.whole("memory", memory, 1)
    limit = checks.whole("dense_limit", dense_limit, 1)
    if max_seconds is not None:
        max_seconds = checks.number("max_seconds", max_seconds)
    objective: Objective = inputs.objective
    if maxnorm is not None:
        bound = checks.per_network("maxnorm", maxnorm, objective.B)
        if bool((bound <= 0.0).any()):
            raise ValueError(f"maxnorm must be > 0, got {float(bound.min())}")
        objective = NormPenalty(objective, bound)
    dense = torch.full((objective.B,), method != "cg")
    if method == "auto":
        dense = objective.coords <= limit
    if not escape_saddles and not bool(dense.all()):
        big = int(objective.coords.max())
        raise ValueError(
            f"escape_saddles=False forms Hessians: use a method other than 'cg', or raise "
            f"dense_limit ({limit}) above the largest network's {big} coordinates"
        )
    started = time.monotonic()
    state = Descent(objective, inputs.networks.theta, tol, max_seconds)
    plan = Plan(method, lbfgs_steps, newton_steps, memory, bool(polish))
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
                    plan.run(state, work, dense, meter)
                else:
                    stationary(state, work, newton_steps, meter)
                measure(state, work, spectra, dense)
                measured[work] = True
                ended = (state.status == CONVERGED) & (spectra.negative > 0)
                saddles = work[ended[work]]
                if not escape_saddles or round_ == ESCAPES or not saddles.numel():
                    break
                work = escape(state, saddles, dense)
                measured[work] = False
        except (KeyboardInterrupt, OutOfTime) as stop:
            interrupted = True
            state.refresh(everyone)
            closed = (state.status == RUNNING) & (state.grad_max <= tol)
            state.status[closed] = CONVERGED
            state.status[state.status == RUNNING] = INTERRUPTED
            if isinstance(stop, OutOfTime):
                measure(state, everyone[closed & ~measured], spectra, dense)
                measured |= closed
            spectra.negative[~measured] = -1
    if interrupted and progress:
        print("edt: stopped early, returning what is there", file=sys.stderr)
    seconds = time.monotonic() - started
    return _result(inputs.networks, state, spectra, inputs.task_index, interrupted, seconds)


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
    for values in (spectra.lowest, spectra.highest, spectra.threshold):
        values[unknown] = float("nan")
    ended = networks.with_theta(state.theta)
    pairs = opponents(ended)
    unfinished = (state.status == STALLED) | (state.status == MAX_STEPS)
    state.status[unfinished & (pairs.closeness <= CLOSE)] = CHANNEL
    verdicts = []
    for b, code in enumerate(state.status.tolist()):
        negative, zero = int(spectra.negative[b]), int(spectra.zero[b])
        if zero < 0:
            # Eigenvalues by Lanczos: how many are flat is not known, whether any is, is.
            zero = int(float(spectra.lowest[b]) <= float(spectra.threshold[b]))
        known = code == CONVERGED and negative >= 0
        verdicts.append(verdict(negative, zero) if known else "unconverged")
    return ConvergeResult(
        networks=ended,
        loss=state.loss,
        grad_max=state.grad_max,
        status=[STATUS[code] for code in state.status.tolist()],
        verdict=verdicts,
        index=spectra.negative,
        n_flat=spectra.zero,
        min_eig=spectra.lowest,
        max_eig=spectra.highest,
        eps_H=spectra.threshold,
        lbfgs_iterations=state.lbfgs_iterations,
        newton_iterations=state.newton_iterations,
        task_index=index,
        pair=torch.stack([pairs.first, pairs.second], 1),
        closeness=pairs.closeness,
        tol=state.tol,
        interrupted=interrupted,
        seconds=seconds,
    )
