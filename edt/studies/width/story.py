"""What a width sweep says, in sentences made from its tables. Nothing is said that is not counted.

Every comparison is decided by intervals: a prediction is called too low or too high only when it
lies outside the measured interval.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from edt.landscape import OUTCOMES
from edt.show.answer import Answer, Tile, rate, rate_tile
from edt.show.words import count, exact, interval, listed, number, p_is, percent, span
from edt.studies.common.success_table import ALL
from edt.studies.common.targets import learnable
from edt.studies.common.thresholds import threshold_table
from edt.studies.width.run import WidthSweep
from edt.studies.width.splits import DESTINATIONS, rate_of_minima
from edt.studies.width.splits_panel import WORDS as DESTINATION_WORDS
from edt.tasks.task_tables import task_name

Row = dict[str, Any]


class Story:
    """Sentences about one finished sweep.

    Args:
        sweep: the sweep; its tables are made once.

    Attributes:
        success, levels, outcomes, escapes: the sweep's tables; thresholds: success at others.
        good_name: what a good run has reached, in a few words.
        goal: the same as a verb.
        target_name: what one target is called.
    """

    def __init__(self, sweep: WidthSweep) -> None:
        self.sweep = sweep
        self.spec = sweep.spec
        self.success = sweep.success()
        self.levels = sweep.levels()
        self.outcomes = sweep.outcomes()
        self.escapes = sweep.escapes()
        self.thresholds = threshold_table(sweep.runs)
        r = self.spec.reference_width
        if self.spec.realisable:
            self.good_name, self.goal, self.target_name = "zero loss", "reach zero loss", "teacher"
        else:
            self.good_name = f"the best of width {r}"
            self.goal = f"match {self.good_name}"
            self.target_name = "target"

    @property
    def title(self) -> str:
        """Heading of the page."""
        what = "small networks" + " on real data" * bool(learnable(self.spec.task).measured)
        return f"What does width buy {what}?"

    @property
    def lead(self) -> str:
        """What was done."""
        spec = self.spec
        networks = f"<b>{len(self.sweep.runs):,} networks</b>"
        if spec.realisable:
            teachers = count(spec.targets, "random teacher network")
            setting = (
                f"{networks} learned {teachers} of {spec.teacher_width} hidden neurons; each was "
                "trained, driven to the bottom of its loss and classified."
            )
        elif self.spec.task == "rosenbrock":
            setting = (
                f"{networks} learned the modified Rosenbrock function on a grid of "
                f"{self.spec.samples:,} points; each was trained, driven to the bottom of its "
                "loss and classified."
            )
        else:
            learned = (
                "learned to predict the progression of diabetes in 442 patients"
                if spec.task == "diabetes"
                else f"learned {task_name(spec.task)}"
            )
            setting = (
                f"{networks} {learned}; each was trained, driven to the bottom of its loss and "
                "classified."
            )
        return setting

    @property
    def answer(self) -> Answer:
        """Success at the reference width and at a wider one, in a sentence and three numbers."""
        r, told, tiles = self.spec.reference_width, [], list[Tile]()
        narrow, compared = self._row(r), self._compared()
        for row in (narrow, compared):
            if row is not None:
                found = (row["rate"], row["rate_low"], row["rate_high"])
                neurons = count(int(row["width"]), "neuron")
                told.append(f"with {neurons} {rate(*found)}")
                tiles.append(rate_tile(*found, f"of runs with {neurons} {self.goal}"))
        if compared is not None and compared["n_eff"] == compared["n_eff"]:
            width = int(compared["width"])
            words = interval(compared["n_eff"], compared["n_eff_low"], compared["n_eff_high"])
            head, _, tail = words.partition(" (")
            bounds = f" (95%: {tail}" if tail else ""
            worth = f"lottery tickets of width {r} is what width {width} is worth{bounds}"
            tiles.append((head, worth))
        splits = self.sweep.splits
        if len(splits) and len(tiles) < 3:
            share = rate_of_minima(splits, splits["n_neg"] > 0)
            of = "of split neurons of bad minima open a way down"
            tiles.append(rate_tile(share.value, share.low, share.high, of))
        while len(tiles) < 2:
            tiles.append((f"{len(self.sweep.runs):,}", "networks"))
            if len(tiles) < 2:
                tiles.append((f"{len(self.spec.widths)}", "widths"))
        said = listed(told) or "the reference width was not run"
        ending = f" {self.goal}" if told else ""
        return Answer(f"{said[0].upper()}{said[1:]}{ending}.", tiles)

    def width_text(self) -> str:
        """Success against width."""
        pooled = self.success[self.success["target"] == ALL]
        if self.spec.realisable:
            limit = exact(self.spec.good)
            meaning = f"A run succeeds when its loss is at most {limit} of its target's variance. "
        else:
            meaning = (
                f"Zero loss cannot be reached here. A run succeeds when its "
                f"loss is within {percent(self.spec.good)} of the lowest loss that any network of "
                f"width {self.spec.reference_width} or less has reached. "
            )
        full = _rows(pooled[pooled["rate"] == 1.0])
        if full:
            row = full[0]
            end = (
                f"The narrowest width at which every run succeeded is {int(row['width'])} "
                f"({int(row['runs'])} runs; 95%: at least {percent(row['rate_low'])})."
            )
        else:
            best = max(_rows(pooled), key=lambda row: float(row["rate"]))
            end = (
                f"The best rate is {percent(best['rate'])} at width {int(best['width'])} "
                f"(95%: {_span(best)})."
            )
        return meaning + end

    def lottery_text(self) -> str:
        """The two lottery readings against the measurement."""
        r, row = self.spec.reference_width, self._compared(informative=True)
        if row is None:
            return (
                f"The price of a ticket is the success rate of width {r}, which is not among the "
                "widths of this run, so nothing can be said about tickets."
            )
        m = int(row["width"])
        disjoint, overlapping = (
            rate(row[name], row[f"{name}_low"], row[f"{name}_high"])
            for name in ("disjoint", "combinatorial")
        )
        return (
            "In the lottery reading of width, a wide network holds many narrow ones, and one "
            f"winner is enough. Counted as {count(m // r, 'disjoint narrow network')}, width {m} "
            f"should succeed in {disjoint} of runs; counted as all {math.comb(m, r):,} "
            f"overlapping ones, in {overlapping}. It does in {percent(row['rate'])} "
            f"({_span(row)})."
        )

    def tickets_text(self) -> str:
        """How far the targets differ in the number of effective tickets."""
        subset = self.success[(self.success["target"] != ALL) & self.success["n_eff"].gt(0)]
        subset = subset[
            np.isfinite(subset["n_eff"]) & (subset["width"] > self.spec.reference_width)
        ]
        text = (
            "The effective number of tickets, ln P<sub>fail</sub>(m) / ln(1 − price), needs no "
            "count: it is the number of independent narrow networks that would fail as rarely."
        )
        shared = subset["width"].value_counts()
        several = [int(width) for width in shared.index if shared[width] > 1]
        if not several:
            return text
        width = min(several)
        values = [
            interval(row["n_eff"], row["n_eff_low"], row["n_eff_high"])
            for row in _rows(subset[subset["width"] == width])
        ]
        r = self.spec.reference_width
        return (
            f"{text} At width {width} the {self.target_name}s give {listed(values)}, beside "
            f"⌊m/r⌋ = {width // r}, m − r + 1 = {width - r + 1} and "
            f"C(m, r) = {math.comb(width, r)}. "
            f"The price itself differs between {self.target_name}s, so each keeps its own."
            f"{self.shared_text()}"
        )

    @cached_property
    def tickets(self) -> pd.DataFrame:
        """One number of tickets for all targets: see `ticket_table`."""
        from edt.studies.common.width_models import ticket_table

        return ticket_table(self.success, self.spec.reference_width)

    def shared_text(self) -> str:
        """Whether one number of tickets will do for all targets."""
        table = self.tickets
        if not len(table):
            return ""
        # One test a width: Holm's first step decides whether any of them speaks.
        row = _rows(table.sort_values("p", kind="stable"))[0]
        p = min(1.0, float(row["p"]) * len(table))
        if p >= 0.05:
            return (
                f" One number of tickets for all {self.target_name}s is not rejected at any width "
                f"(at the least {p_is(p)}, over {count(len(table), 'width')})."
            )
        return (
            f" One number of tickets for all {self.target_name}s is rejected: at width "
            f"{int(row['width'])} the best is {number(row['shared'])} (likelihood ratio "
            f"{number(row['statistic'])} at {int(row['dof'])} degrees of freedom, {p_is(p)} over "
            f"{count(len(table), 'width')})."
        )

    def ends_text(self) -> str:
        """What the failures are."""
        rows = {int(row["width"]): row for row in _rows(self.outcomes)}
        names = [name for name in OUTCOMES if name != "good"]
        failed = {width: sum(int(row[name]) for name in names) for width, row in rows.items()}
        widths = [width for width, number in failed.items() if number]
        if not widths:
            return "Every run of every width succeeded."
        r = self.spec.reference_width
        width = r if r in widths else widths[0]
        kinds = rows[width]
        words = {
            "bad": "ended in a bad minimum",
            "channel": "drifted along a channel to infinity",
            "saturated": "ended with saturated units",
            "drifting": "were still drifting",
            "saddle": "stopped at a saddle",
            "unconverged": "were undecided",
            "diverged": "diverged",
        }
        parts = [f"{int(kinds[name])} {word}" for name, word in words.items() if kinds[name]]
        return f"Of the {count(failed[width], 'failed run')} at width {width}, {listed(parts)}."

    def levels_text(self) -> str:
        """Distinct heights of bad minima."""
        levels = self.levels
        if not int(levels["bad"].sum()):
            return "No run ended in a bad minimum."
        top = max(_rows(levels), key=lambda row: int(row["levels"]))
        last = int(levels[levels["bad"] > 0]["width"].max())
        where = f"width {int(top['width'])}"
        if self.spec.targets > 1:
            where += f", {self.target_name} {int(top['target']) + 1}"
        text = (
            f"Bad minima fall on discrete heights. The most, {count(int(top['levels']), 'level')} "
            f"in {count(int(top['bad']), 'bad run')}, are at {where}"
        )
        once, unseen = int(top["once"]), (
            f"(Chao's estimate: "
            f"{interval(top['estimate'], top['estimate_low'], top['estimate_high'])})."
        )  # fmt: skip
        text += (
            f"; {once} of them {'was' if once == 1 else 'were'} met only once, so there are more "
            f"{unseen}"
            if once
            else f"; each was met more than once {unseen}"
        )
        widest = max(self.spec.widths)
        if last < widest:
            text += f" Above width {last} no run ended in a bad minimum."
        return text

    def splits_text(self) -> list[str]:
        """Escape dimensions and destinations."""
        splits = self.sweep.splits
        if not len(splits):
            return ["No strict bad minimum of the widths that were to be split was found."]
        agree = int((splits["n_neg"] == splits["predicted_neg"]).sum())
        strict = int((splits["n_neg"] > 0).sum())
        share = rate_of_minima(splits, splits["n_neg"] > 0)
        levels = len(splits[["target", "width", "level"]].drop_duplicates())
        first = (
            f"{count(len(splits), 'split')} of {count(levels, 'bad minimum', 'bad minima')}, one "
            "per loss level: every neuron in turn, with every μ. "
            f"{strict} ({percent(share.value)}; 95%: {span(share.low, share.high)}) are strict "
            f"saddles, with {int(splits['n_neg'].min())} to {int(splits['n_neg'].max())} escape "
            f"dimensions. The closed form, from sums at the narrow minimum alone, gives the same "
            f"index in {agree} of {len(splits)}."
        )
        sides = []
        for mu in sorted({float(value) for value in splits["mu"]}):
            group = splits[splits["mu"] == mu]
            ends = [
                f"{percent(float((group['destination'] == name).mean()))} {self._end(name)}"
                for name in DESTINATIONS
                if (group["destination"] == name).any()
            ]
            sides.append(f"With μ = {exact(mu)}, {listed(ends)}.")
        return [first, "Then each wide network follows its way down. " + " ".join(sides)]

    def _end(self, name: str) -> str:
        words = {
            "good": f"reach {self.good_name}",
            "lower": f"end in {DESTINATION_WORDS['lower']}",
            "channel": f"drift into {DESTINATION_WORDS['channel']}",
            "stays": "stay",
            "open": "get lower without a verdict",
        }
        return words[name]

    def _row(self, width: int) -> Row | None:
        rows = self.success[(self.success["target"] == ALL) & (self.success["width"] == width)]
        return _rows(rows)[0] if len(rows) else None

    def _compared(self, informative: bool = False) -> Row | None:
        """The width to compare with r: twice r, else the next that was run; None without any.

        ``informative`` prefers widths at which both lottery counts differ and something failed.
        """
        r = self.spec.reference_width
        pooled = self.success[(self.success["target"] == ALL) & self.success["n_disjoint"].notna()]
        wider = [row for row in _rows(pooled) if row["width"] > r]
        double = [row for row in wider if row["width"] >= 2 * r]
        telling = [row for row in double if row["rate"] < 1.0] if informative else []
        return next(iter([*telling, *double, *reversed(wider)]), None)


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _span(row: Row) -> str:
    return span(float(row["rate_low"]), float(row["rate_high"]))
