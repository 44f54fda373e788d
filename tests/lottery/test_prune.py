"""Pruning by score: exact counts in every scope, and iterative pruning."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from edt import tasks
from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.lottery import Protocol, run_trial
from edt.lottery.connectivity import layers_cut, strongest_path
from edt.lottery.iterative import iterative_pruning, magnitude, sparsest_winners
from edt.lottery.membership import group_sum, membership
from edt.lottery.prune import density, prune_lowest
from edt.lottery.pruning_schedules import cubic, geometric


@pytest.fixture
def nets():
    return Ensemble.init([(6, 5), (9, 4)], range(2), d_in=3, d_out=2, scheme="normal")


def test_layer_scope_prunes_the_lowest_of_each_layer(nets):
    state = prune_lowest(nets, magnitude(nets), [0.2, 0.5, 0.0])
    for b in range(nets.B):
        for layer, share in enumerate((0.2, 0.5, 0.0)):
            weight = nets.weight(b, layer).abs()
            live = nets.layout.weight(state, b, layer) != 0
            assert int((~live).sum()) == int(share * weight.numel() + 0.5)
            if share:
                assert weight[~live].max() < weight[live].min()
            assert (nets.layout.bias(state, b, layer) == 1).all()


def test_global_scope_ranks_over_layers(nets):
    state = prune_lowest(nets, magnitude(nets), 0.7, "global")
    keep = strongest_path(nets, magnitude(nets))
    at = membership(nets)
    for b in range(nets.B):
        own = (at.network == b) & ~at.bias
        live = own & (state != 0)
        # What the last path from inputs to outputs needs stays whatever its rank.
        ranked = live & ~keep
        assert nets.theta[own & ~live].abs().max() < nets.theta[ranked].abs().min()
    wanted = torch.floor(0.7 * group_sum(~at.bias, at.network, 4) + 0.5)
    assert (group_sum((state == 0) & ~at.bias, at.network, 4) == wanted).all()


def test_neuron_scope_removes_whole_neurons(nets):
    state = prune_lowest(nets, magnitude(nets), [0.5, 0.5, 0.0], "neuron")
    for b in range(nets.B):
        for layer in range(2):
            rows = (nets.layout.weight(state, b, layer) != 0).any(1)
            columns = (nets.layout.weight(state, b, layer + 1) != 0).any(0)
            assert (rows == columns).all()
            assert (rows == (nets.layout.bias(state, b, layer) != 0)).all()
            assert int((~rows).sum()) == int(0.5 * rows.numel() + 0.5)
            worth = nets.weight(b, layer).abs().sum(1) + nets.weight(b, layer + 1).abs().sum(0)
            assert worth[~rows].max() < worth[rows].min()
    again = prune_lowest(nets.with_state(state), magnitude(nets), 0.9, "neuron")
    assert (group_sum(again != 0, membership(nets).block, 12) > 0).all()  # no layer is emptied


def test_groups_are_never_emptied_and_progress_is_made():
    ens = Ensemble.init([2], [0], d_in=1, d_out=1, scheme="normal", bias=False)
    for scope in ("layer", "global"):
        current = ens
        for _ in range(6):
            current = current.with_state(prune_lowest(current, magnitude(current), 0.05, scope))
        assert int((current.state != 0).sum()) == 2


def test_iterative_pruning_rewinds(nets):
    def train(networks):
        return networks.with_theta(networks.theta * 2 + 1), int((networks.state == 0).sum())

    rounds = list(iterative_pruning(nets, train, rounds=3, share=0.3))
    assert [r.number for r in rounds] == [0, 1, 2, 3]
    for r in rounds:
        live = r.start.state != 0
        assert (r.start.theta[live] == nets.theta[live]).all()
    shares = torch.stack([density(r.start) for r in rounds])
    assert (shares.diff(dim=0) < 0).all() and (shares[0] == 1).all()
    for r in rounds:
        table = r.to_pandas()
        assert table["round"].tolist() == [r.number] * nets.B
        assert table["remaining"].tolist() == density(r.start).tolist()
        assert table["layers_cut"].tolist() == layers_cut(r.start).tolist() == [0] * nets.B
        assert table["connected"].all() and table["finite"].all()
    late = nets.with_theta(nets.theta + 0.5)
    last = list(iterative_pruning(nets, train, rounds=1, share=0.3, rewind=late))[-1].start
    assert (last.theta[last.state != 0] == late.theta[last.state != 0]).all()


@pytest.mark.parametrize("schedule", [geometric, cubic])
def test_schedules_reach_their_density(schedule):
    ens = Ensemble.init([40], [0], d_in=20, d_out=5)
    rounds = list(
        iterative_pruning(
            ens, lambda n: (n, None), rounds=4, share=schedule(0.1, 4), scope="global"
        )
    )
    shares = [float(density(r.start)[0]) for r in rounds]
    # 1,000 weights, rounded once a round.
    assert abs(shares[-1] - 0.1) < 0.003
    steps = [a - b for a, b in pairwise(shares)]
    assert steps == sorted(steps, reverse=True) and min(steps) > 0
    with pytest.raises(ValueError, match="density"):
        schedule(0.0, 3)
    with pytest.raises(ValueError, match="rounds"):
        schedule(0.5, 0)


def test_sparsest_winners_win():
    task = tasks.teacher_student(d_in=2, teacher_width=2, n=40, scale=1.5)
    start = Ensemble.init([4], range(6), d_in=2, d_out=1, scheme="glorot")
    protocol = Protocol(steps=800, lr=0.02, lbfgs_rounds=2, lbfgs_steps=200)
    index = torch.zeros(6, dtype=torch.int64)
    ends = run_trial(task, start, protocol, index)
    assert bool(ends.win.any())
    keep = sparsest_winners(task, start, ends, protocol, index, share=0.2, rounds=4)
    pruned = start.with_state(keep.to(torch.uint8))
    again = run_trial(task, pruned, protocol, index)
    assert (again.win == ends.win).all()
    shrunk = density(pruned) < 1
    assert bool(shrunk.any()) and not bool(shrunk[~ends.win].any())


def test_bad_input(nets):
    with pytest.raises(ValueError, match="did you mean"):
        prune_lowest(nets, magnitude(nets), 0.2, "layers")
    with pytest.raises(ValueError, match="share must be a finite number >= 0 and < 1"):
        prune_lowest(nets, magnitude(nets), 1.0)
    with pytest.raises(ShapeError, match="scores"):
        prune_lowest(nets, torch.ones(3), 0.2)
    with pytest.raises(ShapeError, match="per layer"):
        prune_lowest(nets, magnitude(nets), [0.2])
    with pytest.raises(ValueError, match="one share"):
        prune_lowest(nets, magnitude(nets), [0.2, 0.1, 0.2], "global")
