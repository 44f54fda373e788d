"""Tables on the terminal."""

from __future__ import annotations

import math

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape, render
from rich.table import Table

from edt.show.words import number, percent, span

#: How names of columns begin whose numbers are shares of 1.
SHARES = (
    "rate", "spread", "same", "accuracy", "bad_share", "minima_share", "coverage", "good",
    "strict", "held", "holder_won",
)  # fmt: skip
#: Endings of the names of a column's bounds.
BOUNDS = (("_spread_low", "_spread_high"), ("_low", "_high"))
#: Headings where a column's name does not say enough.
HEADINGS = {"rate_remaining": "weights_left", "information": "information_(bits)"}
#: What columns mean, by the title of their table.
NOTES = {
    "win_rates": "group: winning tickets, tickets of losing students, or as many parameters drawn "
    "at random. rate: of wins, 95% Wilson interval over runs; spread: the same over "
    "teachers. shift: how far the ticket's neurons end from where they ended in the unperturbed "
    "network, relative to their size; same: share of them that play their parts again (both over "
    "winning runs).",
    "agreement": "tickets: in each network. only together: the network wins, none of its tickets "
    "does alone; only alone: the other way round. rate together, alone, ticket: of networks, of "
    "at least one ticket, of a single one. information: between the two wins. held: share of the "
    "teacher's neurons that one ticket stands for in networks that win; holder won: how often it "
    "wins alone.",
    "accuracy": "accuracy: on test data, mean over seeds. weights left: share not pruned.",
    "census": "bad, open: minima above the good loss; no minimum reached. bad share: with 95% "
    "interval over targets. distinct: bad minima up to symmetries. coverage: share of bad runs "
    "estimated to end in minima already met (Good-Turing); chao1: how many there are at least, "
    "and the upper end of its interval.",
    "counting_of_subspaces": "log10 minima, critical: numbers of affine subspaces of global "
    "minima and of critical points that symmetry makes; minima share: of their sum; dominated: "
    "those of minima are more. Counts, not basins.",
    "success": "setting: the control's own number. learning: neurons that learn; dimension: "
    "parameters that train. rate: with 95% Wilson interval; rate ordinary: of the same starts "
    "trained in the ordinary way; p: exact test that they are equal (McNemar).",
    "attribution": "Logistic regressions of success on ln dimension and ln learning neurons. b: "
    "slopes. p: likelihood ratio test against the regression on both.",
    "escape_dimensions": "added: neurons. clear: points whose count is beyond doubt; of these, "
    "agree: the closed form gives the same index; strict: share with a way down; mean index: "
    "escape dimensions, 95% interval over minima.",
    "ends": "narrow, width: of the bad minima, and of the networks they were set into. good: "
    "share of starts that end in a good minimum, 95% interval over minima. drop, "
    "distance: medians. left: starts that left the saddle by plain descent; escape steps: how "
    "soon, median.",
    "plateaus_of_gradient_descent": "start, end, plateau index: escape dimensions there, means; "
    "with 95% interval over networks. shut: plateaus without a way down.",
}


def print_experiment(console: Console, tables: dict[str, pd.DataFrame]) -> None:
    """Every table of an experiment's summary; shares between 0 and 1 in per cent.

    A table that is wider than the console goes on below, with the columns that tell its rows apart.
    """
    for title, frame in tables.items():
        columns = _columns(frame)
        blocks = _blocks(columns, _keys(frame), console.width)
        for k, block in enumerate(blocks):
            table = new_table(title.replace("_", " "))
            if k > 0:
                table.title = None
                console.print()
            for heading, _ in block:
                table.add_column(heading, justify="right", no_wrap=True)
            for row in zip(*[cells for _, cells in block], strict=True):
                table.add_row(*row)
            console.print(table)
        if title in NOTES:
            console.print(f"[dim]{escape(NOTES[title])}[/]")


#: A heading and the cells below it.
Column = tuple[str, list[str]]


def _columns(frame: pd.DataFrame) -> list[Column]:
    """Headings and cells; a column and its bounds are one."""
    names = [str(name) for name in frame.columns]
    bounds: dict[str, tuple[str, str]] = {}
    taken: dict[str, str] = {}
    for low, high in BOUNDS:
        for name in names:
            stem = name.removesuffix(low)
            pair = (name, f"{stem}{high}")
            if name.endswith(low) and pair[1] in names and name not in taken:
                bounds[stem] = pair
                taken |= dict.fromkeys(pair, stem)
    out: list[Column] = []
    for name in names:
        stem = taken.get(name, name)
        if name in taken and (stem in names or name == bounds[stem][1]):
            continue
        cells = [_cell(name, value) for value in frame[name].tolist()] if name == stem else None
        if stem in bounds:
            pairs = zip(*[frame[bound].tolist() for bound in bounds[stem]], strict=True)
            ranges = [_range(stem, low, high) for low, high in pairs]
            cells = ranges if cells is None else [
                f"{cell} [dim]{wide}[/]" for cell, wide in zip(cells, ranges, strict=True)
            ]  # fmt: skip
        out.append((HEADINGS.get(stem, stem).replace("_", "\n"), cells or []))
    return out


def _keys(frame: pd.DataFrame) -> int:
    """How many of the first columns tell all rows apart."""
    for count in range(1, len(frame.columns)):
        if not frame.iloc[:, :count].duplicated().any():
            return count
    return 1


def _blocks(columns: list[Column], keys: int, room: int) -> list[list[Column]]:
    """Columns in as many blocks as it takes for each to fit; the first ``keys`` are in all."""

    def width(column: Column) -> int:
        texts = [*column[0].split("\n"), *column[1]]
        return 2 + max(cell_len(render(text).plain) for text in texts)

    first = columns[:keys]
    blocks = [list(first)]
    used = start = sum(map(width, first))
    for column in columns[keys:]:
        if used + width(column) > room + 2 and len(blocks[-1]) > keys:
            blocks.append(list(first))
            used = start
        blocks[-1].append(column)
        used += width(column)
    return blocks


def _cell(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        share = name.startswith(SHARES)
        return percent(value) if share else number(value)
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _range(name: str, low: float, high: float) -> str:
    if name.startswith(SHARES):
        return span(low, high)
    return "" if math.isnan(low) else f"{number(low)}–{number(high)}"


def new_table(title: str) -> Table:
    """An empty table in the style of all of them."""
    return Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="dim",
        header_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
