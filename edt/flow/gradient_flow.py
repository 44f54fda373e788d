"""`gradient_flow`: follow the gradient flow of every network of an ensemble, accurately."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edt.ensemble import Ensemble
from edt.ensemble.arrays import plain, reals
from edt.errors import ShapeError, unknown_choice
from edt.flow.events import Limits
from edt.flow.result import FlowResult
from edt.flow.run import Settings, restore, run, start
from edt.flow.state import RUNNING, STATUS, State
from edt.flow.step import Dynamics, Tolerance
from edt.objectives import NormPenalty, Objective
from edt.objectives.noise import loss_noise
from edt.scalars import flag, integer, number
from edt.training import checks
from edt.training.checkpoint import CheckpointError, checkpoint_folder, digest, make_writable
from edt.training.history import Record
from edt.training.inputs import ready
from edt.training.structure import fingerprint_structure

__all__ = ["METHODS", "gradient_flow"]

METHODS = ("auto", "rosenbrock", "chebyshev")
CHECKPOINT_NAME = "flow.safetensors"
#: First of the log-spaced times, and their number per factor of ten.
FIRST_TIME, PER_DECADE = 1e-3, 8


def gradient_flow(
    task: Any,
    networks: Ensemble,
    *,
    max_time: float = 1e6,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    tol: float = 1e-10,
    loss_target: float | None = None,
    norm_limit: float | None = None,
    time_scales: torch.Tensor | None = None,
    maxnorm: Any = None,
    method: str = "auto",
    dense_limit: int = 1500,
    max_steps: int = 100_000,
    record: Any = "log",
    record_params: bool = False,
    task_index: Any = None,
    max_seconds: float | None = None,
    device: Any = "auto",
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    resume: Any = "auto",
) -> FlowResult:
    """Integrate ``d theta_i / dt = -(1 / tau_i) dL_b / d theta_i`` for every network b.

    Each network has its own adaptive steps, with the error of a step held below
    ``atol + rtol |theta_i|`` (root mean square over its coordinates). "rosenbrock" is RODAS5P, of
    order 5 and L-stable, with the exact Hessian as Jacobian: its steps are bounded by accuracy
    only, hence grow like the time itself as the flow slows down. "chebyshev" is RKC2, explicit, of
    order 2, with as many stages as the largest curvature asks for; it needs gradients and a few
    Hessian-vector products, for networks whose Hessian is too large. The loss never rises. A
    network's result does not depend on the others, on threads or on interruptions, bit for bit.

    Args:
        task: an `edt.Task`, ``(x, y)``, or a task over infinite data (`edt.population`).
        networks: where to start (not modified); float32 ones are converted to float64.
        max_time: end of every flow, > 0.
        rtol, atol: tolerances, > 0.
        tol: end a flow when ``max|grad| <= tol``, at the end of a step.
        loss_target: end a flow when its loss falls to this; the time is located in the step.
        norm_limit: end a flow when ``|theta_b|`` reaches this; likewise.
        time_scales: tau, float64 flat ``[total]`` > 0; None for 1.
        maxnorm: soft bound on ``|theta_b|^2 / (2 P_b)``, a number or ``[B]``, see
            `edt.objectives.NormPenalty`; the loss then includes the penalty.
        method: "rosenbrock", "chebyshev" or "auto" (rosenbrock up to ``dense_limit`` coordinates).
        dense_limit: see ``method``.
        max_steps: accepted steps a network may take.
        record: "log" (0, then 8 times a decade from 1e-3 to ``max_time``), ascending times, or
            None. Between steps the methods' own interpolants are used, of order 4 and 3.
        record_params: also keep the parameters at the recorded times.
        task_index: int64 ``[B]``, default 0.
        max_seconds: stop after about this much wall-clock time.
        device: where losses, gradients, Hessians and products with them are computed: "cpu",
            "cuda", "cuda:1", or "auto", where the networks are. Stages and factorisations are the
            CPU's either way. Networks come back to where they were.
        progress: show a progress bar on a terminal.
        checkpoint: directory for a checkpoint every ``checkpoint_every`` seconds, at the end and
            at Ctrl-C.
        resume: "auto" (go on where a checkpoint of this very run is found), True (insist on one)
            or False (overwrite).

    Returns:
        A `FlowResult`; after Ctrl-C with what is there.

    Raises:
        TypeError, ValueError: an argument is wrong; nothing has been done or written.
        CheckpointError: the checkpoint is unreadable or of another run.

    Example:
        >>> flow = gradient_flow(task, networks, max_time=1e4)  # doctest: +SKIP
        >>> flow.history["loss"].plot.line(x="time", xscale="log")  # doctest: +SKIP

    Reference: G. Steinebach, BIT 63 (2023) (RODAS5P); B. Sommeijer, L. Shampine, J. Verwer,
    J. Comput. Appl. Math. 88 (1998) (RKC2); J. Brea et al., arXiv 2301.10638 (gradient flow of
    multilayer perceptrons).
    """
    inputs = ready("gradient_flow", task, networks, task_index, progress, device)
    if not isinstance(method, str) or method not in METHODS:
        raise unknown_choice("method", method, METHODS)
    end = number("max_time", max_time, strict=True)
    tolerance = Tolerance(number("rtol", rtol, strict=True), number("atol", atol, strict=True))
    limit = integer("dense_limit", dense_limit, 0)
    times = _times(record, end)
    rates = _rates(time_scales, inputs.networks)
    bound = None if maxnorm is None else checks.per_network("maxnorm", maxnorm, inputs.networks.B)
    if bound is not None and bool((bound <= 0.0).any()):
        raise ValueError(f"maxnorm must be > 0, got {float(bound.min())}")
    objective: Objective = inputs.objective
    if bound is not None:
        objective = NormPenalty(objective, bound)
    limits = Limits(
        times=times,
        max_time=end,
        max_steps=integer("max_steps", max_steps, 0),
        tol=number("tol", tol),
        loss_target=(-float("inf") if loss_target is None else number("loss_target", loss_target)),
        norm_limit=(
            float("inf") if norm_limit is None else number("norm_limit", norm_limit, strict=True)
        ),
        noise=lambda loss, chosen: loss_noise(loss, objective.scale[chosen]),
    )
    if max_seconds is not None:
        max_seconds = number("max_seconds", max_seconds)
    every = number("checkpoint_every", checkpoint_every)
    checks.resume_word(resume, checkpoint)
    file = None if checkpoint is None else checkpoint_folder(checkpoint) / CHECKPOINT_NAME
    record_params = flag("record_params", record_params)
    implicit = (
        inputs.networks.coords <= limit
        if method == "auto"
        else torch.full((inputs.networks.B,), method == "rosenbrock")
    )
    numbers = {"task_index": inputs.task_index, "times": times, "implicit": implicit}
    numbers |= {} if rates is None else {"rates": rates}
    numbers |= {} if bound is None else {"maxnorm": bound}
    settings = Settings(
        dynamics=Dynamics(objective, rates),
        tolerance=tolerance,
        limits=limits,
        implicit=implicit,
        specification={
            "task": inputs.fingerprint,
            "networks": fingerprint_structure(inputs.networks),
            "initial parameters": digest({"theta": inputs.networks.theta})[:32],
            "max_time": repr(end),
            "rtol, atol": f"{tolerance.rtol!r}, {tolerance.atol!r}",
            "tol": repr(limits.tol),
            "loss_target": repr(limits.loss_target),
            "norm_limit": repr(limits.norm_limit),
            "max_steps": limits.max_steps,
            "record_params": record_params,
            "numbers": digest(numbers)[:32],
        },
        max_seconds=max_seconds,
        checkpoint_file=file,
        checkpoint_every=every,
        progress=bool(progress),
    )
    state = State.start(objective, inputs.networks.theta, times.numel(), record_params)
    if file is not None and resume is True and not file.is_file():
        raise CheckpointError(f"{file}: no checkpoint to resume from (resume=True)")
    resuming = file is not None and bool(resume) and file.is_file()
    if file is not None and resuming:
        state = restore(file, state, settings.specification)
    if file is not None:
        make_writable(file.parent, file.name)
    if not resuming:
        state = start(state, settings)
    state, interrupted, seconds = run(state, settings)
    if interrupted and progress:
        hint = (
            f"the same call resumes from {file}"
            if file
            else "give checkpoint=DIR to be able to resume"
        )
        print(f"edt: stopped early, returning what is there; {hint}", file=sys.stderr)
    result = _result(inputs.networks, state, settings, inputs.task_index, interrupted, seconds)
    result.networks = result.networks.to(device=inputs.home)
    return result


def _times(record: Any, end: float) -> torch.Tensor:
    """Times to record, float64 ``[R]`` ascending."""
    if record is None:
        return torch.zeros(0, dtype=torch.float64)
    if isinstance(record, str):
        if record != "log":
            raise ValueError(f"record must be 'log', a sequence of times or None, got {record!r}")
        count = max(int(np.floor(np.log10(end / FIRST_TIME) * PER_DECADE + 1e-9)) + 1, 0)
        grid = FIRST_TIME * 10.0 ** (np.arange(count) / PER_DECADE)
        grid = grid[grid < end * (1.0 - 1e-9)]
        return torch.from_numpy(np.concatenate([[0.0], grid, [end]]))
    if isinstance(record, bool) or not isinstance(
        plain("record", record), (Sequence, np.ndarray, torch.Tensor)
    ):
        raise TypeError(
            f"record must be 'log', a sequence of times or None, got {type(record).__name__}"
        )
    times = reals("record", record).flatten().clone()
    bad = torch.nonzero(~((times >= 0.0) & (times <= end))).flatten()
    if bad.numel():
        raise ValueError(
            f"record holds time {float(times[bad[0]])}, allowed are 0..{end:g} (max_time)"
        )
    if bool((times[1:] <= times[:-1]).any()):
        raise ValueError("record must hold ascending, distinct times")
    return times


def _rates(time_scales: Any, ens: Ensemble) -> torch.Tensor | None:
    """``1 / tau``, flat, or None."""
    if time_scales is None:
        return None
    if not isinstance(time_scales, torch.Tensor):
        raise TypeError(f"time_scales must be a torch.Tensor, got {type(time_scales).__name__}")
    if tuple(time_scales.shape) != (ens.total,):
        raise ShapeError(
            f"time_scales must have shape [{ens.total}] (one per parameter), "
            f"got {list(time_scales.shape)}"
        )
    scales = time_scales.detach().to("cpu", torch.float64).clone()
    bad = torch.nonzero(~(torch.isfinite(scales) & (scales > 0.0))).flatten()
    if bad.numel():
        k = int(bad[0])
        raise ValueError(
            f"time_scales[{k}] must be a finite number > 0, got {float(scales[k])}; freeze a "
            "parameter (Ensemble.with_frozen) to keep it where it is"
        )
    return 1.0 / scales


def _result(
    networks: Ensemble,
    state: State,
    settings: Settings,
    task_index: torch.Tensor,
    interrupted: bool,
    seconds: float,
) -> FlowResult:
    # An interrupted sweep may have recorded more than its networks have reached.
    rows = torch.arange(state.history_loss.shape[0])[:, None]
    later = rows >= state.next_record
    loss = state.history_loss.masked_fill(later, float("nan"))
    grad = state.history_grad.masked_fill(later, float("nan"))
    params = None
    if state.history_params.numel():
        lengths = networks.offsets[1:] - networks.offsets[:-1]
        wide = torch.repeat_interleave(later, lengths, dim=1)
        params = state.history_params.masked_fill(wide, float("nan"))
    return FlowResult(
        networks=networks.with_theta(state.theta),
        loss=state.loss,
        grad_max=state.grad_max,
        time=state.time,
        status=[
            "interrupted" if code == RUNNING else STATUS[code] for code in state.status.tolist()
        ],
        method=["rosenbrock" if kind else "chebyshev" for kind in settings.implicit.tolist()],
        steps=state.steps,
        refusals=state.refusals,
        gradients=state.gradients,
        products=state.products,
        hessians=state.hessians,
        recorded=Record("time", settings.limits.times, loss, grad, params),
        task_index=task_index,
        interrupted=interrupted,
        seconds=seconds,
    )
