"""The report of multi-starts of networks of modules."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.locations import Folder, Location
from edt.show.answer import points_tile
from edt.show.publish import Picture
from edt.show.words import number, percent, points, span
from edt.studies.common.findings import Finding
from edt.studies.common.nets import title_of
from edt.studies.common.study_page import StudyPage
from edt.studies.common.thresholds import HEADING_ACCURACY, accuracy_table, accuracy_text
from edt.studies.multi_start_net import panels
from edt.studies.multi_start_net.run import MultiStartNet, winning_accuracy

__all__ = ["findings", "write_multi_net_report"]

CUT = {
    "units": "narrow networks: a share of every hidden layer's channels or units",
    "weights": "sparse networks: a share of every layer's weights, dealt out at random",
}


def findings(table: pd.DataFrame) -> list[Finding]:
    """What the numbers say of claim b, that wide networks are no multi-start over their tickets.

    For it: the network wins more, or less, often than at least one of its tickets does alone, by
    the interval of the paired difference. Against it: nothing here can be; equal rates are silent.

    Args:
        table: `edt.studies.multi_start_net.run.agreement`.
    """
    found = []
    for row in table.to_dict("records"):
        rates = (
            f"{percent(row['rate_together'])} "
            f"({span(row['rate_together_low'], row['rate_together_high'])}) of "
            f"{row['networks']} networks win, and in {percent(row['rate_alone'])} "
            f"({span(row['rate_alone_low'], row['rate_alone_high'])}) at least one of "
            f"{row['parts']} tickets wins alone"
        )
        ahead = row["ahead"], row["ahead_low"], row["ahead_high"]
        gap, best = points(*ahead), f"the best of {row['parts']} parts"
        effect = points_tile(*ahead, f"of wins, networks against {best}")
        if row["ahead_low"] > 0.0 or row["ahead_high"] < 0.0:
            found.append(
                Finding("b", "for", f"{rates}: {gap}, which no multi-start would give.", effect)
            )
        else:
            found.append(
                Finding("b", "silent", f"{rates}: {gap}, no difference that shows.", effect)
            )
        gain = row["gain"], row["gain_low"], row["gain_high"]
        if row["gain_low"] > 0.0 or row["gain_high"] < 0.0:
            found.append(
                Finding(
                    "b", "for",
                    f"The network's accuracy differs from that of the best of its "
                    f"{row['parts']} tickets by {points(*gain)}.",
                    points_tile(*gain, f"of accuracy, networks against {best}"),
                )
            )  # fmt: skip
        if row["information"] > row["information_limit"]:
            found.append(
                Finding(
                    "b", "against",
                    f"Networks with a winning ticket win more often: {number(row['information'])} "
                    f"bits between the wins (by chance at most "
                    f"{number(row['information_limit'])}, 95%).",
                    (number(row["information"]), "bits between wins of networks and of parts (by "
                     f"chance at most {number(row['information_limit'])}, 95%)"),
                )
            )  # fmt: skip
    return found


def write_multi_net_report(run: MultiStartNet, directory: Location) -> Folder:
    """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
    table, spec = run.agreement(), run.spec
    runs = run.tables["runs"]
    level, by = winning_accuracy(runs, spec.level), ("parts", "who")
    best = runs.groupby(["parts", "seed"], as_index=False)["accuracy"].max()
    who = np.where(best["parts"] == 1, "network", "best ticket")
    levels = accuracy_table(best.assign(who=who), level, by)
    method = [pair for pair in spec.method if pair[0] != "Win"]
    page = StudyPage(
        title="Is a wide network of modules its tickets, started together?",
        lead=f"<b>{spec.seeds} networks</b> ({title_of(spec.net, spec.factor)} on {spec.on}) "
        "were trained whole, and the disjoint tickets inside each alone, from the same weights and "
        "with the same order of samples.",
        question="Together and alone",
        picture=Picture(
            "together",
            "Wins of networks, and of their tickets alone.",
            "95% intervals over networks.",
            lambda: panels.together(table),
        ),
        findings=findings(table),
        limits=[
            "The tickets are disjoint; a network holds many more that overlap.",
            "A ticket has the initial scale it has inside: alone that is smaller than a narrow "
            "network's own.",
            "A win is a test accuracy under one short protocol.",
        ],
        method=[
            *method,
            ("Tickets", CUT[spec.cut]),
            (
                "Win",
                f"a test accuracy at or above the {100 * spec.level:g}% quantile of single "
                f"tickets' where there are {min(spec.parts)}",
            ),
            ("Level", accuracy_text(levels, level, by)),
        ],
        tables={"Agreement": table, HEADING_ACCURACY: levels},
        terms=panels.TERMS,
        references=["J. Frankle, M. Carbin, The lottery ticket hypothesis, ICLR 2019."],
    )
    return page.write(run, directory)
