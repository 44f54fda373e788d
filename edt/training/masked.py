"""`masked_train`: first-order training of a ragged ensemble of masked networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import torch

from edt import _core
from edt.ensemble import Ensemble
from edt.ensemble.checks import check_dtype
from edt.ensemble.init import Initializer, check_scheme
from edt.ensemble.kinds import Networks, as_networks
from edt.scalars import flag, integer, number
from edt.tasks import Task
from edt.tasks.given import as_task, fitted, index_of, task_and_networks, task_of
from edt.training import checks
from edt.training.changing_data import changing_data
from edt.training.checkpoint import CheckpointError, checkpoint_folder, digest, make_writable
from edt.training.continuation import started
from edt.training.devices import seat, training_device
from edt.training.history import Record
from edt.training.hooks import OnRecord, listener
from edt.training.lr_scale import lr_scales
from edt.training.mask_changes import MaskChanges, MaskUpdate, mask_changes
from edt.training.record import record_steps
from edt.training.result import TrainResult
from edt.training.rules import Group, clip_norms, hyper_groups
from edt.training.run import CHECKPOINT_NAME, Settings, restore, run
from edt.training.schedules import ScheduleLike, describe, learning_rate_factors
from edt.training.state import RUNNING, OptimizerState, Rule, State, Trainer
from edt.training.structure import fingerprint_structure
from edt.training.trainer import engine, trainer
from edt.training.validation import Watch

#: The learning rate's factor is kept for every step, eight bytes each.
MOST_STEPS = 10**9


def masked_train(
    task: Task | tuple[torch.Tensor, torch.Tensor],
    networks: Networks | None = None,
    *,
    widths: Any = None,
    seeds: Any = None,
    masks: Any = None,
    sparsity: Any = None,
    activation: str | None = None,
    scheme: str | Initializer | None = None,
    init: str | Initializer | None = None,
    optimizer: str = "adam",
    steps: int = 1000,
    lr: Any = 1e-3,
    weight_decay: Any = 0.0,
    lr_scale: Any = None,
    clip_norm: Any = None,
    mask_updates: MaskUpdate | None = None,
    momentum: Any = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    batch_size: Any = None,
    schedule: ScheduleLike = None,
    tol: float = 0.0,
    loss_target: float | None = None,
    task_index: Any = None,
    data_seed: Any = 0,
    data: Any = None,
    validation: Task | tuple[torch.Tensor, torch.Tensor] | None = None,
    validate_every: int = 100,
    patience: int | None = None,
    max_seconds: float | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    record: Any = "log",
    record_params: bool = False,
    on_record: OnRecord | Sequence[OnRecord] | None = None,
    progress: bool = True,
    continue_from: TrainResult | str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    resume: Any = "auto",
) -> TrainResult:
    """Train many masked networks of different widths at once.

    Every network b minimises its own ``L_b(theta_b) = sum_n c_n l(f(x_n; theta_b), y_n)`` over its
    trainable parameters, by the update rules of `torch.optim` (`SGD`, `Adam`, `AdamW`) with the
    learning rate ``lr_b * factor(t)``. Pruned parameters stay 0 and frozen ones keep their value.
    A network's result does not depend on the others, on threads or on interruptions, bit for bit.

    Args:
        task: an `edt.Task`, ``(x [N, d_in], y [N, d_out])``, or a task over infinite data (see
            `edt.population`; full batches, float64).
        networks: the ensemble to train (not modified); or None, and then
        widths, seeds, masks, sparsity, activation, scheme: describe new networks, as in
            `Ensemble.init`; activation "tanh", scheme "torch" by default.
        init: another name for ``scheme``.
        optimizer: "gd", "sgd" (momentum, nesterov, dampening), "adam" or "adamw" (betas, eps).
        steps: optimiser steps.
        lr, weight_decay: number, or one per network ``[B]``. The decay is L2 for gd, sgd and adam,
            decoupled for adamw.
        lr_scale: factors of the learning rate: one number a parameter (``[total]``), a dict by
            block ("0.weight") or role ("weight", "bias"), or a parametrisation, "ntk",
            "mean_field" or "mup" (with ``scheme`` of that name; see `edt.training.lr_scale`).
        clip_norm: number, or one per network: the largest norm of a step's gradient; a longer one
            is scaled down (`torch.nn.utils.clip_grad_norm_`).
        momentum: number, or one per network.
        mask_updates: a rule that changes masks before some of the steps: `edt.lottery.dynamic` has
            gradual pruning, SET and RigL. What grows starts at 0, with moments of 0.
        batch_size: None for full batches, else samples per step (or one such number per network),
            drawn without replacement from epochs shuffled by ``data_seed`` (int, or ``[B]``).
        schedule: None, a name, an `edt.training.Schedule` or a function ``step -> factor``.
        tol: full batch only: stop a network when ``max|grad| <= tol``.
        loss_target: stop a network when its loss is at or below this.
        task_index: int64 ``[B]``, which of the task's T targets each network learns; default 0.
        data: what steps see instead of the task's own samples, drawn anew every epoch: a function
            ``(epoch, generator) -> (x, y)`` (or a whole task) of as many samples, which draws from
            the generator alone, or a torch Dataset of pairs (torch's, Python's and numpy's
            generators are seeded for every item). Drawn from ``data_seed`` and the epoch; with full
            batches a step is an epoch. Losses that are recorded, stop a network or come back are
            those of the task itself. `edt.tasks.Noisy` is ready-made.
        validation: data whose loss is evaluated every ``validate_every`` steps; the parameters of
            the least loss are kept, see `TrainResult.validation`.
        patience: stop a network after this many evaluations in a row without a new least
            validation loss; None: never.
        max_seconds: stop after about this much wall-clock time.
        device: "auto" (a GPU if one can be used, else the CPU), "cpu", "cuda" or "cuda:1". Results
            come back to where the networks were; those of new ones to the CPU.
        dtype: of the arithmetic; default: the networks', or float64 for new networks.
        record: "log", every k-th step, a sequence of steps, or None.
        record_params: also keep the parameters at the recorded steps.
        on_record: function ``(step, networks, losses [B])``, or several, called at the recorded
            steps with copies; True stops all networks, bools ``[B]`` those marked ("stopped").
            Ready-made ones are in `edt.training.recorders`.
        progress: show a progress bar on a terminal.
        continue_from: an earlier run, as its result or the directory of its checkpoint: go on from
            its parameters, moments and step. ``steps`` counts from the beginning, options are
            those of this call; with the same ones the result is that of one long run, bit for bit.
            Networks that had stopped go on where this call has no reason to stop them there
            ("stopped" ones only without ``patience`` and ``on_record``).
        checkpoint: directory for a checkpoint every ``checkpoint_every`` seconds, at the end and
            at Ctrl-C.
        resume: "auto" (go on where a checkpoint of this very run is found), True (insist on one)
            or False (overwrite).

    Returns:
        A `TrainResult`. After Ctrl-C it holds what is there, with ``interrupted`` set.

    Raises:
        ValueError, TypeError: an argument is wrong; nothing has been done or written.
        CheckpointError: the checkpoint is unreadable or of another run.

    Example:
        >>> result = masked_train(task, widths=[4, 8], seeds=range(10), lr=1e-2)  # doctest: +SKIP

    Reference: D. P. Kingma, J. Ba, "Adam", ICLR 2015; I. Loshchilov, F. Hutter, "Decoupled weight
    decay regularization", ICLR 2019.
    """
    start = started(continue_from, networks)
    if start is not None and start.networks is not None:
        networks = start.networks
    if networks is None:
        learned: Any = as_task(task)
    else:
        learned, networks = task_and_networks(task, networks)
    where = training_device(device, networks, learned)
    ens = _ensemble(
        learned,
        networks,
        dtype,
        {
            "widths": widths,
            "seeds": seeds,
            "masks": masks,
            "sparsity": sparsity,
            "activation": activation,
            "scheme": _scheme(scheme, init),
        },
        folder=start is not None,
    )
    if start is not None:
        ens = start.networks_of(ens)
        task_index = start.task_index if task_index is None else task_index
    learned = fitted(learned, ens, torch.device("cpu"))
    index = index_of(learned, ens, task_index)
    groups = hyper_groups(
        learned,
        ens.B,
        optimizer=optimizer,
        momentum=momentum,
        nesterov=nesterov,
        dampening=dampening,
        betas=betas,
        eps=eps,
        batch_size=batch_size,
        tol=tol,
        loss_target=loss_target,
    )
    hyper = groups[0][0]
    drawn = changing_data(data, learned, hyper["tol"])
    update = mask_changes(mask_updates)
    scales = lr_scales(lr_scale, ens, optimizer)
    norms = clip_norms(clip_norm, ens.B)
    steps = integer("steps", steps, 0)
    if steps > MOST_STEPS:
        raise ValueError(f"steps must be <= {MOST_STEPS:,}, got {steps:,}")
    if start is not None:
        start.check(hyper, steps)
    rates = checks.per_network("lr", lr, ens.B)
    decay = checks.per_network("weight_decay", weight_decay, ens.B)
    seed_bits = checks.seed_bits("data_seed", data_seed, ens.B)
    factors = torch.from_numpy(learning_rate_factors(schedule, steps))
    recorded = record_steps(record, steps)
    if max_seconds is not None:
        max_seconds = number("max_seconds", max_seconds)
    every = number("checkpoint_every", checkpoint_every)
    checks.resume_word(resume, checkpoint)
    folder = None if checkpoint is None else checkpoint_folder(checkpoint)
    file = None if folder is None else folder / CHECKPOINT_NAME
    record_params = flag("record_params", record_params)
    # What a checkpoint is known by: hashes of all that is given.
    specification: dict[str, Any] = {}
    if file is not None:
        specification = {
            "task": learned.fingerprint(),
            "networks": fingerprint_structure(ens),
            "initial parameters": digest({"theta": ens.theta})[:32],
            "steps": steps,
            **{name: _json(value) for name, value in hyper.items()},
            "schedule": describe(schedule),
            "numbers": digest(
                {
                    "lr": rates,
                    "weight_decay": decay,
                    "data_seed": seed_bits,
                    "schedule": factors,
                    "task_index": index,
                    "record": recorded,
                    **({} if scales is None else {"lr_scale": scales}),
                    **({} if norms is None else {"clip_norm": norms}),
                    **_apart(groups),
                }
            )[:32],
            "lr": _span(rates),
            "weight_decay": _span(decay),
            "record_params": record_params,
        }
    settings = Settings(
        steps=steps,
        rule=Rule(
            {**hyper, "last_step": steps},
            rates,
            decay,
            seed_bits,
            factors,
            recorded,
            scales,
            norms,
        ),
        groups=groups,
        sizes=ens.offsets[1:] - ens.offsets[:-1],
        specification=specification,
        max_seconds=max_seconds,
        checkpoint_file=file,
        checkpoint_every=every,
        progress=bool(progress),
    )
    if drawn is not None:
        settings.specification["data"] = drawn.fingerprint(int(seed_bits[0]))
    home = ens.device
    here = fitted(learned, ens, where)
    moved = ens.to(device=seat(here, ens, where))

    def engine_of(nets: Any) -> Trainer:
        return engine(here, nets, index, drawn)

    settings.listener = listener(on_record, moved, recorded)
    settings.watch = _watch(moved, learned, validation, index, steps, validate_every, patience)
    if settings.watch is not None and validation is not None:
        settings.specification["validation"] = {
            "task": fitted(task_of(validation, ens, "validation"), ens, ens.device).fingerprint(),
            "every": validate_every,
            "patience": patience,
        }
    state = State.start(moved.theta, ens.B, settings.rule, record_params)
    if update is not None:
        state.masks = moved.state.clone()
        settings.changes = MaskChanges(update, steps, moved, here, index, engine_of)
        if settings.watch is not None:
            settings.watch.best_state = moved.state.clone()
        settings.specification["mask_updates"] = repr(update)
    if start is not None:
        start.fill(state, settings, on_record is not None or patience is not None)
        if file is not None:
            settings.specification["initial state"] = digest(state.tensors())[:32]
    if file is not None:
        if resume is True and not file.is_file():
            raise CheckpointError(f"{file}: no checkpoint to resume from (resume=True)")
        if resume and file.is_file():
            restore(state, file, settings.specification, settings.watch)
        make_writable(file.parent, file.name)
    run(engine_of(moved), state, settings)
    state.to_cpu()
    ended = ens.to(device="cpu")
    if state.masks is not None:
        ended = ended.with_state(state.masks)
    result = _result(ended, state, settings, index)
    result.networks = result.networks.to(device=home)
    if state.interrupted and settings.progress:
        hint = (
            f"the same call resumes from {file}"
            if file
            else "give checkpoint=DIR to be able to resume"
        )
        print(f"edt: stopped early, returning what is there; {hint}", file=sys.stderr)
    return result


def _watch(
    ens: Ensemble,
    data: Task,
    validation: Any,
    index: torch.Tensor,
    steps: int,
    every: Any,
    patience: Any,
) -> Watch | None:
    every = integer("validate_every", every, 1)
    if patience is not None:
        patience = integer("patience", patience, 1)
    if validation is None:
        if patience is not None:
            raise ValueError("patience needs validation=..., the data it looks at")
        return None
    given = task_of(validation, ens, "validation")
    other = fitted(given, ens, ens.device, "validation")
    if other.loss != data.loss or other.T != data.T:
        raise ValueError(
            f"validation must have the task's loss and targets ({data.loss}, {data.T}), got "
            f"{other.loss}, {other.T}"
        )
    return Watch(ens, lambda nets: trainer(other.objective(nets, index)), steps, every, patience)


def _scheme(scheme: Any, init: Any) -> Any:
    """How new networks begin, by either name."""
    if scheme is not None and init is not None:
        raise ValueError("scheme and init mean the same: give scheme alone")
    name, given = ("init", init) if scheme is None else ("scheme", scheme)
    if given is not None:
        check_scheme(name, given)
    return given


def _ensemble(
    task: Task,
    networks: Networks | None,
    dtype: torch.dtype | None,
    new: dict[str, Any],
    *,
    folder: bool,
) -> Any:
    if dtype is not None:
        check_dtype(dtype)
    if networks is not None:
        as_networks(networks)
        given = [name for name, value in new.items() if value is not None]
        if given:
            raise ValueError(f"networks are given, so {given[0]} must not be: it is for new ones")
        return networks.to(dtype)
    if new["widths"] is None:
        also = "; a checkpoint holds their parameters, not what they are" if folder else ""
        raise ValueError(f"give either networks=... or widths=... (with seeds=...){also}")
    options = {
        name: new[name] for name in ("masks", "sparsity", "activation") if new[name] is not None
    }
    scheme = "torch" if new["scheme"] is None else new["scheme"]
    return Ensemble.init(
        widths=new["widths"],
        seeds=0 if new["seeds"] is None else new["seeds"],
        d_in=task.d_in,
        d_out=task.d_out,
        scheme=scheme,
        dtype=dtype or torch.float64,
        **options,
    )


def _apart(groups: list[Group]) -> dict[str, torch.Tensor]:
    """Momentum and batch size of every network, where they differ."""
    if len(groups) == 1:
        return {}
    out = {}
    for name in ("momentum", "batch_size"):
        each = torch.zeros(groups[0][1].numel(), dtype=torch.float64)
        for hyper, members in groups:
            each[members] = hyper[name]
        out[name] = each
    return out


def _json(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def _span(values: torch.Tensor) -> str:
    low, high = float(values.min()), float(values.max())
    return repr(low) if low == high else f"{low!r}..{high!r}"


def _result(ens: Any, state: State, settings: Settings, index: torch.Tensor) -> TrainResult:
    status = [
        ("max_steps" if step >= settings.steps else "interrupted")
        if code == RUNNING
        else _core.CODES["training"][code]
        for code, step in zip(state.status.tolist(), state.steps.tolist(), strict=True)
    ]
    return TrainResult(
        networks=ens.with_theta(state.theta),
        loss=state.loss,
        grad_norm=state.grad_norm,
        status=status,
        steps=state.steps,
        recorded=Record(
            "step",
            settings.rule.record,
            state.history_loss,
            state.history_grad,
            state.history_params,
        ),
        task_index=index,
        interrupted=state.interrupted,
        seconds=state.seconds,
        validation=None if settings.watch is None else settings.watch.result(ens),
        optimizer=OptimizerState(
            name=settings.rule.hyper["optimizer"],
            m=state.m,
            v=state.v,
            target=state.target,
            settled=state.settled,
            heard=state.target if settings.listener is None else state.heard,
            remasked=state.remasked,
        ),
    )
