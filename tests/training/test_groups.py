"""`converge` in groups: the same bits, interrupted or not; and what it refuses to resume."""

from __future__ import annotations

import pytest
import torch

import edt
import edt.training as training
from edt.training import groups
from edt.training.converge_result import _TENSORS
from edt.training.groups import cost_groups

QUIET = {"progress": False, "lbfgs_steps": 200, "newton_steps": 60}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Two networks a group."""
    monkeypatch.setattr(groups, "GROUP_WORK", 1.0)
    monkeypatch.setattr(groups, "TOGETHER", 2)
    monkeypatch.setattr(groups, "MOST", 1e9)


def same(one, other):
    assert torch.equal(one.networks.theta, other.networks.theta)
    assert one.status == other.status and one.verdict == other.verdict
    for name in _TENSORS:
        # NaN stands where nothing was measured.
        mine, theirs = (torch.nan_to_num(getattr(r, name).double(), nan=-7.0) for r in (one, other))
        assert torch.equal(mine, theirs), name


def test_interrupted_after_a_group_and_resumed(cases, tmp_path, monkeypatch):
    data, ens = cases.task(), cases.ensemble([2, 3, 2, 4, 3], seed=3)
    bound = torch.tensor([5.0, 50.0, 2.0, 50.0, 3.0])
    options = {**QUIET, "maxnorm": bound, "method": "newton", "newton_steps": 30}
    whole = training.converge(data, ens, **options)
    put = groups.Checkpoint.put

    def stop(self, group, result):
        put(self, group, result)
        if int(group[0]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(groups.Checkpoint, "put", stop)
    cut = training.converge(data, ens, checkpoint=tmp_path, **options)
    assert cut.interrupted and cut.status[4] == "interrupted"
    assert cut.status[:4] == whole.status[:4]
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == [
        "converge-000000-000001.safetensors",
        "converge-000002-000003.safetensors",
    ]
    monkeypatch.setattr(groups.Checkpoint, "put", put)
    begun = []
    cost = cost_groups(ens.coords, torch.ones(5, dtype=torch.bool), 30)
    assert [part.tolist() for part in cost] == [[0, 1], [2, 3], [4]]
    run = groups.in_groups

    def count(checkpoint, parts, do, *more):
        return run(checkpoint, parts, lambda g, left: begun.append(g.tolist()) or do(g, left),
                   *more)  # fmt: skip

    monkeypatch.setattr("edt.training.converge_run.in_groups", count)
    rest = training.converge(data, ens, checkpoint=tmp_path, resume=True, **options)
    assert begun == [[4]] and not rest.interrupted
    same(rest, whole)


def test_interrupted_inside_a_group(cases, tmp_path, monkeypatch):
    data, ens = cases.task(), cases.ensemble([2, 3, 2], seed=3)
    whole = training.converge(data, ens, **QUIET)
    lost = training.converge(data, ens, checkpoint=tmp_path, max_seconds=0.0, **QUIET)
    assert lost.interrupted and lost.status == ["interrupted"] * 3
    assert not list(tmp_path.glob("*.safetensors"))
    same(training.converge(data, ens, checkpoint=tmp_path, **QUIET), whole)
    # Done: the second time nothing runs.
    monkeypatch.setattr("edt.training.converge_run._run", None)
    same(training.converge(data, ens, checkpoint=tmp_path, **QUIET), whole)


def test_another_run_is_refused(cases, tmp_path):
    data, ens = cases.task(), cases.ensemble([2, 3], seed=3)
    training.converge(data, ens, checkpoint=tmp_path, **QUIET)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    for change in ({"tol": 1e-9}, {"newton_steps": 59}, {"maxnorm": 9.0}, {"polish": False},
                   {"escape_saddles": False}):  # fmt: skip
        with pytest.raises(training.CheckpointError, match="another run"):
            training.converge(data, ens, checkpoint=tmp_path, **{**QUIET, **change})
    with pytest.raises(training.CheckpointError, match="initial parameters"):
        training.converge(data, cases.ensemble([2, 3], seed=4), checkpoint=tmp_path, **QUIET)
    other = edt.Task(data.x, data.y + 1.0)
    with pytest.raises(training.CheckpointError, match="task"):
        training.converge(other, ens, checkpoint=tmp_path, **QUIET)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    with pytest.raises(training.CheckpointError, match="no checkpoint"):
        training.converge(data, ens, checkpoint=tmp_path / "new", resume=True, **QUIET)
    fresh = training.converge(other, ens, checkpoint=tmp_path, resume=False, **QUIET)
    same(fresh, training.converge(other, ens, **QUIET))


def test_damaged_group_is_named(cases, tmp_path):
    data, ens = cases.task(), cases.ensemble([2, 3, 2], seed=3)
    training.converge(data, ens, checkpoint=tmp_path, **QUIET)
    file = tmp_path / "converge-000002-000002.safetensors"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(training.CheckpointError, match="converge-000002"):
        training.converge(data, ens, checkpoint=tmp_path, **QUIET)


def test_bad_arguments(cases, tmp_path):
    data, ens = cases.task(), cases.ensemble([2], seed=3)
    with pytest.raises(ValueError, match="resume"):
        training.converge(data, ens, checkpoint=tmp_path, resume="maybe", **QUIET)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="directory"):
        training.converge(data, ens, checkpoint=tmp_path / "file", **QUIET)


def test_groups_are_bounded(monkeypatch):
    monkeypatch.undo()
    dense = torch.ones(200, dtype=torch.bool)
    small = cost_groups(torch.full((200,), 9), dense, 100)
    assert [part.numel() for part in small] == [200]
    large = cost_groups(torch.full((200,), 1500), dense, 10_000)
    assert torch.equal(torch.cat(large), torch.arange(200))
    assert max(part.numel() for part in large) <= groups.TOGETHER
    huge = cost_groups(torch.full((3,), 100_000), dense[:3], 10_000)
    assert [part.numel() for part in huge] == [1, 1, 1]
