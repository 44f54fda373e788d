"""Students of every teacher, and the tickets found in them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.errors import EdtError
from edt.lottery import Ends, Tickets, match_teacher, neuron_mask, run_trial
from edt.lottery.iterative import sparsest_winners
from edt.studies.perturb_rest.spec import PerturbRestSpec
from edt.tasks import Task

#: Students of different targets start from different seeds, so that their rates are independent.
SEED_STRIDE = 1_000_000


class NoTicketError(EdtError, ValueError):
    """No student holds a ticket of the kind asked for; the message says what to change."""


@dataclass(frozen=True)
class Candidates:
    """Students, where they ended, and the ticket of each.

    Attributes:
        tickets: of every student, winning or not.
        final: the whole students, trained.
        table: one row a student.
    """

    tickets: Tickets
    final: Ensemble
    table: pd.DataFrame


def train_candidates(spec: PerturbRestSpec, task: Task) -> Candidates:
    """Train the students and find the ticket in each.

    Args:
        spec: protocol.
        task: all targets, ``info["teacher"]`` the teachers.

    Returns:
        `Candidates`; the table has ``target``, ``seed``, ``loss``, ``win`` (the whole student),
        ``alone`` (the ticket trained alone), ``features`` (the ticket trained inside a rest
        that can only be turned down, `edt.lottery.Tickets.rest_as_features`), ``rest_alone`` (the
        rest trained without the ticket), ``kept`` (parameters of the ticket) and ``error`` (worst
        pair of the match).
    """
    seeds = [
        target * SEED_STRIDE + k for target in range(spec.teachers) for k in range(spec.candidates)
    ]
    index = torch.arange(spec.teachers).repeat_interleave(spec.candidates)
    options = {
        "d_in": task.d_in,
        "d_out": task.d_out,
        "activation": spec.activation,
        "bias": spec.bias,
    }
    start = spec.recipe.start([spec.width], seeds, **options)
    names = torch.tensor(seeds)
    if spec.ticket == "planted":
        narrow = spec.recipe.start([spec.teacher_width], seeds, **options)
        start = plant(start, narrow)
    ends = run_trial(task, start, spec.protocol, index)
    match = match_teacher(task, ends.networks, task.info["teacher"], index)
    if spec.ticket == "planted":
        first = torch.arange(spec.width) < spec.teacher_width
        keep = neuron_mask(start, first.expand(start.B, -1))
    elif spec.ticket == "matched":
        keep = neuron_mask(start, match.mask)
    else:
        keep = sparsest_winners(task, start, ends, spec.protocol, index)
    tickets = Tickets(start, keep, index, names)
    return Candidates(tickets, ends.networks, _table(spec, task, tickets, ends, match.error))


def plant(wide: Ensemble, narrow: Ensemble) -> Ensemble:
    """Wide networks whose first neurons are those of the narrow ones (one hidden layer).

    Args:
        wide, narrow: B networks each, of one width each; output biases are the wide ones'.
    """
    m, r = int(wide.layer_widths[0, 1]), int(narrow.layer_widths[0, 1])
    count, d_in, d_out = wide.B, wide.d_in, wide.d_out
    theta = wide.theta.reshape(count, -1).clone()
    small = narrow.theta.reshape(count, -1)
    theta[:, : r * d_in] = small[:, : r * d_in]
    at, here = m * d_in, r * d_in
    if wide.has_bias:
        theta[:, at : at + r] = small[:, here : here + r]
        at, here = at + m, here + r
    out = theta[:, at : at + m * d_out].view(count, d_out, m)
    out[:, :, :r] = small[:, here : here + r * d_out].view(count, d_out, r)
    return wide.with_theta(theta.flatten())


def choose(spec: PerturbRestSpec, table: pd.DataFrame, *, win: bool) -> list[int]:
    """Rows of the students whose tickets are experimented on, as evenly as the teachers allow.

    Args:
        spec: how many.
        table: from `train_candidates`.
        win: winning tickets (the whole student wins, and so does its ticket alone), or losing ones
            (neither does).

    Raises:
        NoTicketError: no winning ticket at all.
    """
    together, alone = table["win"], table["alone"]
    fits = (together & alone) if win else ~(together | alone)
    if spec.ticket == "magnitude" and not win:
        fits &= False  # nothing was pruned in students that lose
    wanted = spec.tickets if win else spec.losers
    queues = [table.index[fits & table["target"].eq(t)].tolist() for t in range(spec.teachers)]
    chosen: list[int] = []
    while len(chosen) < wanted and any(queues):
        for queue in queues:
            if queue and len(chosen) < wanted:
                chosen.append(queue.pop(0))
    if win and not chosen:
        raise NoTicketError(
            f"none of {len(table)} students of width {spec.width} wins and holds a ticket that "
            "wins alone; ask for more candidates or another width"
        )
    return sorted(chosen)


def _table(
    spec: PerturbRestSpec, task: Task, tickets: Tickets, ends: Ends, error: torch.Tensor
) -> pd.DataFrame:
    index = tickets.task_index
    trials = {
        "alone": tickets.alone(),
        "features": tickets.rest_as_features(),
        "rest_alone": tickets.without(),
    }
    won = {
        name: run_trial(task, networks, spec.protocol, index).win
        for name, networks in trials.items()
    }
    return pd.DataFrame(
        {
            "target": index.numpy(),
            "seed": tickets.names.numpy(),
            "loss": ends.loss.numpy(),
            "win": ends.win.numpy(),
            **{name: value.numpy() for name, value in won.items()},
            "kept": tickets.size.numpy(),
            "error": error.amax(1).numpy(),
        }
    )
