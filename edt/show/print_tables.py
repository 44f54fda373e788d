"""Tables on the terminal."""

from __future__ import annotations

import textwrap

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edt.show.columns import Terms, named_columns

#: What columns mean, by the title of their table, where their headings do not say it.
NOTES = {
    "win_rates": "Tickets: winning ones, those of losing students, or as many parameters drawn at "
    "random. Rate: of wins, 95% Wilson interval over networks. Distance of end: how far the "
    "ticket's neurons end from where they ended in the unperturbed network, relative to their "
    "size; same neurons: share of them that play their parts again (both over winning runs).",
    "agreement": "Only the network: it wins, none of its tickets does alone. Information: between "
    "the two wins. Parts held by one ticket: of the teacher's neurons, in networks that win; which "
    "won alone: how often it wins alone.",
    "accuracy": "Accuracy on test data, mean over seeds.",
    "census": "Bad: minima above the good loss; neither: no minimum reached. Bad share: with 95% "
    "interval over targets. Distinct: bad minima up to symmetries. Coverage: share of bad runs "
    "estimated to end in minima already met (Good-Turing); Chao1: how many there are at least.",
    "counting_of_subspaces": "Numbers of affine subspaces of global minima and of critical points "
    "that symmetry makes. Counts, not basins.",
    "success_of_every_control": "k or d: the control's own number. Parameters: those that train. "
    "Rate: of wins, with 95% Wilson interval; ordinary: of the same starts trained in the ordinary "
    "way; p-value: exact test that the two are equal (McNemar).",
    "attribution": "Logistic regressions of success on ln parameters and ln neurons that learn. "
    "p-value: likelihood ratio test against the regression on both.",
    "escape_dimensions": "Added: neurons. Beyond doubt: points whose count is; of these, agrees: "
    "the closed form gives the same index. Escape dimensions: 95% interval over minima.",
    "ends": "Narrow, width: of the bad minima, and of the networks they were set into. Reach good: "
    "share of runs, 95% interval over minima. Loss drop, distance, steps: medians.",
    "plateaus_of_gradient_descent": "Open: escape dimensions, means with 95% interval over "
    "students. Shut: plateaus without a way down.",
}


def print_experiment(
    console: Console, tables: dict[str, pd.DataFrame], terms: Terms | None = None
) -> None:
    """Every table of an experiment's summary, in the words of its page.

    A table that is wider than the console goes on below, with the columns that tell its rows apart.

    Args:
        console: to print on.
        tables: by title.
        terms: words of the study.
    """
    for title, frame in tables.items():
        columns = [(_lines(name), cells) for name, cells in named_columns(frame, terms)]
        console.print(f"\n[bold]{escape(_titled(title))}[/]")
        blocks = _blocks(columns, _keys(frame), console.width)
        for k, block in enumerate(blocks):
            table = new_table("")
            if k > 0:
                console.print()
            for heading, _ in block:
                table.add_column(escape(heading), justify="right", no_wrap=True)
            for row in zip(*[cells for _, cells in block], strict=True):
                table.add_row(*map(escape, row))
            console.print(table)
        if title in NOTES:
            console.print(f"[dim]{escape(NOTES[title])}[/]")


def _titled(title: str) -> str:
    words = title.replace("_", " ")
    return words[:1].upper() + words[1:]


#: A heading and the cells below it.
Column = tuple[str, list[str]]


def _keys(frame: pd.DataFrame) -> int:
    """How many of the first columns tell all rows apart."""
    for count in range(1, len(frame.columns)):
        if not frame.iloc[:, :count].duplicated().any():
            return count
    return 1


def _blocks(columns: list[Column], keys: int, room: int) -> list[list[Column]]:
    """Columns in as few blocks as it takes for each to fit; the first ``keys`` are in all.

    Of all ways to cut them that one with the fewest columns that stand alone, and then with the
    narrowest blocks.
    """
    first, rest = columns[:keys], columns[keys:]
    start = sum(map(_width, first))
    widths = list(map(_width, rest))
    # Best cut of the first n columns: (blocks, of one column, widest block), and where the last
    # block begins.
    best: list[tuple[tuple[int, int, int], int]] = [((0, 0, 0), 0)]
    for end in range(1, len(rest) + 1):
        found = []
        for begin in range(end):
            wide = start + sum(widths[begin:end])
            if wide <= room + GAP or end == begin + 1:
                (blocks, lonely, widest), _ = best[begin]
                cost = (blocks + 1, lonely + (end == begin + 1), max(widest, wide))
                found.append((cost, begin))
        best.append(min(found))
    cuts, end = [], len(rest)
    while end > 0:
        cuts.append((best[end][1], end))
        end = best[end][1]
    return [[*first, *rest[begin:end]] for begin, end in reversed(cuts)] or [list(first)]


#: Columns between two columns of a table.
GAP = 2


def _width(column: Column) -> int:
    return GAP + max(cell_len(text) for text in [*column[0].split("\n"), *column[1]])


def _lines(heading: str) -> str:
    """A heading in lines of at most a dozen characters, or of a word."""
    return "\n".join(textwrap.wrap(heading, HEADING, break_long_words=False)) or " "


#: Characters of a line of a heading.
HEADING = 11


def new_table(title: str) -> Table:
    """An empty table in the style of all of them."""
    return Table(
        title=f"\n{title}" if title else None,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="dim",
        header_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
    )
