"""What figures draw: marks where they were measured, series that differ without colour."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.runs.sweeps.result import outcome_rates
from edt.show.axes import power_labels
from edt.show.panel import Panel, asides
from edt.studies.controls.panels import controls
from edt.studies.lottery.panels import curves
from edt.studies.multi_start.panels import multi_start
from edt.studies.subsets.panels import subsets
from edt.studies.sweep.panels import FLOOR, sweep
from edt.studies.xor.panels import xor


def bounded(table, *names):
    """The table with bounds around its rates."""
    for name in names:
        table[f"{name}_low"], table[f"{name}_high"] = table[name] * 0.8, table[name] * 0.9 + 0.1
    return table


def sweeps(widths=(2, 16, 4), lr=(0.1, 0.2), loss=None):
    rows = [
        {"task": 0, "width": width, "lr": rate, "seed": seed}
        for width in widths for rate in lr for seed in range(3)
    ]  # fmt: skip
    runs = pd.DataFrame(rows)
    for name in ("activation", "init", "optimizer", "schedule", "method", "dtype", "device"):
        runs[name] = "one"
    for name in ("init_scale", "bias", "sparsity", "steps", "batch_size", "momentum", "nesterov",
                 "beta1", "beta2", "eps", "weight_decay", "tol", "lbfgs_steps", "newton_steps",
                 "target", "certify_steps"):  # fmt: skip
        runs[name] = 0
    runs["loss"] = np.geomspace(1e-32, 1e-1, len(runs)) if loss is None else loss
    runs["outcome"] = np.where(runs["loss"] < 1e-8, "good", "bad")
    return runs


def control_rates():
    names = ("width", "features", "frozen", "factored", "rotated", "subspace")
    table = pd.DataFrame([
        {"control": name, "width": 4, "setting": 0, "dimension": size, "learning": size // 5,
         "good": 3, "runs": 6, "rate": 0.5, "rate_ordinary": 0.4}
        for name in names for size in (20, 30)
    ])  # fmt: skip
    return bounded(table, "rate")


def lottery_table():
    table = pd.DataFrame([
        {"method": method, "remaining": share, "accuracy": 0.9, "best_step": 50.0, "seeds": 3}
        for method in ("ticket", "reinit", "random", "shuffled", "signed", "oneshot", "snip",
                       "grasp")
        for share in (1.0, 0.5, 0.1)
    ])  # fmt: skip
    return bounded(table, "accuracy", "best_step")


def starts_table():
    table = pd.DataFrame({
        "width": [4, 8], "networks": 10, "tickets": [1, 2], "both": [3, 4], "only_together": 2,
        "only_alone": 1, "neither": [4, 3], "rate_together": 0.5, "rate_alone": 0.5,
        "rate_ticket": 0.5,
    })  # fmt: skip
    return bounded(table, "rate_together", "rate_alone", "rate_ticket")


def xor_table():
    table = pd.DataFrame([
        {"start": start, "width": width, "good": 2 * width, "runs": 20, "rate": 0.1 * width,
         "rate_ref": 0.1, "n_eff": 1.5, "n_eff_ref": 1.4, "n_disjoint": width // 2,
         "n_windows": width - 1, "n_combinatorial": width * (width - 1) // 2}
        for start in ("fixed", "he") for width in (2, 4, 6)
    ])  # fmt: skip
    return bounded(table, "rate", "rate_ref", "n_eff", "n_eff_ref")


def subset_panels():
    table = pd.DataFrame({"width": [5, 6], "networks": 8, "tickets": 5, "together": 0.5,
                          "some": 0.5, "ticket": 0.5})  # fmt: skip
    table = bounded(table, "together", "some", "ticket")
    runs = pd.DataFrame({"target": 0, "width": [5, 6] * 8, "alone": range(16), "tickets": 16,
                         "together": [True, False] * 8})  # fmt: skip
    return subsets(table, runs)


#: Panels of studies, with the places that were measured.
SHOWN = {
    "sweep": (lambda: sweep(sweeps(), "width", ["lr"]), {0, 1, 2}),
    "controls": (lambda: controls(control_rates(), 4)[:1], {20, 30}),
    "controls, neurons": (lambda: controls(control_rates(), 4)[1:], {4, 6}),
    "lottery": (lambda: curves(lottery_table()), {1.0, 0.5, 0.1}),
    "multi-start": (lambda: multi_start(starts_table(), 4)[:1], {4, 8}),
    "exclusive or": (lambda: xor(xor_table()), {2, 4, 6}),
    "subsets": (lambda: subset_panels()[:1], {5, 6}),
}


@pytest.mark.parametrize("name", SHOWN)
def test_marks_stand_where_they_were_measured(name):
    make, measured = SHOWN[name]
    for panel in make():
        for trace in panel.traces:
            assert set(trace["x"]) <= measured, trace["name"]
        reach = asides(panel.traces)
        assert all(abs(aside) <= 10 for aside in reach)
        barred = [k for k, trace in enumerate(panel.traces) if "error_y" in trace]
        assert len({reach[k] for k in barred}) == len(barred), "no interval hides another"


def looks(panel: Panel):
    """What tells the traces of the key apart besides colour."""
    for trace in panel.traces:
        if trace.get("showlegend", True) and trace["name"]:
            marker = trace.get("marker", {})
            dash = trace.get("line", {}).get("dash") if "lines" in trace.get("mode", "") else None
            pattern = marker.get("pattern", {}).get("shape")
            yield trace["name"], (trace["type"], marker.get("symbol"), dash, pattern)


@pytest.mark.parametrize("name", SHOWN)
def test_series_differ_without_colour(name):
    for panel in SHOWN[name][0]():
        found = dict(looks(panel))
        assert len(set(found.values())) == len(found), found


def test_bars_of_a_stack_differ_without_colour():
    found = dict(looks(multi_start(starts_table(), 4)[1]))
    assert len(found) == len(set(found.values())) == 4


def test_losses_of_a_sweep_have_few_labels_a_floor_that_is_named_and_whiskers_inside():
    panel = sweep(sweeps(), "width", ["lr"])[1]
    assert 3 <= len(panel.y["tickvals"]) <= 9
    assert "below 10<sup>−16</sup>" in panel.y["title"]["text"]
    low, high = (10.0**end for end in panel.y["range"])
    for trace in panel.traces:
        middle = np.array(trace["y"])
        assert (middle >= FLOOR).all()
        assert (middle - trace["error_y"]["arrayminus"] >= low).all()
        assert (middle + trace["error_y"]["array"] <= high).all()
    above = sweep(sweeps(loss=1e-3), "width", ["lr"])[1]
    assert "below" not in above.y["title"]["text"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [((16, 2, 4), [2, 4, 16]), (("16", "4-4", "2", "4-16"), ["2", "4-4", "4-16", "16"])],
)
def test_widths_of_a_sweep_are_in_the_order_of_numbers(given, wanted):
    runs = sweeps(given)
    assert list(dict.fromkeys(outcome_rates(runs)["width"])) == wanted
    assert sweep(runs, "width", ["lr"])[0].x["ticktext"] == list(map(str, wanted))


def test_ticks_of_one_axis_have_one_form():
    assert power_labels([1e-4, 2e-4, 1e-3]) == ["0.0001", "0.0002", "0.001"]
    assert all("sup" in text for text in power_labels([1e-9, 1e-3, 1.0]))
