"""Specs and plans: every run once, in shards that may train in one call."""

from __future__ import annotations

import json
import resource
import time
from itertools import product

import numpy as np
import pytest

import edt
from edt.limits import TooLargeError
from edt.runs.sweeps import SpecError, SweepSpec, make_plan, read_spec
from edt.runs.sweeps.axes import AXES
from edt.tasks import described
from edt.tasks.task_tables import _call


def test_grid_is_every_combination_once(small):
    plan = make_plan(small)
    table = plan.table()
    assert plan.runs == 2 * 10 * 2 * 2
    axes = ["width", "seed", "lr", "activation"]
    assert not table[axes].duplicated().any()
    assert sorted(run for members in plan.members for run in members.tolist()) == list(range(80))


def test_shards_share_settings_and_cost_about_the_same(small):
    plan = make_plan(small)
    table = plan.table()
    assert (table.groupby("shard")["activation"].nunique() == 1).all()
    costs = table.groupby("shard")["seconds"].sum()
    assert len(costs) > 10
    # A run is not divided: a shard misses the target by one run at either end, at most.
    assert costs.max() - small.shard_seconds <= 2 * table["seconds"].max()


def test_cost_follows_active_weights_samples_and_steps():
    def price(**grid):
        task = {"name": "teacher_student", "n": grid.pop("n", 256)}
        return make_plan(SweepSpec(task=task, grid=grid)).seconds

    # A run has a small cost of its own.
    assert price(steps=2000) == pytest.approx(2 * price(steps=1000), rel=0.02)
    assert price(width=64, sparsity=0.9) < price(width=64)
    assert price(n=5120) > 5 * price(n=512)
    assert price(dtype="float32") < price()
    assert price(batch_size=16) < price()


def test_points_are_a_list_of_settings():
    spec = SweepSpec(
        grid={"seed": "0..2", "width": [2, 3]},
        points=[{"optimizer": "adam", "lr": [0.01, 0.1]}, {"optimizer": "sgd", "lr": 0.3}],
    )
    table = make_plan(spec).table()
    found = set(zip(table["optimizer"], table["lr"], strict=True))
    assert found == {("adam", 0.01), ("adam", 0.1), ("sgd", 0.3)}
    assert len(table) == 3 * 2 * 3


