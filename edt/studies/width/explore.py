"""A width sweep as something to play with: splits and descents in the reader's browser.

    python -m edt.studies.width.explore RUN FOLDER

writes ``data.json`` and ``index.html`` from a finished sweep; ``docs/explore`` is made so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import torch

from edt.ensemble import Ensemble
from edt.files import CheckpointError
from edt.locations import Location, place
from edt.lottery import at_reference_scale
from edt.runs.store import inside
from edt.show import html
from edt.show.explore import LEAD, TITLE, computable, explore_data, section
from edt.studies.common.targets import make_task
from edt.studies.width.run import WidthSweep
from edt.studies.width.spec import WidthSweepSpec


def explorable(sweep: WidthSweep, *, count: bool = False) -> dict[str, Any] | None:
    """What the page embeds; None where it could not compute these networks, or none is stuck.

    Args:
        sweep: with a directory that has the networks; tables alone are not enough.
        count: also train the second tab's networks here, as a check (a minute).
    """
    spec = sweep.spec
    if not spec.realisable or sweep.path is None or not len(sweep.splits):
        return None
    task = make_task(spec)
    if not computable(task, task.info["teacher"]):
        return None
    if set(sweep.splits["target"]) != set(range(spec.targets)):
        return None

    def start(seeds: list[int], width: int) -> Ensemble:
        return students(spec, seeds, width)

    try:
        return explore_data(
            task, sweep.runs, sweep.splits, sweep.networks, good=spec.good, start=start, count=count
        )
    except CheckpointError:
        return None


def students(spec: WidthSweepSpec, seeds: list[int], width: int) -> Ensemble:
    """Networks of one width as the sweep starts them."""
    drawn = Ensemble.init(
        [width],
        seeds,
        d_in=spec.d_in,
        d_out=1,
        activation=spec.activation,
        scheme=spec.init,
        scale=spec.init_scale,
        bias=spec.bias,
        dtype=torch.float64,
    )
    if not spec.fixed_scale:
        return drawn
    return at_reference_scale(drawn, spec.init, spec.reference_width)


def page(data: Mapping[str, Any]) -> str:
    """The explorable as a page of its own."""
    return html.page(TITLE, LEAD, None, [section(data, alone=True)], FOOTER)


FOOTER = (
    "Made by <code>python -m edt.studies.width.explore</code> from the networks of a width sweep. "
    "Every loss, matrix B and number of ways down is computed again when this page opens."
)


def write(run: Location, folder: Location) -> None:
    """Write ``data.json`` and ``index.html`` from the width sweep in ``run``.

    Raises:
        ValueError: nothing there to explore.
    """
    data = explorable(WidthSweep.load(run), count=True)
    if data is None:
        raise ValueError(f"{run}: no stuck networks of two inputs, tanh with biases, in this sweep")
    text = json.dumps(data, separators=(",", ":")) + "\n"
    inside.write(place(folder), "data.json", text.encode())
    inside.write(place(folder), "index.html", page(json.loads(text)).encode())


if __name__ == "__main__":
    write(*sys.argv[1:3])
