"""Specs and plans: every run once, in shards that may train in one call."""

from __future__ import annotations

import pytest

import edt
from edt.runs.sweeps import SpecError, SweepSpec, make_plan, read_spec


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
    from edt.studies.xor.run import XorSpec

    with pytest.raises(TypeError, match="widths must be a list like"):
        XorSpec(widths=5)
    with pytest.raises(TypeError, match="task name must be a text"):
        SweepSpec(task={"name": ["xor"]})
