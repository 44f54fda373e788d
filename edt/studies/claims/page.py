"""The page of the four claims: for each the evidence for and against, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edt.locations import Folder, Location, place
from edt.runs.experiment import Experiment
from edt.runs.store import inside
from edt.show import html
from edt.show.answer import Answer
from edt.show.words import count, listed
from edt.studies.claims.run import STUDIES
from edt.studies.common.findings import Finding, bullets_of, verdict_of

__all__ = ["CLAIMS", "headline", "write_claims_report"]

#: Letter to what is claimed, and what would change the verdict.
CLAIMS: dict[str, tuple[str, str]] = {
    "a": (
        "Winning tickets fail when the rest is changed",
        "a share of the failures of fresh neurons in the same rests, prevented by keeping the "
        "ticket, whose interval lies above a half (the claim is false) or below it (it is true)",
    ),
    "b": (
        "Wide networks are no multi-start over the subnetworks inside",
        "networks that win just where some subset of their neurons wins alone, or a number of "
        "winning subsets that foretells which networks win",
    ),
    "c": (
        "Width adds ways out of bad ends",
        "ends with a neuron more that get away no more often than ends that are only kicked, or "
        "critical points of high loss without more ways down",
    ),
    "d": (
        "Bad minima become rare with width",
        "a rate of certified bad minima at large width that is not below the one at small width",
    ),
}
#: What a verdict is called on the page.
WORDS = {
    "supported": "supported by these runs",
    "contradicted": "contradicted by these runs",
    "mixed": "mixed: evidence both ways",
    "undecided": "not decided by these runs",
}


def gathered(runs: Mapping[str, Experiment]) -> dict[str, list[tuple[str, Finding]]]:
    """Findings of each claim, with the study each comes from."""
    out: dict[str, list[tuple[str, Finding]]] = {claim: [] for claim in CLAIMS}
    for name, run in runs.items():
        for finding in STUDIES[name].findings(run):
            out[finding.claim].append((name, finding))
    return out


def headline(findings: Mapping[str, Sequence[tuple[str, Finding]]]) -> list[str]:
    """One sentence a claim: its letter, the claim, and what the findings come to."""
    return [
        f"({claim}) {text}: {WORDS[verdict_of([found for _, found in findings[claim]])]}."
        for claim, (text, _) in CLAIMS.items()
    ]


def write_claims_report(runs: Mapping[str, Experiment], directory: Location) -> Folder:
    """Write ``report.html`` beside the studies' folders; path of the page.

    Args:
        runs: of `edt.studies.claims.run.run_claims`.
        directory: that the runs are in.
    """
    folder = place(directory)
    found = gathered(runs)
    body = [html.section("In short", html.bullets(headline(found)))]
    for claim, (text, change) in CLAIMS.items():
        selected = [finding for _, finding in found[claim]]
        decided = [finding for finding in selected if finding.speaks != "silent"]
        silent = [finding for finding in selected if finding.speaks == "silent"]
        sources = dict.fromkeys(name for name, _ in found[claim])
        links = html.Markup(
            ", ".join(f'<a href="{name}/report.html">{name}</a>' for name in sources)
        )
        parts = [html.paragraph(f"<b>{WORDS[verdict_of(selected)].capitalize()}.</b>")]
        if decided:
            parts.append(html.bullets(bullets_of(decided)))
        if silent:
            parts.append(
                html.details(
                    f"{count(len(silent), 'test')} that decided nothing",
                    html.bullets(bullets_of(silent)),
                )
            )
        parts.append(html.paragraph(f"What would change this: {change}."))
        parts.append(html.paragraph("From: " + links if links else "No test spoke about it."))
        body.append(html.section(f"({claim}) {text}", *parts))
    sizes = [
        (name, ", ".join(f"{table} {len(rows):,} rows" for table, rows in run.tables.items()))
        for name, run in runs.items()
    ]
    body.append(html.section("Studies", html.definitions(sizes)))
    title = "Four claims about width, and what these runs say of each"
    lead = (
        "Every sentence is made by a test on the runs' tables and names its interval or its null. "
        "Teachers are the unit; with few of them intervals are wide."
    )
    verdicts = [verdict_of([finding for _, finding in found[claim]]) for claim in CLAIMS]
    ways = [(word, sum(verdict == word for verdict in verdicts)) for word in WORDS]
    told = listed([f"{n} {WORDS[word]}" for word, n in ways if n])
    answer = Answer(
        f"Of {len(CLAIMS)} claims: {told}.",
        [
            (f"{sum(verdict == word for verdict in verdicts)} of {len(CLAIMS)}", WORDS[word])
            for word in ("supported", "contradicted")
        ],
    )
    path = folder / "report.html"
    footer = "One folder a study: <code>crossed</code>, <code>subsets</code>, ..."
    inside.write(folder, path.name, html.page(title, lead, answer, body, footer).encode())
    return path
