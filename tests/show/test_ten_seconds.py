"""A stranger says the answer of each page after ten seconds: lead and tiles of the rendered page,
against the run's Parquet files, read by pandas alone and counted anew here.
"""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from small_pages import SPECS

from edt.show.words import percent, points


class Tables(dict):
    """Tables of a run, each read when it is asked for."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __missing__(self, name):
        self[name] = pd.read_parquet(self.folder / f"{name}.parquet")
        return self[name]


def share(won):
    return percent(float(np.mean(won)))


def at_ends(table, by, won, *more):
    """Shares at the least and at the greatest value of a column, and the two values."""
    ends = sorted({table[by].min(), table[by].max()})
    return [(share(table.loc[table[by] == end, won]), (f"{end:g}", *more)) for end in ends]


def width_sweep(t, spec):
    r = spec.reference_width
    own = t["runs"][t["runs"]["width"] == r]
    yield share(own["loss"] <= own["threshold"]), (f"{r} neurons",)
    split = t["splits"].assign(down=t["splits"]["n_neg"] > 0)
    minima = split.groupby(["target", "width", "seed"])["down"].mean()
    if minima.isin([0.0, 1.0]).all():
        yield share(minima), ("open a way down",)


def sweep(t, spec):
    won = t["runs"]["loss"] <= t["runs"]["threshold"]
    yield share(won), ("all runs",)
    best = won.groupby([t["runs"]["width"], t["runs"]["lr"]]).mean()
    width, lr = best.idxmax()
    yield percent(float(best.max())), (f"width {width}", f"{lr:g}")


def safran_shamir(t, spec):
    runs = t["runs"]
    own = runs[runs["teacher"] == runs["teacher"].max()]
    assert (own["spurious"] == (own["loss"] > 1e-3)).all()
    yield from at_ends(own, "student", "spurious", "spurious minimum")


def loss_levels(t, spec):
    wide = t["runs"][t["runs"]["width"] > 1]
    for bias, words in ((False, "without biases"), (True, "with biases")):
        yield share(wide.loc[wide["bias"] == bias, "end"] == "plateau"), (words,)


def census(t, spec):
    runs = t["runs"].assign(bad=t["runs"]["outcome"] == "bad")
    yield from at_ends(runs, "width", "bad", "bad minimum")
    yield str(runs.loc[runs["bad"], "minimum"].nunique()), ("different bad minima",)


def escape(t, spec):
    points, starts = t["points"], t["starts"]
    clear = points[points["clear"]]
    yield share(clear["n_neg"] > 0), ("way down",)
    widest = starts[starts["width"] == starts["width"].max()]
    yield share(widest["outcome"] == "good"), (f"width {starts['width'].max()}",)
    agree = (clear["n_neg"] == clear["predicted_neg"]).sum()
    yield f"{agree} of {len(clear)}", ("closed form",)


def lottery(t, spec):
    runs = t["runs"]
    for method, remaining, words in (
        ("ticket", runs["remaining"].min(), "winning tickets"),
        ("reinit", runs["remaining"].min(), "new weights"),
        ("ticket", 1.0, "all weights"),
    ):
        own = runs[(runs["method"] == method) & (runs["remaining"] == remaining)]
        yield share(own["accuracy"]), (words,)


def perturb_rest(t, spec):
    runs = t["runs"][t["runs"]["group"] == "winning"]
    yield from at_ends(runs, "size", "win", "rest is changed")
    rates = t["tickets"].groupby("target")["win"].mean()
    of = runs.groupby("ticket")["target"].first()
    yield share(rates.loc[of]), ("fresh students",)


def multi_start(t, spec):
    own = t["runs"][t["runs"]["width"] == t["runs"]["width"].max()]
    yield share(own["together"]), (f"width {own['width'].iloc[0]}",)
    yield share([np.any(won) for won in own["alone"]]), ("ticket that wins alone",)


def controls(t, spec):
    runs = t["runs"]
    yield from at_ends(runs[runs["control"] == "width"], "width", "win", "ordinary networks")
    other = runs[runs["control"] != "width"]
    widest = other[other["width"] == other.groupby("control")["width"].transform("max")]
    most = widest[widest["dimension"] == widest["dimension"].max()]
    most = most[
        most["control"] == [name for name in spec.controls if name in set(most["control"])][-1]
    ]
    yield share(most["win"]), (f"{most['dimension'].iloc[0]} parameters",)


def xor(t, spec):
    runs = t["runs"]
    yield from at_ends(runs[runs["start"] == spec.starts[0]], "width", "win", "learn it")


def crossed(t, spec):
    own = t["runs"][t["runs"]["group"] == "ticket"]
    yield share(own["win"]), ("winning tickets win",)


def perturb_rest_net(t, spec):
    own = t["runs"][t["runs"]["group"] == "ticket"]
    yield share(own.loc[own["size"] == own["size"].max(), "win"]), ("winning tickets win",)


def prune_to_narrow(t, spec):
    runs = t["runs"]
    own = runs[(runs["rule"] == "matched") & (runs["width"] == runs["width"].min())]
    yield share(own["outcome"] == "good"), ("cut down",)


def targets(t, spec):
    own = t["runs"][t["runs"]["data"] == t["runs"]["data"].iloc[0]]
    bad = (own["outcome"] == "bad").groupby(own["width"]).mean()
    yield points(bad.iloc[-1] - bad.iloc[0]), ("bad minima", f"{bad.index[0]} to {bad.index[-1]}")


#: What each page's tiles are, in order, and words that their labels hold; pages that are not here
#: tell findings, whose sentences and effects have tests of their own.
COUNTED = {
    "width-sweep": width_sweep, "sweep": sweep, "safran-shamir": safran_shamir,
    "loss-levels": loss_levels, "census": census, "escape": escape, "lottery": lottery,
    "perturb-rest": perturb_rest, "multi-start": multi_start, "controls": controls, "xor": xor,
    "crossed": crossed, "perturb-rest-net": perturb_rest_net, "prune-to-narrow": prune_to_narrow,
    "targets": targets,
}  # fmt: skip


def seen(page):
    """What the first screen says: the answer, and the tiles' numbers with what they are."""
    head = page[page.index("<header>") : page.index("</header>")]
    lead = re.search(r'<p class="lead">(.*?)</p>', head, re.DOTALL)
    tiles = re.findall(r'<div class="tile"><b>(.*?)</b><span>(.*?)</span>', head)
    assert lead is not None
    return unescape(lead[1]), [(unescape(value), unescape(label)) for value, label in tiles]


@pytest.mark.parametrize("kind", COUNTED)
def test_lead_and_tiles_say_what_the_tables_count(pages, kind):
    page = pages[kind]
    lead, tiles = seen(page.read_text(encoding="utf-8"))
    counted = list(COUNTED[kind](Tables(page.parent), SPECS[kind]))
    assert len(counted) <= len(tiles)
    for (value, label), (count, words) in zip(tiles, counted, strict=False):
        assert value == count, label
        assert all(word in label for word in words), label
    if kind != "controls":  # which answers with two tests; see tests/studies/test_answers.py
        assert counted[0][0] in lead


def test_every_page_is_counted_or_tells_findings(pages):
    """A page that is forgotten here is one whose answer nobody counts."""
    for kind in SPECS.keys() - COUNTED.keys():
        text = pages[kind].read_text(encoding="utf-8")
        assert "What tests say of the claim" in text or "So few runs decide nothing" in text, kind
