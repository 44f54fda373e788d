"""Winning tickets kept, everything around them changed: do they still win?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from edt.ensemble import Ensemble
from edt.lottery import (
    Tickets,
    match_teacher,
    neuron_distance,
    neuron_mask,
    perturb_rest,
    run_trial,
)
from edt.lottery.adversary import evolve_adversary, gradient_adversary
from edt.lottery.bisection import bisect_failure
from edt.lottery.controls import random_ticket
from edt.runs.experiment import Experiment, Part, Parts, Spec
from edt.studies.common.find_tickets import Candidates, choose, train_candidates
from edt.studies.common.targets import teacher_task
from edt.studies.perturb_rest.spec import PerturbRestSpec
from edt.studies.perturb_rest.tables import ADVERSARY, MINIMAL, RUNS, win_table
from edt.tasks import Task

#: Sorts of tickets, in the order of tables and pictures.
GROUPS = ("winning", "random", "losing")
#: Paths per ticket on which the smallest failing change is sought.
PATHS = 8
#: Stages.
FIND, CHANGE = "find tickets", "perturb and train"
SMALLEST, ADVERSE = "smallest failing change", "adversary"


@dataclass(repr=False)
class PerturbRest(Experiment):
    """Find winning tickets, change the rest around each in many ways, train, and count.

    Students of every teacher are trained; a ticket qualifies when its student wins and it wins
    alone. Around each, ``rests`` changes of every size are trained, thousands of networks a call.
    Beside them: as many parameters chosen at random instead of the ticket; tickets of losing
    students; the smallest failing change; rests sought by an adversary.

    Tables: ``tickets`` (one row a candidate student), ``runs`` (one row a perturbed network),
    ``minimal`` (one row a ticket: the smallest failing change found) and ``adversary`` (one row a
    ticket, radius and method).

    Raises:
        NoTicketError: no student holds a winning ticket.
    """

    kind: ClassVar[str] = "perturb-rest"
    spec_type: ClassVar[type[Spec]] = PerturbRestSpec
    names: ClassVar[tuple[str, ...]] = ("tickets", "runs", "minimal", "adversary")

    @staticmethod
    def plan(spec: PerturbRestSpec) -> list[Part]:
        """Students; rests around each ticket, were all found that are asked for; the searches.

        Costs are trainings: a student is trained whole, and three more times without a part.
        """
        groups = (
            ("winning", spec.tickets, spec.rests),
            ("random", spec.tickets, spec.random_rests),
            ("losing", spec.losers, spec.loser_rests),
        )
        students, searched = spec.teachers * spec.candidates, spec.population * spec.generations
        return [
            Part("tickets", "train students, find tickets", 4.0 * students, FIND),
            *[
                Part(
                    f"{group}-{k:03d}",
                    f"{group} ticket {k + 1}: {rests * len(spec.sizes):,} rests",
                    float(rests * len(spec.sizes)),
                    CHANGE,
                    (group, k, rests),
                    columns=RUNS,
                )
                for group, tickets, rests in groups
                for k in range(tickets if rests else 0)
            ],
            Part(
                "minimal",
                "smallest failing changes",
                float(spec.tickets * PATHS * spec.bisections),
                SMALLEST,
                columns=MINIMAL,
            ),
            *[
                Part(
                    f"adversary-{radius:g}",
                    f"adversarial rests, radius {radius:g}",
                    float(spec.tickets * searched),
                    ADVERSE,
                    (radius,),
                    columns=ADVERSARY,
                )
                for radius in spec.radii
            ],
        ]

    @classmethod
    def headline(cls, spec: PerturbRestSpec) -> str:
        """What is about to run, in a line."""
        return f"{spec.trainings:,} networks around {spec.tickets} winning tickets"

    @classmethod
    def measure(cls, spec: PerturbRestSpec, parts: Parts) -> dict[str, pd.DataFrame]:
        """Tickets, then everything that is done around them."""
        return _Run(spec).tables(parts)

    def wins(self, conf: float = 0.95) -> pd.DataFrame:
        """Win rates against size: see `edt.studies.perturb_rest.tables.win_table`."""
        return win_table(self.tables["runs"], conf)

    def summary(self) -> dict[str, pd.DataFrame]:
        """Win rates."""
        hidden = ["distance", "failing", "tickets"]
        return {"win_rates": self.wins().drop(columns=hidden)}


#: Runs it, or what is left of it: `edt.runs.experiment.Experiment.run`.
run_perturb_rest = PerturbRest.run


class _Run:
    """One run: the students are found once, at the first part that needs them."""

    def __init__(self, spec: PerturbRestSpec) -> None:
        self.spec = spec
        self.task: Task = teacher_task(spec)
        self._found: Candidates | None = None

    def tables(self, parts: Parts) -> dict[str, pd.DataFrame]:
        spec = self.spec
        (students,) = parts.run(self._students, FIND)
        winning, losing = choose(spec, students, win=True), choose(spec, students, win=False)
        rows = {"winning": winning, "random": winning, "losing": losing}
        changed = parts.run(partial(self._perturbed, rows), CHANGE)
        runs = pd.concat([table for table in changed if len(table)], ignore_index=True)
        (minimal,) = parts.run(partial(self._minimal, winning, runs), SMALLEST)
        adversary = parts.run(partial(self._adversary, winning), ADVERSE)
        return {
            "tickets": students,
            "runs": runs,
            "minimal": minimal,
            "adversary": pd.concat(adversary, ignore_index=True)
            if adversary
            else _empty(ADVERSARY),
        }

    def _students(self) -> pd.DataFrame:
        self._found = train_candidates(self.spec, self.task)
        return self._found.table

    @property
    def found(self) -> Candidates:
        """Students and tickets; after a resume they are trained again (the same bits)."""
        if self._found is None:
            self._found = train_candidates(self.spec, self.task)
        return self._found

    def _perturbed(
        self, rows: Mapping[str, list[int]], group: str, k: int, rests: int
    ) -> pd.DataFrame:
        if k >= len(rows[group]):  # fewer such tickets were found than asked for
            return _empty(RUNS)
        row = rows[group][k]
        spec, found = self.spec, self.found
        ticket = found.tickets.select([row])
        if group == "random":
            ticket = random_ticket(ticket, spec.seed, neurons=spec.ticket != "magnitude")
        made = perturb_rest(
            ticket, spec.change, spec.sizes, rests, recipe=spec.recipe, seed=spec.seed
        )
        ends = run_trial(self.task, made.networks, spec.protocol, made.task_index)
        before = found.final.select([row] * made.networks.B)
        neurons = ticket_neurons(ticket)
        shift = torch.full((made.networks.B,), float("nan"), dtype=torch.float64)
        if neurons.numel():
            shift = neuron_distance(ends.networks, before, neurons.expand(made.networks.B, -1))
        teacher = self.task.info["teacher"]
        again = match_teacher(self.task, ends.networks, teacher, made.task_index)
        same = torch.full_like(shift, float("nan"))
        if neurons.numel():
            same = again.mask[:, neurons[0]].double().mean(1)
        table = made.table.assign(
            group=group,
            ticket=k,
            target=int(ticket.task_index[0]),
            seed=int(ticket.names[0]),
            train_loss=ends.first.numpy(),
            loss=ends.loss.numpy(),
            steps=ends.steps.numpy(),
            win=ends.win.numpy(),
            shift=shift.numpy(),
            same=same.numpy(),
        )
        return table.astype(RUNS)[list(RUNS)]

    def _minimal(self, rows: list[int], runs: pd.DataFrame) -> pd.DataFrame:
        spec = self.spec
        paths = failing_paths(runs[runs["group"] == "winning"], PATHS)
        out = paths.groupby("ticket").size().reindex(range(len(rows)), fill_value=0)
        table = pd.DataFrame({"ticket": range(len(rows)), "paths": out.to_numpy()})
        table["size"] = np.nan
        if len(paths) and spec.change in ("noise", "resample", "rescale"):
            tickets = self.found.tickets.select([rows[t] for t in paths["ticket"]])
            rests = torch.tensor(paths["rest"].to_numpy())

            def fails(sizes: torch.Tensor) -> torch.Tensor:
                networks = self._at(tickets, rests, sizes)
                return ~run_trial(self.task, networks, spec.protocol, tickets.task_index).win

            low, high = (torch.tensor(paths[name].to_numpy()) for name in ("low", "high"))
            paths["size"] = bisect_failure(low, high, fails, spec.bisections)[1].numpy()
            table["size"] = (
                paths.groupby("ticket")["size"].min().reindex(table["ticket"]).to_numpy()
            )
        return table.astype(MINIMAL)[list(MINIMAL)]

    def _at(self, tickets: Tickets, rests: torch.Tensor, sizes: torch.Tensor) -> Ensemble:
        """Change number ``rests[p]`` of ticket p at ``sizes[p]``."""
        spec = self.spec
        made = [
            perturb_rest(
                tickets.select([p]),
                spec.change,
                [float(size)],
                1,
                recipe=spec.recipe,
                seed=spec.seed,
                first_rest=int(rests[p]),
            ).networks
            for p, size in enumerate(sizes)
        ]
        return Ensemble.concat(made)

    def _adversary(self, rows: list[int], radius: float) -> pd.DataFrame:
        spec = self.spec
        tickets = self.found.tickets.select(rows)

        def judge(networks: Ensemble, index: torch.Tensor) -> torch.Tensor:
            return run_trial(self.task, networks, spec.protocol, index).loss

        evolved = evolve_adversary(
            tickets,
            radius,
            judge,
            population=spec.population,
            generations=spec.generations,
            seed=spec.seed,
        )
        # As many networks as evolution tries, all drawn at random from the sphere.
        drawn = evolve_adversary(
            tickets, radius, judge, population=spec.population * (spec.generations + 1),
            generations=0, seed=spec.seed + 1,
        )  # fmt: skip
        climbed = gradient_adversary(self.task, tickets, radius)
        tables = []
        for method, worst in (("evolution", evolved), ("random", drawn), ("gradient", climbed)):
            ends = run_trial(self.task, worst.networks, spec.protocol, tickets.task_index)
            tables.append(
                pd.DataFrame(
                    {
                        "ticket": range(len(rows)),
                        "radius": radius,
                        "method": method,
                        "distance": worst.distance.numpy(),
                        "loss": ends.loss.numpy(),
                        "win": ends.win.numpy(),
                        "trials": worst.trials,
                    }
                )
            )
        return pd.concat(tables, ignore_index=True).astype(ADVERSARY)[list(ADVERSARY)]


def ticket_neurons(ticket: Tickets) -> torch.Tensor:
    """Neurons all of whose parameters are the ticket's, int64 ``[1, r]``; none for weight tickets.

    Args:
        ticket: one ticket, one hidden layer.
    """
    m = int(ticket.start.layer_widths[0, 1])
    inputs = ticket.keep[: m * ticket.start.d_in].reshape(m, -1).all(1)
    whole = neuron_mask(ticket.start, inputs[None])
    if not bool(inputs.any()) or not bool((whole == ticket.keep).all()):
        return torch.zeros(1, 0, dtype=torch.int64)
    return torch.nonzero(inputs).flatten()[None]


def failing_paths(runs: pd.DataFrame, most: int) -> pd.DataFrame:
    """Brackets for the smallest failing change: rests that fail at the smallest size first.

    Args:
        runs: columns ``ticket``, ``rest``, ``size`` and ``win``.
        most: paths per ticket.

    Returns:
        ``ticket``, ``rest``, ``low`` (the next smaller size; 0 below the first) and ``high``.
    """
    sizes = sorted(runs["size"].unique())
    below = dict(zip(sizes, [0.0, *sizes[:-1]], strict=True))
    lost = runs[~runs["win"]].sort_values(["ticket", "size", "rest"])
    first = lost.drop_duplicates(["ticket", "rest"])
    smallest = first.groupby("ticket")["size"].transform("min")
    chosen = first[first["size"] == smallest].groupby("ticket").head(most)
    return pd.DataFrame(
        {
            "ticket": chosen["ticket"].to_numpy(),
            "rest": chosen["rest"].to_numpy(),
            "low": chosen["size"].map(below).to_numpy(),
            "high": chosen["size"].to_numpy(),
        }
    )


def _empty(columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
