"""Criteria on a six-layer network of width 100 against plain PyTorch written from the papers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from small_trainings import threads

import edt
from benchmarks import plain_sparse
from benchmarks.density import DENSITIES, SIZES, pruned, row

ROOT = Path(__file__).parents[2]
METHODS = ("snip", "grasp", "synflow")


@pytest.fixture(scope="module")
def digits() -> edt.Task:
    return edt.tasks.digits("train")


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("method", METHODS)
def test_masks_of_the_same_weights_are_the_same(
    digits: edt.Task, method: str, density: float
) -> None:
    networks = edt.Ensemble.init(
        [tuple(SIZES[1:-1])], [0], d_in=SIZES[0], d_out=SIZES[-1], activation="relu", scheme="he"
    )
    # Matrices of a hundred: on a busy machine torch's threads would wait for each other.
    with threads(1):
        theirs = plain_sparse.start_masks(
            method, networks.to_module(0), digits.x, digits.y, density, 0, biases=True
        )
    ours = pruned(method, digits, networks, density)
    found = [ours.weight_mask(0, layer) for layer in range(6)]
    apart = sum(int((a != b).sum()) for a, b in zip(found, theirs, strict=True))
    kept = sum(int(mask.sum()) for mask in theirs)
    # Scores equal to rounding, one mask counting twice; and the path that edt keeps.
    assert apart <= 2e-3 * kept, (apart, kept)


def test_the_page_says_what_was_measured() -> None:
    page = (ROOT / "docs/lottery.md").read_text()
    record = json.loads((ROOT / "benchmarks/results/density.json").read_text())
    rows = [row(one["method"], one["density"], one["edt"], one["torch"]) for one in record["rows"]]
    assert all(line in page for line in rows)
    (once,) = record["again"]
    again = row(once["method"], once["density"], once["edt"], once["torch"])
    assert again in page and (once["method"], once["density"]) == ("grasp", 0.316)
    assert {len(one[side]) for one in record["rows"] for side in ("edt", "torch")} == {8}
    assert {len(once[side]) for side in ("edt", "torch")} == {24}

    def holds(line: str) -> bool:
        low, high = re.findall(r"\((\S+) to (\S+)\) \|$", line)[0]
        return float(low) <= 0.0 <= float(high)

    missing = [line for line in rows if not holds(line)]
    assert len(rows) == 18 and "Seventeen of the eighteen intervals hold 0" in page
    assert len(missing) == 1 and missing[0].startswith("| GraSP | 31.6%") and holds(again)
    # What dropping all zeros costs at 3.2%, in both.
    means = {
        (one["method"], side): 100 * sum(one[side]) / 8
        for one in record["rows"] for side in ("edt", "torch") if one["density"] == 0.032
    }  # fmt: skip
    lower = [means["set", side] - means["set zeros", side] for side in ("edt", "torch")]
    assert [round(drop) for drop in lower] == [8, 10] and "some eight and ten points" in page
