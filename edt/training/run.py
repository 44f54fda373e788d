"""The loop around the training kernel: chunks, progress, time limit, checkpoints.

A chunk runs every network to one step number inside the compiled core. The core keeps a step
counter for each network, so the chunk lengths (chosen from wall-clock time) do not change a bit
of the result; the same holds for a run cut anywhere and resumed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from edt.objectives import segment_max
from edt.training import checkpoint
from edt.training.hooks import Listener
from edt.training.mask_changes import MaskChanges
from edt.training.progress import Meter
from edt.training.rules import Group
from edt.training.state import RUNNING, STOPPED, Rule, State, Trainer
from edt.training.validation import Watch

KIND = "train-checkpoint"
CHECKPOINT_NAME = "train.safetensors"
#: Status of networks that wait for another group's call.
ASIDE = 5
#: Wall-clock seconds a call of the kernel should take: a few returns to Python a second.
CHUNK_SECONDS = 0.25


@dataclass
class Settings:
    """Everything fixed during a run."""

    steps: int
    rule: Rule
    sizes: torch.Tensor
    specification: dict[str, Any]
    max_seconds: float | None
    checkpoint_file: Path | None
    checkpoint_every: float
    progress: bool
    groups: list[Group] = field(default_factory=list)
    watch: Watch | None = None
    listener: Listener | None = None
    changes: MaskChanges | None = None


def save(state: State, settings: Settings) -> None:
    """Write the checkpoint, if there is one to write."""
    if settings.checkpoint_file is None:
        return
    header = {
        "specification": settings.specification,
        "target": state.target,
        "seconds": state.seconds,
        "settled": state.settled,
        "remasked": state.remasked,
        "heard": state.target if settings.listener is None else state.heard,
    }
    named = state.tensors() | {"record": settings.rule.record}
    if settings.watch is not None:
        named |= settings.watch.tensors() | {"validation.steps": settings.watch.steps}
    tensors = {name: tensor.cpu() for name, tensor in named.items()}
    checkpoint.write(settings.checkpoint_file, KIND, tensors, header)


def restore(
    state: State, path: Path, specification: dict[str, Any], watch: Watch | None = None
) -> None:
    """Fill a state from a checkpoint of the same run.

    Raises:
        CheckpointError: unreadable, or of another run: the message lists what differs.
    """
    tensors, header = checkpoint.read(path, KIND)
    with checkpoint.parsing(path):
        wrong = checkpoint.differences(header.get("specification", {}), specification)
        if wrong:
            raise checkpoint.CheckpointError(
                f"{path}: belongs to another run ({'; '.join(wrong)}); give another checkpoint "
                "directory, or resume=False to overwrite it"
            )
        mine = state.tensors() | (watch.tensors() if watch is not None else {})
        for name, tensor in mine.items():
            stored = tensors.get(name)
            if stored is None or stored.shape != tensor.shape or stored.dtype != tensor.dtype:
                raise checkpoint.CheckpointError(
                    f"{path}: tensor {name!r} is missing or of the wrong shape; delete the "
                    "file to start afresh"
                )
        target, seconds = int(header["target"]), float(header["seconds"])
        settled = bool(header["settled"])
        heard = int(header.get("heard", target))
        remasked = int(header.get("remasked", -1))
    for name, tensor in mine.items():
        tensor.copy_(tensors[name])
    state.target, state.seconds, state.settled, state.heard = target, seconds, settled, heard
    state.remasked = remasked


def run(engine: Trainer, state: State, settings: Settings) -> None:
    """Train until every network has stopped or reached ``settings.steps``; fills ``state``.

    Ctrl-C and ``max_seconds`` end it early with ``state.interrupted`` set and, where there is a
    checkpoint directory, a checkpoint of exactly where it stopped.
    """
    started = time.monotonic()
    before = state.seconds
    saved = started
    chunk = 4
    with Meter(settings.progress, "train", settings.steps) as meter:
        try:
            while True:
                # Also before anything else: an earlier process may have been cut here.
                engine = _arrive(engine, state, settings)
                running = state.status == RUNNING
                # An interrupted chunk leaves networks at unequal steps: finish it first.
                reached = int(state.steps[running].min()) if bool(running.any()) else None
                if reached is None or (reached >= settings.steps and state.settled):
                    break
                # A chunk cut off after its last step is not snapshot yet: it is finished first.
                if state.target <= reached and (state.settled or state.target == 0):
                    state.target = _next_stop(state, settings, reached, chunk)
                clock = time.monotonic()
                state.settled = False
                _advance(engine, state, settings)
                engine.wait()
                state.settled = True
                took = time.monotonic() - clock
                state.seconds = before + time.monotonic() - started
                engine = _arrive(engine, state, settings)
                done = state.target - reached
                ideal = CHUNK_SECONDS / max(took / max(done, 1), 1e-9)
                chunk = int(min(max(ideal, 1), 8 * chunk))
                left = int((state.status == RUNNING).sum())
                meter.update(state.target, left, state.loss)
                now = time.monotonic()
                if settings.checkpoint_file and now - saved >= settings.checkpoint_every:
                    save(state, settings)
                    saved = time.monotonic()
                late = settings.max_seconds is not None and now - started >= settings.max_seconds
                if late and left and state.target < settings.steps:
                    state.interrupted = True
                    break
        except KeyboardInterrupt:
            state.interrupted = True
            state.seconds = before + time.monotonic() - started
    save(state, settings)
    # A call that ends before the last step leaves the evaluation at its end to the next one.
    stopped = state.status == STOPPED
    open_ = (state.status == RUNNING) if state.interrupted else torch.zeros_like(stopped)
    _evaluate(engine, state, settings, stopped | open_)


def _arrive(engine: Trainer, state: State, settings: Settings) -> Trainer:
    """What is done between two steps, each once a step however often the run is cut there.

    Returns the trainer of the masks as they are then.
    """
    changes = settings.changes
    if changes is not None:
        if changes.due(state):
            changes.apply(state)
        engine = changes.current(state, engine, settings.watch)
    if state.settled:
        _snapshot(state, settings)
        if settings.watch is not None:
            settings.watch.look(state, state.target)
        if settings.listener is not None and settings.listener.due(state):
            settings.listener.report(engine, state)
    return engine


def _next_stop(state: State, settings: Settings, reached: int, chunk: int) -> int:
    """Step to run to: ``chunk`` further, but no further than the next step that is looked at."""
    stop = min(reached + max(chunk, 1), settings.steps)
    if state.history_params is not None or settings.listener is not None:
        if reached == 0 and not state.settled and 0 in settings.rule.record[:1].tolist():
            return 0
        ahead = settings.rule.record[settings.rule.record > reached]
        if ahead.numel():
            stop = min(stop, int(ahead[0]))
    if settings.changes is not None:
        if reached == 0 and not state.settled and 0 in settings.changes.steps:
            return 0
        change = settings.changes.ahead(reached)
        stop = stop if change is None else min(stop, change)
    if settings.watch is not None:
        fresh = reached == 0 and not state.settled
        look = settings.watch.ahead(reached, fresh)
        stop = stop if look is None else min(stop, look)
    return stop


def _advance(engine: Trainer, state: State, settings: Settings) -> None:
    """One call of the kernel for every group of networks that take their steps alike."""
    if len(settings.groups) <= 1:
        engine.train(state, settings.rule, state.target)
        return
    for hyper, members in settings.groups:
        others = ~members.to(state.status.device) & (state.status == RUNNING)
        rule = replace(settings.rule, hyper={**settings.rule.hyper, **hyper})
        state.status[others] = ASIDE
        try:
            engine.train(state, rule, state.target)
            engine.wait()
        finally:
            state.status[others] = RUNNING


def _snapshot(state: State, settings: Settings) -> None:
    """Copy the parameters of the networks that stand at a recorded step."""
    if state.history_params is None:
        return
    row = torch.nonzero(settings.rule.record == state.target).flatten()
    if not row.numel():
        return
    there = state.steps == state.target
    wide = there.repeat_interleave(settings.sizes.to(there.device))
    state.history_params[int(row[0]), wide] = state.theta[wide]


def _evaluate(engine: Trainer, state: State, settings: Settings, chosen: torch.Tensor) -> None:
    """Loss and gradient of some networks at the parameters that are returned."""
    if not bool(chosen.any()):
        return
    loss = state.loss.clone()
    grad = torch.zeros_like(state.theta)
    engine.loss_and_grad(state.theta, loss, grad, chosen.to(torch.uint8))
    norms = segment_max(grad.abs().to(torch.float64), settings.sizes.to(grad.device))
    state.loss = loss
    state.grad_norm = torch.where(chosen, norms, state.grad_norm)
    # Networks stopped from outside ended before the evaluation at their step was recorded.
    record = settings.rule.record.to(state.steps.device)
    stopped = state.status == STOPPED
    for row in torch.nonzero(torch.isin(record, state.steps[stopped])).flatten().tolist():
        ended = stopped & (state.steps == record[row])
        state.history_loss[row, ended] = loss[ended]
        state.history_grad[row, ended] = norms[ended]
