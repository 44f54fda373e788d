"""Does every interval that a page prints hold a known truth in 90 to 99% of data sets?

    python -m benchmarks.coverage [--sets 400] [--only WORD]

Each case draws data sets from numpy's distributions with a truth that is known, hands each to the
function that makes the table of a page, and counts how often the printed 95% interval holds it.
Teachers differ, as they do in studies: their rates are draws of a beta distribution, and the truth
is its mean. Written to ``benchmarks/results/coverage.json``; with ``--only`` the other cases stay.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from edt.landscape.census_tables import basin_table, census_table
from edt.stats import bca, chao1, effective_tickets, good_turing, mean_interval, wilson
from edt.studies.barriers.run import barrier_table
from edt.studies.common.contrast import contrast_table
from edt.studies.common.success_table import success_table
from edt.studies.common.thresholds import threshold_table
from edt.studies.controls.run import attribution_table
from edt.studies.crossed.run import group_table
from edt.studies.escape.run import dimension_table
from edt.studies.escape_count.run import survival_table
from edt.studies.escape_teachers.run import growth_table
from edt.studies.failures.run import escape_rates, failure_table
from edt.studies.multi_start_net.run import agreement
from edt.studies.optimisers.run import time_table
from edt.studies.prune_to_narrow.run import remains_table
from edt.studies.safran_shamir.published import difference
from edt.studies.subsets.run import subset_table
from edt.studies.width.splits import rate_of_minima
from edt.success import MODELS, Counts, fit, profile_interval

RESULT = Path(__file__).parent / "results" / "coverage.json"
Draw = np.random.Generator
#: Name to what prints it, and a function that draws one data set and yields (what, low, high,
#: truth).
Case = Callable[[Draw], Iterator[tuple[str, float, float, float]]]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def keep(function: Case) -> Case:
        CASES[name] = function
        return function

    return keep


def runs_of(draw: Draw, teachers: int, each: int, rate: float, spread: float = 12.0):
    """Teachers and wins: rates of a beta distribution of this mean."""
    rates = draw.beta(rate * spread, (1 - rate) * spread, teachers)
    won = draw.random((teachers, each)) < rates[:, None]
    return np.repeat(np.arange(teachers), each), won.reshape(-1)


def bounds(row, name, truth, *, spread=""):
    return name, float(row[f"{name}{spread}_low"]), float(row[f"{name}{spread}_high"]), truth


@case("rates of one target (Wilson)")
def one_rate(draw):
    for n, p in ((40, 0.3), (100, 0.05)):
        found = wilson(int(draw.binomial(n, p)), n)
        yield f"{p:g} of {n}", found.low, found.high, p


@case("success, thresholds and censuses over teachers")
def over_teachers(draw):
    for k, p in ((3, 0.7), (5, 0.7), (5, 0.1), (12, 0.7)):
        target, won = runs_of(draw, k, 40, p)
        words = np.where(won, "good", "bad")
        runs = pd.DataFrame({"target": target, "width": 4, "loss": np.where(won, 0.0, 1.0),
                             "outcome": words, "threshold": 0.5})  # fmt: skip
        row = success_table(runs, 4).iloc[-1]
        yield f"success, {k} teachers, {p:g}", row["rate_low"], row["rate_high"], p
        if k == 5:
            row = threshold_table(runs, factors=(1.0,)).iloc[0]
            yield f"threshold, {p:g}", row["rate_low"], row["rate_high"], p
            rest = dict.fromkeys(("minimum", "level", "function", "core_width", "core", "run",
                                  "duplicates", "dead", "constant", "cancelled"), 0)  # fmt: skip
            row = census_table(runs.assign(**rest)).iloc[-1]
            yield bounds(row, "bad_share", 1 - p, spread="_spread")


@case("effective tickets")
def tickets(draw):
    prices, n = np.array([0.2, 0.35, 0.6]), 2.5
    wide = 1 - (1 - prices) ** n
    narrow_wins, wide_wins = draw.binomial(100, prices), draw.binomial(100, wide)
    one = effective_tickets(int(wide_wins[1]), 100, int(narrow_wins[1]), 100)
    yield "of one teacher", one.low, one.high, n
    runs = pd.concat(
        [
            pd.DataFrame({"target": t, "width": m,
                          "outcome": np.where(np.arange(100) < wins[t], "good", "bad")})
            for m, wins in ((4, narrow_wins), (8, wide_wins)) for t in range(3)
        ],
        ignore_index=True,
    )  # fmt: skip
    row = success_table(runs, 4).iloc[-1]
    yield bounds(row, "n_eff", n)
    yield bounds(row, "disjoint", float(np.mean(1 - (1 - prices) ** 2)))
    own = success_table(runs, 4).query("target == 1 and width == 8").iloc[0]
    yield "disjoint, one teacher", own["disjoint_low"], own["disjoint_high"], 1 - 0.65**2


@case("parameters of laws of width (profile likelihood)")
def laws(draw):
    m = np.tile([4, 5, 6, 8], 3)
    group = np.repeat(np.arange(3), 4)
    price = np.array([0.15, 0.3, 0.5])[group]
    chances = {
        "power": ("a", 1.5, 1 - (1 - price) ** ((m / 4) ** 1.5)),
        "geometric": ("kappa", 0.25, 1 - (1 - price) * np.exp(-0.25 * (m - 4))),
        "logistic": ("b", 0.45, 1 / (1 + np.exp(-(np.log(price / (1 - price)) + 0.45 * (m - 4))))),
    }
    for law, (name, truth, chance) in chances.items():
        table = pd.DataFrame({"target": group, "width": m, "runs": 100,
                              "good": draw.binomial(100, chance)})  # fmt: skip
        found = profile_interval(fit(MODELS[law], Counts.of(table, 4)), name)
        yield f"{name} of {law}", found.low, found.high, truth


@case("numbers of minima")
def minima(draw):
    kinds = 30
    share = np.full(kinds, 1 / kinds)
    for runs in (60, 120):
        total = chao1(draw.multinomial(runs, share)).total
        yield f"Chao1, minima alike, {runs} runs", total.low, total.high, kinds
    uneven = np.arange(1, kinds + 1) ** -1.0
    uneven /= uneven.sum()
    counts = draw.multinomial(60, uneven)
    seen = good_turing(counts)
    yield "coverage (Good-Turing)", seen.low, seen.high, float(uneven[counts > 0].sum())
    runs = pd.DataFrame({"target": 0, "width": 4, "minimum": np.where(draw.random(60) < 0.3, 0, -1),
                         "outcome": "bad", "core_width": 4, "loss": 1.0})  # fmt: skip
    table = basin_table(runs)
    if len(table):
        yield bounds(table.iloc[0], "share", 0.3)


@case("changes from narrow to wide")
def contrasts(draw):
    for k in (1, 5):
        rows = []
        base = draw.beta(6, 6, k)
        for width, shift in ((2, 0.0), (8, -0.2)):
            rate = np.clip(base + shift, 0, 1) if k > 1 else np.array([0.5 + shift])
            bad = draw.random((k, 20)) < rate[:, None]
            words = np.where(bad.reshape(-1), "bad", "good")
            rows.append(pd.DataFrame({"target": np.repeat(np.arange(k), 20), "width": width,
                                      "data": "x", "parameters": 9, "outcome": words}))  # fmt: skip
        truth = -0.2 if k == 1 else BETA_DROP
        row = contrast_table(pd.concat(rows, ignore_index=True), "data").iloc[0]
        yield f"{k} targets", row["bad_change_low"], row["bad_change_high"], truth
    found = difference(int(draw.binomial(200, 0.4)), 200, int(draw.binomial(1000, 0.35)), 1000)
    yield "two proportions (Newcombe)", found.low, found.high, 0.05


#: E max(X - 0.2, 0) - E X for X of a beta(6, 6).
BETA_DROP = float(
    np.trapezoid(
        (lambda x: (np.maximum(x - 0.2, 0.0) - x) * x**5 * (1 - x) ** 5 * 2772)(
            np.linspace(0, 1, 20001)
        ),
        np.linspace(0, 1, 20001),
    )
)


@case("failures and ways out")
def failing(draw):
    target, lost = runs_of(draw, 5, 40, 0.3)
    kind = draw.choice(["bad", "channel"], len(lost), p=[0.4, 0.6])
    students = pd.DataFrame({"target": target, "width": 4,
                             "outcome": np.where(lost, kind, "good")})  # fmt: skip
    row = failure_table(students).iloc[0]
    yield bounds(row, "rate", 0.3)
    yield bounds(row, "bad", 0.12)
    yield bounds(row, "minimum", 0.4)
    target, freed = runs_of(draw, 5, 9, 0.6)
    seed = np.tile(np.arange(9), 5)
    kicked = draw.random(len(freed)) < 0.1
    ways = pd.concat(
        [pd.DataFrame({"target": target, "width": 4, "seed": seed, "label": "minimum", "way": way,
                       "index": 1, "loss": 1.0, "end_loss": 0.5,
                       "outcome": np.where(won, "good", "bad")})
         for way, won in (("fresh", freed), ("kick", kicked))], ignore_index=True
    )  # fmt: skip
    row = escape_rates(ways).set_index("way").loc["fresh"]
    yield bounds(row, "good", 0.6)
    yield bounds(row, "good_ahead", 0.5)


@case("survival of bad minima")
def survival(draw):
    target, good = runs_of(draw, 6, 10, 0.5)
    other = draw.random(len(good)) < 0.3
    counts = pd.concat(
        [pd.DataFrame({"target": target, "width": 3, "seed": np.tile(np.arange(10), 6), "way": way,
                       "neurons": 1, "good": won})
         for way, won in (("split", good), ("restart", other))], ignore_index=True
    )  # fmt: skip
    row = survival_table(counts, 1).query("way == 'split' and width == 0").iloc[0]
    yield bounds(row, "left", 0.5)
    yield bounds(row, "ahead", 0.2)


@case("remains of winners")
def remains(draw):
    target, kept = runs_of(draw, 5, 15, 0.8)
    chance = draw.random(len(kept)) < 0.6
    runs = pd.concat(
        [pd.DataFrame({"target": target, "width": 6, "seed": np.tile(np.arange(15), 5),
                       "rule": rule, "outcome": np.where(won, "good", "bad"), "cut_loss": 1.0,
                       "threshold": 0.5})
         for rule, won in (("matched", kept), ("random", chance))], ignore_index=True
    )  # fmt: skip
    row = remains_table(runs).set_index("rule").loc["matched"]
    yield bounds(row, "good", 0.8)
    yield bounds(row, "ahead", 0.2)


@case("tickets crossed with rests")
def crossed(draw):
    tickets, rests, k = 6, 40, 5
    base = draw.beta(9, 1, k)
    tables = []
    for group, worse in (("ticket", 0.0), ("fresh", 0.03)):
        rate = np.clip(base - worse * 10 * draw.beta(2, 18, k), 0.0, 1.0)
        won = draw.random((k, tickets, rests)) < rate[:, None, None]
        at = np.indices(won.shape).reshape(3, -1)
        tables.append(pd.DataFrame({"target": at[0], "ticket": at[1], "rest": at[2],
                                    "group": group, "win": won.reshape(-1)}))  # fmt: skip
    table = group_table(pd.concat(tables, ignore_index=True)).set_index("group")
    yield bounds(table.loc["ticket"], "rate", 0.9)
    yield bounds(table.loc["fresh"], "ahead", 0.03)
    yield bounds(table.loc["fresh"], "prevented", 0.03 / 0.13)


@case("networks and their subsets")
def subsets(draw):
    target, together = runs_of(draw, 5, 40, 0.9)
    some = draw.random(len(together)) < 0.95
    runs = pd.DataFrame({"target": target, "width": 6, "together": together,
                         "alone": np.where(some, 3, 0), "tickets": 15, "whole": True})  # fmt: skip
    row = subset_table(runs, draws=1).iloc[0]
    yield bounds(row, "together", 0.9)
    yield bounds(row, "only_alone", 0.095)


@case("networks of modules and their parts")
def nets(draw):
    seeds = 12
    whole = 0.8 + 0.05 * draw.standard_normal(seeds)
    parts = whole[:, None] - 0.04 + 0.03 * draw.standard_normal((seeds, 1))
    runs = pd.concat(
        [pd.DataFrame({"parts": n, "seed": np.repeat(np.arange(seeds), n),
                       "ticket": np.tile(np.arange(n), seeds), "accuracy": values.reshape(-1)})
         for n, values in ((1, whole[:, None]), (2, np.repeat(parts, 2, axis=1)))],
        ignore_index=True,
    )  # fmt: skip
    row = agreement(runs, 0.5).iloc[0]
    yield bounds(row, "gain", 0.04)


@case("times to escape, barriers, ways down")
def sizes(draw):
    k = 4
    teacher, saddle = np.repeat(np.arange(k), 3), np.tile(np.arange(3), k)
    speed = 0.3 + 0.2 * draw.standard_normal(k)[teacher] + 0.1 * draw.standard_normal(3 * k)
    slow = 10 ** (3 + 0.2 * draw.standard_normal(3 * k))
    escapes = pd.concat(
        [pd.DataFrame({"batch": batch, "target": teacher, "saddle": saddle, "steps": steps,
                       "left": True, "predicted": 1.0})
         for batch, steps in ((96, slow), (4, slow / 10**speed))], ignore_index=True
    )  # fmt: skip
    yield bounds(time_table(escapes).set_index("batch").loc[4], "speed", 0.3)
    level = draw.gamma(4.0, 0.25, k)
    rows = []
    for width, scale in ((3, 1.0), (8, 0.6)):
        own = np.repeat(level * scale * draw.gamma(9.0, 1 / 9, k), 6)
        each = own * draw.gamma(9.0, 1 / 9, 6 * k)
        rows.append(
            pd.DataFrame({"width": width, "target": np.repeat(np.arange(k), 6), "aligned": each})
        )
    pairs = pd.concat(rows, ignore_index=True)
    table = barrier_table(pairs.assign(plain=pairs["aligned"], bent=pairs["aligned"]))
    row = table.query("path == 'aligned' and width == 8").iloc[0]
    yield bounds(row, "barrier", 0.6)
    yield bounds(row, "change", -0.4)
    mean = 1.0 + draw.poisson(1.0, 8)
    points = pd.DataFrame({"narrow": 3, "added": 1, "shares": "even", "clear": True,
                           "source": np.repeat(np.arange(8), 4), "n_neg": np.repeat(mean, 4),
                           "predicted_neg": 1})  # fmt: skip
    yield bounds(dimension_table(points).iloc[0], "mean_index", 2.0)


@case("splits over minima")
def splits(draw):
    minimum, opened = runs_of(draw, 12, 5, 0.7)
    table = pd.DataFrame({"target": 0, "width": 4, "level": minimum})
    found = rate_of_minima(table, pd.Series(opened))
    yield "share", found.low, found.high, 0.7


@case("escape dimensions against what a neuron adds")
def elasticities(draw):
    e = draw.uniform(0.5, 2.5, 12)
    g = 0.3 * e + 0.1 * draw.standard_normal(12)
    row = growth_table(pd.DataFrame({"opened": e, "growth": g}), draws=1).iloc[0]
    yield bounds(row, "elasticity", 1.0)


@case("slopes of success on parameters and neurons")
def slopes(draw):
    cells = [(m, k, math.log(m), math.log(k)) for m in (4, 8, 12) for k in (20, 60)]
    rows = []
    for target in range(8):
        # Teachers have prices and slopes of their own; the truth is their mean.
        price, neurons, size = draw.normal([0.0, 2.0, 1.0], [0.5, 0.15, 0.15])
        for m, k, at, of in cells:
            chance = 1 / (1 + math.exp(-price - neurons * (at - 2.0) - size * (of - 3.5)))
            rows.append(pd.DataFrame({
                "control": "width" if k == 20 else "rotated", "target": target, "width": m,
                "setting": 0, "learning": m, "dimension": k, "win": draw.random(40) < chance,
            }))  # fmt: skip
    row = attribution_table(pd.concat(rows)).iloc[-1]
    yield bounds(row, "b_learning", 2.0)
    yield bounds(row, "b_dimension", 1.0)


@case("accuracy over seeds (Student)")
def accuracies(draw):
    found = mean_interval(0.9 + 0.02 * draw.standard_normal(3))
    yield "3 seeds", found.low, found.high, 0.9


@case("medians (BCa)")
def medians(draw):
    values = draw.lognormal(0.0, 0.5, 15)
    found = bca(values, lambda rows: float(np.median(rows)))
    yield "15 clusters", found.low, found.high, 1.0


def measure(sets: int, only: str = "", seed: int = 0) -> pd.DataFrame:
    """One row an interval: how many of the sets it was printed in, and how many held the truth."""
    rows: dict[tuple[str, str], list[bool]] = {}
    for number, (name, made) in enumerate(CASES.items()):
        if only not in name:
            continue
        for k in range(sets):
            draw = np.random.Generator(np.random.Philox(key=[seed + 1000 * number, k]))
            for what, low, high, truth in made(draw):
                if low == low:
                    rows.setdefault((name, what), []).append(low <= truth <= high)
    return pd.DataFrame(
        [{"case": name, "interval": what, "sets": len(held), "held": float(np.mean(held))}
         for (name, what), held in rows.items()]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    started = time.monotonic()
    table = measure(given.sets, given.only)
    print(table.to_string(index=False))
    out = table[(table["held"] < 0.9) | (table["held"] > 0.99)]
    print(f"{len(out)} of {len(table)} intervals outside 90 to 99%; "
          f"{time.monotonic() - started:.0f} s")  # fmt: skip
    old = json.loads(RESULT.read_text()) if RESULT.exists() else []
    names = {name for name in CASES if given.only in name}
    kept = [row for row in old if row["case"] not in names]
    rows = kept + table.round(4).to_dict("records")
    order = list(CASES)
    rows.sort(key=lambda row: order.index(row["case"]))
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
