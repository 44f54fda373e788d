"""`converge`: drive networks to critical points of their loss, and say which kind."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from edt.curvature.verdicts import verdict
from edt.ensemble import Ensemble
from edt.errors import unknown_choice
from edt.objectives import NormPenalty, Objective
from edt.ops.threads import one_blas_thread
from edt.scalars import flag, integer, number
from edt.training import checks
from edt.training.channels import CLOSE, opponents
from edt.training.checkpoint import digest
from edt.training.converge_result import ConvergeResult
from edt.training.descent import (
    CHANNEL,
    CONVERGED,
    DIVERGED,
    INTERRUPTED,
    MAX_STEPS,
    RUNNING,
    STALLED,
    STATUS,
    Descent,
    OutOfTime,
)
from edt.training.escape import Spectra, escape, measure
from edt.training.floor import loss_floor, zero_losses
from edt.training.groups import Checkpoint, cost_groups, in_groups
from edt.training.inputs import Inputs, ready
from edt.training.methods import METHODS, DescentPlan
from edt.training.progress import Meter
from edt.training.separable import separated_share
from edt.training.stationary import stationary
from edt.training.structure import fingerprint_structure

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
    polish: bool = True,
    escape_saddles: bool = True,
    maxnorm: Any = None,
    dense_limit: int = 2000,
    max_seconds: float | None = None,
    device: Any = "auto",
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: Any = "auto",
) -> ConvergeResult:
    """Drive every network to ``max|grad L_b| <= tol`` and classify where it stands.

    A first stage, then damped Newton on the exact Hessian ``H_b`` (`edt.training.newton`), then the
    eigenvalues of ``H_b``: with ``eps_H = 10 u P ||H||_2`` the verdict is "minimum" (all above
    eps_H), "flat" (none below -eps_H, some within) or "saddle"; the index counts those below.
    Where a logistic loss or cross-entropy has no minimum, as the hidden units separate samples, it
    is "separable" (`edt.training.separable`).
    Saddles are left and the search goes on. A squared error that may be on its way to zero is
    taken there by Levenberg-Marquardt on the Jacobian (`edt.training.levenberg`,
    `edt.training.excursions`). No network moves to a higher loss (beyond its rounding). A network's
    result does not depend on the others.

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
        polish: take squared errors below 1e-8 of the targets' size down the curved valleys of zero
            loss, to 1e-27 of that size, by excursions (`edt.training.excursions`). A network may
            end a distance of about 1 from where it was, always lower. False: it stops in the valley
            once ``max|grad| <= tol`` and the loss falls by less than a factor 10 in 20 iterations.
        escape_saddles: leave strict saddles along their most negative direction and go on. If
            False there is no first stage, and Newton goes to the nearest critical point, saddles
            included, by lowering ``|grad|``: start close to one.
        maxnorm: soft bound on ``|theta_b|^2 / (2 P_b)``, a number or ``[B]``, see
            `edt.objectives.NormPenalty`; loss, gradient and eigenvalues then include the penalty.
        dense_limit: see ``method``.
        max_seconds: stop after about this much wall-clock time.
        device: where losses, gradients, Hessians and products with them are computed: "cpu",
            "cuda", "cuda:1", or "auto", where the networks are. Eigensystems and the decisions of
            the optimisers are the CPU's either way, Jacobians too. Networks come back to where
            they were.
        progress: show a progress bar on a terminal.
        checkpoint: directory. The networks are then worked through in groups of bounded predicted
            cost, each group is written there when it is done, and an interrupted run loses the
            group in hand. Results are the same, bit for bit, in groups or not, interrupted or not.
        resume: "auto" (go on where groups of this very run are found), True (insist on some) or
            False (remove what is there).

    Returns:
        A `ConvergeResult`; after Ctrl-C with what is there.

    Raises:
        ValueError, TypeError: an argument is wrong; nothing has been done or written.
        CheckpointError: the checkpoint is unreadable or of another run.

    Example:
        >>> result = converge(task, masked_train(task, ens).networks)  # doctest: +SKIP
        >>> result.evidence(0)  # doctest: +SKIP

    Reference: J. Nocedal, S. Wright, "Numerical Optimization", 2006, chapters 4, 7 and 10;
    M. Transtrum, J. Sethna, arXiv 1201.5885.
    """
    inputs = ready("converge", task, networks, task_index, progress, device)
    if not isinstance(method, str) or method not in METHODS:
        raise unknown_choice("method", method, METHODS)
    tol = number("tol", tol, strict=True)
    lbfgs_steps = integer("lbfgs_steps", lbfgs_steps, 0)
    newton_steps = integer("newton_steps", newton_steps, 0)
    memory = integer("memory", memory, 1)
    limit = integer("dense_limit", dense_limit, 1)
    if max_seconds is not None:
        max_seconds = number("max_seconds", max_seconds)
    polish = flag("polish", polish)
    escape_saddles = flag("escape_saddles", escape_saddles)
    checks.resume_word(resume, checkpoint)
    bound: torch.Tensor | None = None
    if maxnorm is not None:
        bound = checks.per_network("maxnorm", maxnorm, inputs.networks.B)
        if bool((bound <= 0.0).any()):
            raise ValueError(f"maxnorm must be > 0, got {float(bound.min())}")
    coords = inputs.networks.coords.to(torch.int64)
    dense = torch.full((inputs.networks.B,), method != "cg")
    if method == "auto":
        dense = coords <= limit
    if not escape_saddles and not bool(dense.all()):
        big = int(coords.max())
        raise ValueError(
            f"escape_saddles=False forms Hessians: use a method other than 'cg', or raise "
            f"dense_limit ({limit}) above the largest network's {big} coordinates"
        )
    plan = DescentPlan(method, lbfgs_steps, newton_steps, memory, polish)
    work = Work(inputs, plan, tol, bound, dense, escape_saddles)
    if checkpoint is None:
        result = _run(work, max_seconds, progress)
    else:
        folder = Checkpoint(checkpoint, resume, work.specification())
        result = in_groups(
            folder, work.groups(), lambda chosen, left: _run(work.part(chosen), left, False),
            max_seconds, progress,
        )  # fmt: skip
    result.networks = result.networks.to(device=inputs.home)
    if result.interrupted and progress:
        hint = (
            f"the same call resumes from {os.fspath(checkpoint)}"
            if checkpoint is not None
            else "give checkpoint=DIR to be able to resume"
        )
        print(f"edt: stopped early, returning what is there; {hint}", file=sys.stderr)
    return result


@dataclass(frozen=True)
class Work:
    """What is to be done, checked.

    Attributes:
        inputs: networks and data.
        plan: stages and budgets.
        tol: bound on the gradient.
        maxnorm: float64 ``[B]`` or None.
        dense: bool ``[B]``, networks whose Hessians may be formed.
        escape_saddles: as in `converge`.
    """

    inputs: Inputs
    plan: DescentPlan
    tol: float
    maxnorm: torch.Tensor | None
    dense: torch.Tensor
    escape_saddles: bool

    def part(self, chosen: torch.Tensor) -> Work:
        """The same for some of the networks."""
        bound = None if self.maxnorm is None else self.maxnorm[chosen]
        return replace(
            self, inputs=self.inputs.select(chosen), maxnorm=bound, dense=self.dense[chosen]
        )

    def specification(self) -> dict[str, Any]:
        """What makes a run this one."""
        inputs, plan = self.inputs, self.plan
        numbers = {"task_index": inputs.task_index, "dense": self.dense}
        numbers |= {} if self.maxnorm is None else {"maxnorm": self.maxnorm}
        return {
            "task": inputs.fingerprint,
            "networks": fingerprint_structure(inputs.networks),
            "initial parameters": digest({"theta": inputs.networks.theta})[:32],
            "tol": repr(self.tol),
            "escape_saddles": self.escape_saddles,
            "numbers": digest(numbers)[:32],
            **asdict(plan),
        }

    def groups(self) -> list[torch.Tensor]:
        """Networks to be written down together."""
        samples = getattr(self.inputs.task, "N", 1000)
        return cost_groups(self.inputs.networks.coords, self.dense, int(samples))


@one_blas_thread()
def _run(work: Work, max_seconds: float | None, progress: bool) -> ConvergeResult:
    """`converge` without checkpoints."""
    inputs, plan, tol, dense = work.inputs, work.plan, work.tol, work.dense
    objective: Objective = inputs.objective
    if work.maxnorm is not None:
        objective = NormPenalty(objective, work.maxnorm)
    started = time.monotonic()
    state = Descent(objective, inputs.networks.theta, tol, max_seconds)
    spectra = Spectra.empty(state.B)
    interrupted = False
    with Meter(progress, "converge", state.B) as meter:
        everyone = torch.arange(state.B)
        measured = torch.zeros(state.B, dtype=torch.bool)
        try:
            state.refresh(everyone)
            going = everyone
            for round_ in range(ESCAPES + 1):
                if work.escape_saddles:
                    plan.run(state, going, dense, meter)
                else:
                    stationary(state, going, plan.newton_steps, meter)
                measure(state, going, spectra, dense)
                measured[going] = True
                ended = (state.status == CONVERGED) & (spectra.negative > 0)
                saddles = going[ended[going]]
                if not work.escape_saddles or round_ == ESCAPES or not saddles.numel():
                    break
                going = escape(state, saddles, dense)
                measured[going] = False
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
    return _result(work, state, spectra, interrupted, time.monotonic() - started)


def _result(
    work: Work, state: Descent, spectra: Spectra, interrupted: bool, seconds: float
) -> ConvergeResult:
    unknown = spectra.negative < 0
    spectra.zero[unknown] = -1
    for values in (spectra.lowest, spectra.highest, spectra.threshold):
        values[unknown] = float("nan")
    ended = work.inputs.networks.with_theta(state.theta)
    pairs = opponents(ended)
    unfinished = (state.status == STALLED) | (state.status == MAX_STEPS)
    state.status[unfinished & (pairs.closeness <= CLOSE)] = CHANNEL
    finite = torch.nonzero(torch.isfinite(state.loss)).flatten()
    floor = loss_floor(work.inputs.objective, state.theta, finite)
    # No index where rounding decides it: at loss 0 no direction leads down.
    zero_loss = zero_losses(work.inputs.objective, state.theta, state.loss, finite, floor)
    if work.maxnorm is None:
        flat = zero_loss & (spectra.negative > 0)
        spectra.zero[flat & (spectra.zero >= 0)] += spectra.negative[flat & (spectra.zero >= 0)]
        spectra.negative[flat] = 0
    # A bound on the norm gives every loss a minimum; a run that was cut has not ended anywhere.
    ends = finite if work.maxnorm is None else finite[:0]
    ends = ends[(state.status[ends] != INTERRUPTED) & (state.status[ends] != DIVERGED)]
    separated = separated_share(work.inputs.task, ended, work.inputs.task_index, ends)
    verdicts = []
    for b, code in enumerate(state.status.tolist()):
        negative, zero = int(spectra.negative[b]), int(spectra.zero[b])
        if zero < 0:
            # Eigenvalues by Lanczos: how many are flat is not known, whether any is, is.
            zero = int(float(spectra.lowest[b]) <= float(spectra.threshold[b]))
        known = code == CONVERGED and negative >= 0
        word = verdict(negative, zero) if known else "unconverged"
        verdicts.append("separable" if float(separated[b]) > 0.0 else word)
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
        task_index=work.inputs.task_index,
        pair=torch.stack([pairs.first, pairs.second], 1),
        closeness=pairs.closeness,
        moving=state.moving,
        loss_floor=floor,
        separated=separated,
        maxnorm=work.maxnorm,
        task=work.inputs.fingerprint,
        tol=state.tol,
        interrupted=interrupted,
        seconds=seconds,
    )
