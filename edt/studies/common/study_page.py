"""A study's page: one figure, what the numbers say, the tables, how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from edt.locations import Folder, Location
from edt.runs.experiment import Experiment
from edt.show import html
from edt.show.answer import Answer
from edt.show.columns import Terms, named_columns
from edt.show.html import Column
from edt.show.publish import Picture, write_page
from edt.studies.common.findings import Finding, answer_of, bullets_of, claims_of
from edt.studies.width.protocol import software

__all__ = ["StudyPage", "plain_table"]


@dataclass(frozen=True)
class StudyPage:
    """What is particular to the page of one study.

    Attributes:
        title, lead: of the page.
        question: heading of the first section.
        picture: its figure.
        findings: sentences generated from tests on the tables.
        limits: what the page does not say.
        method: (what, how) pairs.
        tables: heading to table, all of whose columns are shown.
        terms: words for what they hold.
        references: sources.
        answer: in a sentence and two or three numbers; default what the findings come to.
    """

    title: str
    lead: str
    question: str
    picture: Picture
    findings: Sequence[Finding]
    limits: Sequence[str]
    method: Sequence[tuple[str, str]]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)
    references: Sequence[str] = ()
    answer: Answer | None = None

    def write(self, run: Experiment, directory: Location) -> Folder:
        """Write ``report.html``, the figure and ``provenance.json``; path of the page."""
        said = bullets_of(self.findings) or ["The data decide nothing: see the tables."]
        tested = (
            [html.paragraph(f"What tests say of the claim that {claims_of(self.findings)}:")]
            if self.findings
            else []
        )

        def body(figures: dict[str, str], facts: dict[str, Any]) -> list[str]:
            return [
                html.section(
                    self.question, figures[self.picture.name], *tested, html.bullets(said)
                ),
                html.section("What this does not say", html.bullets(list(self.limits))),
                html.section(
                    "How it was done",
                    html.definitions(list(self.method)),
                    *(
                        html.details(name, plain_table(table, self.terms))
                        for name, table in self.tables.items()
                    ),
                    html.details("Software and machine", html.definitions(software(facts))),
                    html.details("References", html.bullets(list(self.references))),
                ),
            ]

        names = ", ".join(f"<code>{name}.parquet</code>" for name in run.tables)
        most = max(map(len, run.tables.values()), default=0)
        answer = self.answer or answer_of(self.findings, most)
        return write_page(
            run, directory, [self.picture], self.title, self.lead, answer, body, f"Tables: {names}"
        )


def plain_table(table: pd.DataFrame, terms: Terms | None = None) -> html.Markup:
    """A table with all its columns, in the words of the study; bounds beside their number."""
    columns = named_columns(table, terms)
    named = pd.DataFrame({str(k): cells for k, (_, cells) in enumerate(columns)})

    def column(k: int) -> Column:
        return Column(columns[k][0], lambda row: str(row[str(k)]))

    return html.table(named, [column(k) for k in range(len(columns))])