def test_same_spec_from_file_and_dict(spec_file, small):
    assert read_spec(spec_file).digest == small.digest
    assert SweepSpec.from_dict(small.to_dict()) == small


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"grid": {"widht": [2]}}, "did you mean 'width'"),
        ({"grid": {"width": [2, 2]}}, "repeat"),
        ({"grid": {"seed": "0..x"}}, "range like"),
        ({"grid": {"lr": -1.0}}, "lr must be a finite number > 0"),
        ({"grid": {"lr": []}}, "at least one"),
        ({"grid": {"activation": "tahn"}}, "did you mean 'tanh'"),
        ({"grid": {"target": 3}}, "target must be below"),
        ({"task": "teachr_student"}, "did you mean 'teacher_student'"),
        ({"analysis": ["census"]}, "set tol"),
        ({"analysis": ["embedding"], "grid": {"tol": 1e-9, "width": [[2, 2]]}}, "one hidden layer"),
        ({"points": [{"lr": 0.1}, {"lr": [0.1, 0.2]}]}, "overlap"),
        ({"shard_seconds": 0}, "shard_seconds"),
    ],
)
def test_wrong_specs_say_what_is_wrong(change, says):
    with pytest.raises((TypeError, ValueError), match=says):
        make_plan(SweepSpec.from_dict(change))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(SpecError, match=r"none\.toml"):
        read_spec(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("grid = [")
    with pytest.raises(SpecError, match=r"bad\.toml: not TOML"):
        read_spec(tmp_path / "bad.toml")
    (tmp_path / "flat.toml").write_text("widths = [2, 4]")
    with pytest.raises(SpecError, match=r"'widths' is not a field; the axis 'width' goes under"):
        read_spec(tmp_path / "flat.toml")
    (tmp_path / "other.toml").write_text("colour = 1")
    with pytest.raises(SpecError, match="field must be one of"):
        read_spec(tmp_path / "other.toml")


def test_large_plans_are_quick_to_make():
    plan = make_plan(SweepSpec(grid={"width": "2..51", "seed": "0..999", "lr": [0.1, 0.01]}))
    assert plan.runs == 100_000
    assert sum(members.size for members in plan.members) == 100_000


def test_public_names():
    assert edt.SweepSpec is SweepSpec
    assert callable(edt.sweep)


def test_a_single_number_where_a_list_belongs_is_named():
    from edt.studies.xor.spec import XorSpec

    with pytest.raises(TypeError, match="widths must be a list like"):
        XorSpec(widths=5)
    with pytest.raises(TypeError, match="task name must be a text"):
        SweepSpec(task={"name": ["xor"]})


MIXED = SweepSpec(
    task=["xor", {"name": "teacher_student", "n": 16}],
    grid={"width": [5, [2, 3], 2, [4, 4]], "seed": "3..7", "steps": [100, 10], "task": [1, 0]},
    points=[
        {"lr": [0.3, 0.1], "dtype": ["float64", "float32"]},
        {"lr": 0.2, "steps": [10, 1000], "width": [2, [3, 3, 3]]},
        {"lr": 0.5, "task": 1, "sparsity": [0.5, 0.0]},
    ],
    shard_seconds=1e-3,
)


def test_what_a_plan_says_of_a_run_is_what_listing_every_run_says():
    """Runs listed one by one, grouped by a sort, each group cut by the middles of its costs."""
    listed = [
        dict(zip(AXES, values, strict=True))
        for block in MIXED.blocks()
        for values in product(*(block.get(name, (axis.default,)) for name, axis in AXES.items()))
    ]
    plan = make_plan(MIXED)
    assert plan.runs == len(listed)
    table = plan.table()
    cost = table["seconds"].to_numpy()
    pools = {name: list(dict.fromkeys(run[name] for run in listed)) for name in AXES}
    shared = [name for name, axis in AXES.items() if not axis.single]
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, run in enumerate(listed):
        key = (*(pools[name].index(run[name]) for name in shared), len(run["width"]))
        groups.setdefault(key, []).append(k)
    shards = []
    for key in sorted(groups):
        mine = np.array(groups[key])
        total = float(cost[mine].sum())
        pieces = min(max(1, round(total / MIXED.shard_seconds)), mine.size)
        middle = np.cumsum(cost[mine]) - cost[mine] / 2
        piece = np.minimum((middle / total * pieces).astype(int), pieces - 1)
        shards += [mine[piece == k].tolist() for k in np.unique(piece)]
    assert [runs.tolist() for runs in plan.members] == shards
    assert len(shards) > len(groups) > 10
    for k, runs in enumerate(shards):
        shard = plan.shard(k)
        found = [
            {**shard.settings, **dict(zip(shard.columns, row, strict=True))}
            for row in zip(*shard.columns.values(), strict=True)
        ]
        assert shard.runs == runs and found == [listed[run] for run in runs]
        assert plan.members.size(k) == len(runs)
        assert plan.costs[k] == cost[runs].sum()


def peak():
    """Most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


LARGE = [
    {"name": "teacher_student", "n": 300_000_000},
    {"name": "teacher_student", "n": 10**8, "teachers": 50, "d_out": 3, "normalise": True},
    {"name": "teacher_student", "n": 10**8, "inputs": "grid", "d_in": 4, "activation": "relu"},
    {"name": "rosenbrock", "points": 20_000},
    {"name": "mnist1d", "samples": 30_000_000, "split": "all"},
]


@pytest.mark.parametrize("task", LARGE, ids=lambda task: f"{task['name']}-{len(task)}")
def test_no_data_are_made_to_plan(task, monkeypatch):
    """Where there is memory for them, too: they would take minutes and most of it."""
    monkeypatch.setenv("EDT_MAX_GB", "10000")
    if task["name"] == "mnist1d":
        pytest.importorskip("mnist1d.data")  # takes most of a second
    spec = SweepSpec(task=task, grid={"seed": "0..2", "steps": 10})
    clock, held = time.process_time(), peak()
    plan = make_plan(spec)
    assert time.process_time() - clock < 1.0 and peak() - held < 2**27
    assert plan.runs == 3 and plan.seconds > 1.0
    monkeypatch.setenv("EDT_MAX_GB", "1")
    with pytest.raises(TooLargeError, match="and may have 1 GB"):
        make_plan(spec)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "teacher_student", "n": 25, "d_in": 3, "d_out": 2, "teachers": 4},
        {"name": "teacher_student", "n": 27, "inputs": "grid", "d_in": 3, "teacher_width": [3, 2]},
        {"name": "rosenbrock", "points": 7},
        {"name": "mnist1d", "samples": 67},
        {"name": "mnist1d", "samples": 67, "split": "test", "loss": "mse"},
        {"name": "mnist1d", "samples": 67, "split": "all"},
    ],
    ids=str,
)
def test_sizes_by_description_are_those_of_the_task(task, monkeypatch):
    spec = SweepSpec(task=task)
    made = spec.make_task(0)
    monkeypatch.setattr(described, "SMALL", 0)
    sizes = described.described_sizes(*_call(json.dumps(spec.task[0])))
    assert sizes == described.TaskSizes(made.T, made.N, made.d_in, made.d_out)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": -1}, "n must be >= 1, got -1"),
        ({"n": "abc"}, "n must be an integer"),
        ({"d_in": 0}, "d_in must be"),
        ({"d_out": 1.5}, "d_out must be"),
        ({"teachers": 0}, "teachers must be"),
        ({"teacher_width": []}, "teacher_width must have"),
        ({"teacher_width": [2, "x"]}, "teacher_width.1. must be"),
        ({"activation": "tahn"}, "tanh"),
        ({"inputs": ["grid"]}, "inputs must be"),
        ({"inputs": "grid", "n": 10**8 + 1}, r"n must be k\*\*2"),
        ({"inputs": "grid", "d_in": 10**5, "n": 1000}, r"n must be k\*\*100000"),
        ({"inputs": "sobol", "d_in": 10**5, "n": 1000}, "d_in must be at most"),
        ({"scale": "x"}, "scale must be"),
        ({"noise": -1.0}, "noise must be"),
        ({"normalise": 1}, "normalise must be"),
        ({"seed": -1}, "seed must be"),
        ({"dtype": "float64"}, "dtype"),
        ({"teacher": 1}, "teacher must be"),
        ({"nonsense": 1}, "nonsense"),
    ],
    ids=str,
)
def test_arguments_of_large_tasks_are_looked_at(change, says, monkeypatch):
    monkeypatch.setenv("EDT_MAX_GB", "10000")
    task = {"name": "teacher_student", "n": 10**8, **change}
    with pytest.raises((TypeError, ValueError), match=says):
        make_plan(SweepSpec(task=task))
