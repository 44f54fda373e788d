"""``edt claims``: one page for the four claims."""

from __future__ import annotations

import json

from edt.cli.run import AsJson, Fresh, NoProgress, Out, Quick
from edt.locations import place

EPILOG = """[bold]Examples[/bold]

[cyan]edt claims --quick[/cyan] : seconds, to see that everything works; it decides little

[cyan]edt claims --out claims[/cyan] : the full studies; Ctrl-C is safe, the same command goes on

Each claim is supported, contradicted, mixed or undecided by tests on the studies' tables
([cyan]edt run crossed[/cyan], [cyan]subsets[/cyan], [cyan]failures[/cyan] and
[cyan]index-loss[/cyan])."""


def claims(
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
) -> None:
    """What the evidence says of four claims: winning tickets fail when the rest is changed, wide
    networks are no multi-start, width adds ways out of bad ends, bad minima become rare."""
    from edt.cli.outcome import console_for
    from edt.studies.claims.page import gathered, headline, write_claims_report
    from edt.studies.claims.run import run_claims

    folder = place(out or "edt-claims" + ("-quick" if quick else ""))
    runs = run_claims(folder, quick=quick, fresh=fresh, progress=not no_progress)
    path = write_claims_report(runs, folder)
    said = headline(gathered(runs))
    if as_json:
        print(json.dumps({"claims": said, "report": str(path)}, indent=1))
    else:
        console = console_for(as_json)
        for sentence in said:
            console.print(sentence, markup=False)
        console.print(f"Report: {path}", markup=False, soft_wrap=True)
