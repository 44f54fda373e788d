"""The report of the study of optimisers."""

from __future__ import annotations

import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import number_tile
from edt.show.publish import Picture
from edt.show.words import between, count, exact, number, p_is, percent
from edt.studies.common import contrast
from edt.studies.common.findings import JOINT, LEVEL, Finding, together, together_text
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING, threshold_table, threshold_text
from edt.studies.optimisers import panels
from edt.studies.optimisers.flows import GONE
from edt.studies.optimisers.run import RULE_WORDS, OptimisersRun, with_setting
from edt.studies.optimisers.spec import RULES
from edt.studies.perturb_rest.page import REFERENCES


def speed_findings(times: pd.DataFrame) -> list[Finding]:
    """Do small batches leave saddles sooner? No claim of the four: it has no letter.

    "for" where the mean logarithm of the speed-up is above 0 by its interval, "against" where it is
    below.

    Args:
        times: from `edt.studies.optimisers.run.time_table`.
    """
    found = []
    for row in times[times["speed"].notna()].to_dict("records"):
        text = (
            f"Batches of {row['batch']} leave "
            f"{count(int(row['saddles']), 'split minimum', 'split minima')} "
            f"{number(10 ** row['speed'])} times as fast as full batches"
        )
        if not row["speed_low"] < row["speed_high"]:  # unknown, or no run left in time
            continue
        around = 10 ** row["speed_low"], 10 ** row["speed_high"]
        text += f" ({between(*around)} over {count(int(row['teachers']), 'teacher')})"
        effect = number_tile(
            10 ** row["speed"], *around,
            f"times as fast as full batches do batches of {row['batch']} leave split minima",
        )  # fmt: skip
        if row["speed_low"] > 0.0:
            found.append(Finding("saddles", "for", text + ": sooner.", effect))
        elif row["speed_high"] < 0.0:
            found.append(Finding("saddles", "against", text + ": later.", effect))
        else:
            found.append(Finding("saddles", "silent", text + ": no difference that shows.", effect))
    return found


def plateau_findings(table: pd.DataFrame) -> list[Finding]:
    """Do plateaus of gradient flow last as their curvature says? No claim of the four.

    "for" where time and curvature go against each other beyond the null's 95% (permutations within
    teachers), "against" where they go together; else silent.

    Args:
        table: from `edt.studies.optimisers.flows.plateau_table`.
    """
    found = []
    for row in table[table["correlation"].notna()].to_dict("records"):
        r = row["correlation"]
        text = (
            f"At {count(int(row['saddles']), 'saddle')} that gradient flow passes "
            f"({count(int(row['teachers']), 'teacher')}), the time spent goes with the curvature "
            f"of the way down by a rank correlation of {number(r)} (by chance up to "
            f"{number(row['limit'])}; {p_is(row['p'])}); the median of time times curvature is "
            f"{number(row['product'])}"
        )
        effect = (
            number(r),
            "rank correlation of the time on plateaus and the curvature of their way down (by "
            f"chance up to {number(row['limit'])})",
        )
        if row["p"] <= LEVEL:
            speaks, end = ("for", "flat ones last") if r < 0.0 else ("against", "steep ones last")
            found.append(Finding("plateaus", speaks, f"{text}: {end}.", effect))
        else:
            found.append(Finding("plateaus", "silent", f"{text}: not decided.", effect))
    return found


def lazy_text(rates: pd.DataFrame) -> str:
    """How far networks moved in the settings that moved them least and most."""
    moved = {
        str(setting): float(subset["moved"].median())
        for setting, subset in rates.groupby("setting", sort=False)
    }
    least, most = (
        f"{number(moved[at])} ({at})"
        for at in (min(moved, key=lambda k: moved[k]), max(moved, key=lambda k: moved[k]))
    )
    return (
        f"median distance from the start, in units of its norm: from {least} to {most}; all are in "
        "the table of outcomes"
    )


def _rule(name: str) -> str:
    _, batch, lr = RULES[name]
    samples = "on all samples, " if batch is None else ""
    return f"{RULE_WORDS[name]} {samples}at a learning rate of {exact(lr)}"


def write_optimisers_report(run: OptimisersRun, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    rates, contrasts, times, spec = run.rates(), run.contrasts(), run.times(), run.spec
    words = {name: "{} from {} times the start".format(*name.split(", start × "))
             for name in contrasts["setting"]}  # fmt: skip
    runs = with_setting(run.tables["runs"])
    thresholds = threshold_table(runs, ("setting", "width"))
    left, plateaus = run.tables["escapes"], run.plateaus()
    tests = len(contrasts) + int(times["speed"].notna().sum())
    contrasts, times_joint = run.contrasts(together(tests)), run.times(together(tests))
    page = StudyPage(
        title="Does it depend on the optimiser?",
        lead=f"<b>{len(runs):,} students</b> by {count(len(spec.rules), 'rule')} from "
        f"{count(len(spec.scales), 'scale')} of the start, taken to the bottom; {len(left):,} runs "
        "away from split minima.",
        question="Rules, starts and width",
        picture=Picture(
            "optimisers",
            "Share of good runs by rule and scale of the start, for several widths; steps until "
            "split minima are left against the batch size; time on plateaus of gradient flow "
            "against the curvature of their way down.",
            "Every network is trained by its rule alone, then taken to the bottom.",
            lambda: panels.optimisers(rates, times, run.tables["plateaus"]),
        ),
        findings=[
            *contrast.findings(contrasts, "setting", words),
            *speed_findings(times_joint),
            *plateau_findings(plateaus),
        ],
        limits=[
            "One learning rate a rule: none was tuned.",
            "Saddles are split minima of one width; descent is started a step off along the way "
            f"down, and {percent(float(left['left'].mean()) if len(left) else 0.0)} of the runs "
            "left within the steps allowed (the others count with these).",
            "Plateaus are dips of the gradient along gradient flow from small starts; those at one "
            "saddle of one teacher count once. Flows that had not left when time was over count "
            "with the time they had.",
        ],
        method=[
            (
                "Rules",
                "; ".join(_rule(name) for name in spec.rules)
                + f"; {spec.steps:,} steps, {spec.schedule} schedule",
            ),
            ("Good", f"loss ≤ {exact(spec.good)} × variance of the target"),
            ("Threshold", threshold_text(thresholds)),
            ("From lazy to moving", lazy_text(rates)),
            (
                "Gradient flow",
                f"{spec.flows} students a teacher, width {spec.flow_width}, start × "
                f"{exact(spec.flow_scale)}, to time {exact(spec.flow_time)}; curvature: the most "
                "negative eigenvalue of the Hessian at the dip, where it is beyond rounding; time: "
                f"until {percent(GONE)} of the loss there is gone; null: times shuffled among a "
                "teacher's saddles",
            ),
            ("Intervals of the findings", together_text(tests)),
            ("Null", "no change from the narrowest to the widest width; escape times of full "
                     "batches from the same saddles"),
        ],
        tables={"Outcomes": rates, f"Contrasts, {JOINT}": contrasts,
                f"Escape times, {JOINT}": times_joint, "Plateaus of gradient flow": plateaus,
                HEADING: thresholds},
        terms=panels.TERMS,
        references=REFERENCES,
    )  # fmt: skip
    return page.write(run, directory)
