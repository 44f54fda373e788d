"""``edt doctor``: what works here, and what to do about what does not."""

from __future__ import annotations

import json
from typing import Annotated

import typer

EPILOG = """[bold]Examples[/bold]

[cyan]edt doctor[/cyan]

[cyan]edt doctor --json > doctor.json[/cyan] : to attach to a bug report

Exit code 0 when edt can run, 1 when something it needs is missing."""

MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[bold red]problem[/]"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the installation: compiled core, instruction set, threads, packages, GPU.

    A [green]note[/green] is something optional that is not there; a [red]problem[/red] keeps edt
    from working. Each comes with what to do.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from edt.cli.health import examine

    findings = examine()
    broken = sum(finding.state == "problem" for finding in findings)
    if as_json:
        rows = [finding.to_dict() for finding in findings]
        print(json.dumps({"ok": not broken, "findings": rows}, indent=1))
    else:
        console = Console(highlight=False)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
        for finding in findings:
            table.add_row(MARKS[finding.state], finding.name, escape(finding.text))
            if finding.advice:
                table.add_row("", "", f"[dim]-> {escape(finding.advice)}[/]")
        console.print(table)
        words = f"{broken} problem{'s' if broken > 1 else ''}" if broken else "edt can run here"
        console.print(f"\n[bold]{words}[/]")
    if broken:
        raise typer.Exit(1)
