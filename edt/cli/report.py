"""``edt report``: write the report of a finished run again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edt.places import Folder

EPILOG = """[bold]Examples[/bold]

[cyan]edt report edt-demo[/cyan] : writes edt-demo/report.html and edt-demo/figures/

[cyan]edt report spec --json[/cyan] : the files, for machines"""


def report(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="Directory or URL of a finished run.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the report of a finished run: one HTML page that holds everything, and its figures."""
    from edt.studies.reports import report_on

    path = report_on(directory)
    if as_json:
        figures: list[Folder] = list((path.parent / "figures").glob("*"))
        print(json.dumps({"report": str(path), "figures": sorted(map(str, figures))}, indent=1))
    else:
        print(path)
