"""Networks cut in two: found, counted, and never made by pruning, whatever the scores."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import edt
from edt.ensemble import Ensemble
from edt.lottery import criteria
from edt.lottery.connectivity import connected, layers_cut, strongest_path
from edt.lottery.iterative import iterative_pruning, magnitude
from edt.lottery.membership import membership
from edt.lottery.prune import SCOPES, density, prune_finite, prune_lowest

NAN = float("nan")


def paths(ens, b):
    """Every path of unpruned weights through network b, as lists of places in ``theta``."""
    at = membership(ens)
    own = (at.network == b) & ~at.bias & (ens.state != 0)
    edges = [
        {
            (int(at.column[i]), int(at.row[i])): int(i)
            for i in torch.nonzero(own & (at.layer == layer)).flatten()
        }
        for layer in range(at.layers)
    ]
    widths = ens.layer_widths[b].tolist()
    for units in product(*(range(w) for w in widths)):
        steps = [edges[k].get((units[k], units[k + 1])) for k in range(len(edges))]
        if None not in steps:
            yield steps


@st.composite
def pruned(draw):
    depth = draw(st.integers(1, 3))
    widths = draw(st.lists(st.tuples(*[st.integers(1, 3)] * depth), min_size=1, max_size=3))
    ens = Ensemble.init(
        widths, draw(st.integers(0, 99)), d_in=draw(st.integers(1, 3)),
        d_out=draw(st.integers(1, 2)), bias=draw(st.booleans()), scheme="normal",
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    state = (rng.random(ens.total) > draw(st.sampled_from([0.0, 0.3, 0.6]))).astype(np.uint8)
    # Ties and infinities are scores, too.
    scores = rng.choice([0.0, 1.0, 2.0, 3.0, np.inf, -np.inf, rng.normal()], ens.total)
    return ens.with_state(state), torch.from_numpy(scores)


@given(pruned())
@settings(deadline=None, max_examples=60)
def test_against_all_paths(case):
    ens, scores = case
    chosen = strongest_path(ens, scores)
    at = membership(ens)
    for b in range(ens.B):
        every = list(paths(ens, b))
        assert bool(connected(ens)[b]) == bool(every)
        mine = torch.nonzero(chosen & (at.network == b)).flatten().tolist()
        if not every:
            assert mine == []
            continue
        assert sorted(mine) in [sorted(path) for path in every]
        best = max(float(scores[path].min()) for path in every)
        assert float(scores[mine].min()) == best
        empty = [not ens.weight_mask(b, layer).any() for layer in range(ens.depth + 1)]
        assert int(layers_cut(ens)[b]) == sum(empty)


@given(pruned(), st.sampled_from(SCOPES), st.floats(0.0, 0.999))
@settings(deadline=None, max_examples=80)
def test_pruning_never_cuts(case, scope, share):
    ens, scores = case
    if scope == "neuron":
        scores = torch.nan_to_num(scores, posinf=9.0, neginf=-9.0)
    before = connected(ens)
    state = prune_lowest(ens, scores, share, scope)
    after = ens.with_state(state)
    assert (connected(after) == before).all()
    assert not (state[ens.state == 0]).any()
    # Where enough weights can go, as many go as before the guard.
    if scope == "global":
        for b in torch.nonzero(before).flatten().tolist():
            live = int(ens.select([b]).masks[~membership(ens.select([b])).bias].sum())
            left = int(after.select([b]).masks[~membership(ens.select([b])).bias].sum())
            wanted = max(int(np.floor(share * live + 0.5)), 1) if share > 0.0 else 0
            assert left == max(live - wanted, 1) or left == ens.depth + 1


def test_a_large_layer_does_not_empty_a_small_one():
    """Found in the wild: 441 weights of the first layer stay, none of the last."""
    theta = Ensemble([21], 21, 1).theta.clone()
    ens = Ensemble([21], 21, 1, theta=theta)
    ens.weight(0, 0).fill_(1.0)
    ens.weight(0, 1).fill_(0.1)
    state = prune_lowest(ens, magnitude(ens), 21 / 462, "global")
    after = ens.with_state(state)
    assert layers_cut(after).tolist() == [0]
    assert connected(after).all()
    # As many weights go as were asked for.
    assert [int(after.weight_mask(0, k).sum()) for k in (0, 1)] == [440, 1]
    emptied = ens.with_masks([[torch.ones(21, 21), torch.zeros(1, 21)]])
    assert layers_cut(emptied).tolist() == [1]
    (first,) = iterative_pruning(emptied, lambda networks: (networks, None), rounds=0, share=0.1)
    assert first.layers_cut.tolist() == first.to_pandas()["layers_cut"].tolist() == [1]
    assert not first.to_pandas()["connected"].any()
    assert not connected(emptied).any()


def test_cut_means_constant():
    x = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)[:, None]
    ens = Ensemble.init([(3, 3)] * 40, 1, d_in=1, d_out=1, scheme="normal", ids=range(40))
    ens = ens.with_sparsity(0.65, range(40))
    spread = edt.predict(ens, edt.Task(x, x)).std(1)[:, 0]
    found = connected(ens)
    assert 0 < int(found.sum()) < 40
    assert ((spread > 0.0) == found).all()


TASK = edt.Task(torch.randn(16, 3, generator=torch.Generator().manual_seed(0)).double(),
                torch.ones(16, 1).double())  # fmt: skip


@pytest.mark.parametrize("name", ["magnitude", "snip", "grasp", "obd", "random"])
@pytest.mark.parametrize("scope", SCOPES)
def test_no_criterion_cuts(name, scope):
    # The last layer is small: every criterion that multiplies by weights gives it up first.
    ens = Ensemble.init([(6, 4), (3, 5)], range(3), d_in=3, d_out=1)
    ens = ens.with_theta(torch.where(membership(ens).layer == 2, 1e-9 * ens.theta, ens.theta))
    scores = {
        "magnitude": lambda: magnitude(ens),
        "snip": lambda: criteria.snip(TASK, ens),
        "grasp": lambda: criteria.grasp(TASK, ens),
        "obd": lambda: criteria.obd(TASK, ens),
        "random": lambda: criteria.random_scores(ens, 3, ens.network_ids.abs() % 1000),
    }[name]()
    for share in (0.3, 0.6, 0.9, 0.99):
        assert connected(ens.with_state(prune_lowest(ens, scores, share, scope))).all()


def test_the_surgeon_does_not_cut():
    ens = Ensemble.init([(3, 3)], range(4), d_in=3, d_out=1)
    for share in (0.5, 0.9, 0.99):
        after = criteria.obs_prune(TASK, ens, share)
        assert connected(after).all()
    # All but one path of three weights, of 21.
    assert (density(after) * 21).round().tolist() == [3.0] * 4


def test_scores_that_are_no_numbers():
    ens = Ensemble.init([4, 5, 6], [0], d_in=2, d_out=1)
    scores = magnitude(ens)
    at = membership(ens)
    scores[at.bias] = NAN  # not looked at
    fine = prune_lowest(ens, scores, 0.5)
    scores[torch.nonzero((at.network == 1) & ~at.bias).flatten()[:2]] = NAN
    for scope in SCOPES:
        with pytest.raises(ValueError, match="got 2 in 1 of 3 networks, network 1 the first"):
            prune_lowest(ens, scores, 0.5, scope)
    broken = ens.theta.clone()
    broken[ens.offsets[1]] = NAN
    lost = ens.with_theta(broken)
    state = prune_finite(lost, scores, 0.5)
    assert (state[at.network == 1] == 1).all()
    assert (state[at.network != 1] == fine[at.network != 1]).all()
    # A finite network's NaN is still an error.
    scores[0] = NAN
    with pytest.raises(ValueError, match="network 0 the first"):
        prune_finite(lost, scores, 0.5)


def test_infinities_of_both_signs_have_no_sum():
    ens = Ensemble.init([2], [0], d_in=1, d_out=1, bias=False)
    scores = torch.tensor([float("inf"), 0.0, -float("inf"), 0.0])
    assert prune_lowest(ens, scores, 0.5).sum() == 2
    with pytest.raises(ValueError, match="infinities of both signs"):
        prune_lowest(ens, scores, 0.5, "neuron")


def test_iterative_pruning_says_what_diverged():
    ens = Ensemble.init([4, 4, 4], range(1), d_in=2, d_out=1, ids=[1, 2, 3])

    def train(which):
        def run(networks):
            theta = networks.theta.clone()
            for b in which:
                theta[networks.offsets[b] : networks.offsets[b + 1]] = NAN
            return networks.with_theta(theta), None

        return run

    rounds = list(iterative_pruning(ens, train([1]), rounds=3, share=0.3))
    for r in rounds:
        assert r.finite.tolist() == [True, False, True]
        assert density(r.start)[1] == 1.0
    assert density(rounds[-1].start)[0] < 0.5
    alone = list(iterative_pruning(ens.select([0, 2]), train([]), rounds=3, share=0.3))
    assert (alone[-1].start.state == rounds[-1].start.select([0, 2]).state).all()
    lost = iterative_pruning(ens, train([0, 1, 2]), rounds=3, share=0.3)
    assert not next(lost).finite.any()
    with pytest.raises(ValueError, match="every network diverged in round 0"):
        next(lost)


@pytest.mark.parametrize("bad", [NAN, 1e300])
@pytest.mark.parametrize(
    "call",
    [lambda e: criteria.obs_prune(TASK, e, 0.3), lambda e: criteria.edge_popup(TASK, e, 0.5)],
)
def test_methods_name_the_network_that_diverged(call, bad):
    ens = Ensemble.init([3, 3, 3], [0], d_in=3, d_out=1, ids=[1, 2, 3], activation="softplus")
    theta = ens.theta.clone()
    theta[ens.offsets[1] : ens.offsets[2]] = bad
    with pytest.raises(ValueError, match="1 of 3 networks, network 1 the first"):
        call(ens.with_theta(theta))


@pytest.mark.parametrize("kind", ["chain", "module"])
def test_no_criterion_cuts_a_layer(kind):
    """Weights of the last layer a millionth of the others: criteria would take them first."""

    def net(seed):
        torch.manual_seed(seed)
        found = nn.Sequential(
            nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1)
        )
        with torch.no_grad():
            found[4].weight.mul_(1e-6)
        return found.double()

    modules = [net(0), net(1)]
    x = torch.linspace(-1.0, 1.0, 40, dtype=torch.float64).reshape(20, 2)
    task = edt.Task(x, torch.sin(3.0 * x[:, :1]))
    chain = Ensemble.from_modules(modules)
    networks = chain if kind == "chain" else edt.ModuleEnsemble(modules, input_shape=(2,))
    scores = {
        "magnitude": magnitude(networks),
        "snip": criteria.snip(task, networks),
        "grasp": criteria.grasp(task, networks),
        "obd": criteria.obd(task, networks),
        "synflow": criteria.synflow(networks),
    }
    for name, score in scores.items():
        for scope in ("global", "layer", *(["neuron"] if kind == "chain" else [])):
            after = networks.with_state(prune_lowest(networks, score, 0.9, scope))
            assert layers_cut(after).tolist() == [0, 0], (name, scope)
            assert connected(after).all(), (name, scope)
    assert connected(criteria.obs_prune(task, networks, 0.9)).all()
