"""``edt report``: write the report of a finished run again."""

from __future__ import annotations

import json
from typing import Annotated

import typer

EPILOG = """[bold]Examples[/bold]

[cyan]edt report edt-demo[/cyan] : writes edt-demo/report.html

[cyan]edt report edt-demo --figures png,pdf[/cyan] : and its figures in edt-demo/figures/

[cyan]edt report spec --json[/cyan] : the files, for machines"""


def report(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="Directory or URL of a finished run.")
    ],
    figures: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Keep the figures as files too: png, svg, pdf."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the report of a finished run: one HTML page that holds everything."""
    from edt.cli.outcome import console_for
    from edt.show.publish import figures_kept
    from edt.studies.reporting import report_on

    formats = [name.strip() for name in figures.split(",")] if figures else []
    with console_for(True).status("report") as shown, figures_kept(formats, shown.update):
        path = report_on(directory)
    if as_json:
        kept = [path.parent / "figures" / f"*.{name}" for name in formats]
        files = [str(file) for each in kept for file in each.parent.glob(each.name)]
        print(json.dumps({"report": str(path), "figures": sorted(files)}, indent=1))
    else:
        print(path)
