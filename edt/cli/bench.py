"""``edt bench``: how fast edt is on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

EPILOG = """[bold]Examples[/bold]

[cyan]edt bench[/cyan] : half a minute; keep other programs quiet

[cyan]edt bench --threads 1 --json > one-thread.json[/cyan]

[cyan]make bench[/cyan] in the repository compares with more peers, JAX among them."""


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

    if threads is not None:
        torch.set_num_threads(check_threads(threads))
    isa = _core.isa()
    console = console_for(as_json)
    console.print(f"[bold]{torch.get_num_threads()} threads, {isa}[/]; PyTorch: baddbmm a width")
    rows = []
    for figure in measure(quick):
        # One call of a few steps says how fast nobody is beside another.
        ratio = None if quick else figure.ratio
        beside = "" if ratio is None else f"   PyTorch {figure.peer:10.3f}   {ratio:5.1f}x"
        line = f"{figure.name:<52}{figure.value:9.3f} {figure.unit}{beside}"
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
