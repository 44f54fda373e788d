"""``edt bench``: how fast edt is on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

EPILOG = """[bold]Examples[/bold]

[cyan]edt bench[/cyan] : half a minute; keep other programs quiet

[cyan]edt bench --threads 1 --json > one-thread.json[/cyan]

[cyan]make bench[/cyan] in the repository compares with more peers, JAX among them."""


#: Letters of a name with its unit, at most: with three numbers beside it a line has 80.
NAME = 55


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds; the figures mean little.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="Threads.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure edt's speed here: training steps, Hessian-vector products, Hessians."""
    import torch

    from edt import _core
    from edt.bench import measure
    from edt.cli.outcome import console_for
    from edt.ops.threads import check_threads
    from edt.show.words import count, number

    if threads is not None:
        torch.set_num_threads(check_threads(threads))
    isa = _core.isa()
    console = console_for(as_json)
    console.print(
        f"[bold]{count(torch.get_num_threads(), 'thread')}, {isa}[/]; PyTorch: baddbmm a width"
    )
    others = "" if quick else f"{'PyTorch':>9}{'times':>7}"
    console.print(f"{'':<{NAME}}{'edt':>9}{others}", soft_wrap=True)
    rows = []
    for figure in measure(quick):
        # One call of a few steps says how fast nobody is beside another.
        ratio = None if quick else figure.ratio
        beside = (
            ""
            if ratio is None or figure.peer is None
            else f"{number(figure.peer, 3):>9}{number(ratio):>7}"
        )
        line = f"{f'{figure.name}, {figure.unit}':<{NAME}}{number(figure.value, 3):>9}{beside}"
        console.print(line, soft_wrap=True)
        rows.append(
            {
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "pytorch": figure.peer,
                "ratio": ratio,
            }
        )
    if as_json:
        facts = {"threads": torch.get_num_threads(), "isa": isa, "torch": torch.__version__}
        print(json.dumps({**facts, "figures": rows}, indent=1))
