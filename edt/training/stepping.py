"""Steps one after another, with all data looked at only where something is decided."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edt.training.objective_trainer import judge
from edt.training.state import RUNNING, Rule, State, Trainer

__all__ = ["Move", "advance"]


#: (step, networks bool ``[B]``, step that they must not pass): takes them from that step onwards.
Move = Callable[[int, torch.Tensor, int], None]


def advance(
    state: State,
    rule: Rule,
    until: int,
    sizes: torch.Tensor,
    losses: Trainer,
    decides: Callable[[int], bool],
    move: Move,
) -> None:
    """Take every running network to step ``until``; those cut at unequal steps catch up first.

    All data are evaluated at recorded steps, at the last of the run, and where a step decides.

    Args:
        state, rule, until: of the call, see `edt.training.state.Trainer`.
        sizes: int64 ``[B]``, parameters of each network.
        losses: of all data.
        decides: whether a step does; must not depend on how calls are cut.
        move: see `Move`.
    """
    grad = torch.zeros_like(state.theta)
    rows = {int(step): row for row, step in enumerate(rule.record.tolist())}
    while True:
        behind = (state.status == RUNNING) & (state.steps <= until)
        if not bool(behind.any()):
            return
        now = int(state.steps[behind].min())
        at = behind & (state.steps == now)
        last = now >= until
        if last and now < int(rule.hyper["last_step"]):
            return
        if last or now in rows or decides(now):
            losses.loss_and_grad(state.theta, state.loss, grad, at.to(torch.uint8))
            losses.wait()
            judge(state, rule, at, rows.get(now), grad, sizes)
        if last:
            return
        moving = at & (state.status == RUNNING)
        if bool(moving.any()):
            move(now, moving, min([until, *(step for step in rows if step > now)]))
