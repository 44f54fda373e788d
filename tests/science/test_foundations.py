"""Shared biases, inertia, zero loss, pairs in deep networks, nulls and counts, each by other code.

Nothing here calls edt to check edt: forward passes, Hessians, permutations and enumerations are
plain torch, numpy and itertools.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.landscape import (
    certify,
    constant_inertia,
    critical_subspaces,
    critical_task,
    embed,
    minimum_subspaces,
    predicted_inertia,
    split_matrices,
)
from edt.lottery import neuron_mask
from edt.lottery.tickets import Tickets
from edt.stats import auc, expected_losers, information_test, variance_components
from edt.studies.common.labelled_runs import run_part
from edt.studies.common.success_table import success_table
from edt.studies.common.targets import make_task
from edt.studies.width.spec import WidthSweepSpec


def generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def signs(hessian):
    """(negative, zero, positive) eigenvalues, zero within ten units of rounding."""
    values = torch.linalg.eigvalsh(hessian)
    unit = 10 * 2.0**-52 * len(values) * float(values.abs().max())
    return (
        int((values < -unit).sum()),
        int((values.abs() <= unit).sum()),
        int((values > unit).sum()),
    )


def students(count, width, seed=0, scale=1.0):
    return Ensemble.init([width], range(seed, seed + count), d_in=2, d_out=1, activation="tanh",
                         scheme="normal", scale=scale, dtype=torch.float64)  # fmt: skip


def inputs(count, seed=1):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed)).double()


def test_success_rates_are_those_of_plain_losses(own):
    spec = WidthSweepSpec(teachers=1, widths=(4,), seeds=16, samples=48, good=1e-4)
    task = make_task(spec)
    frame, ends = run_part(spec, task, 0, 4)
    x, y = task.x.double(), (task.y if task.y.dim() == 2 else task.y[0])[:, 0].double()
    limit = spec.good * float(y.var(unbiased=False))
    good = [float(own.loss(ends.select([b]).theta, x, y, 4)) <= limit for b in range(16)]
    runs = frame.assign(outcome=np.where(frame["loss"] <= limit, "good", "bad"))
    row = success_table(runs, 4).iloc[-1]
    rate, z = np.mean(good), 1.959964
    centre = (rate + z * z / 32) / (1 + z * z / 16)
    half = z / (1 + z * z / 16) * math.sqrt(rate * (1 - rate) / 16 + z * z / (4 * 256))
    assert row["rate"] == rate
    assert (row["rate_low"], row["rate_high"]) == pytest.approx((centre - half, centre + half))
    assert 0.0 < rate < 1.0
    # A descent of another make, from every end: none that failed had a good end next to it.
    for b in [b for b, won in enumerate(good) if not won and runs["label"][b] == "minimum"][:2]:
        assert own.trained(ends.select([b]).theta, x, y, 4, steps=100)[1] > limit


def test_no_index_where_rounding_decides_it(own):
    """At zero loss the Hessian is 2 J'J / N: positive semidefinite, whatever eigvalsh says."""
    narrow, x = students(3, 2, 5), inputs(40)
    wide = embed.split(narrow, 0, 0.4).networks
    draw = torch.Generator().manual_seed(0)
    wide = wide.with_theta(wide.theta + 1e-16 * torch.randn(wide.total, generator=draw).double())
    y = torch.stack([own.output(narrow.select([b]).theta, x, 2)[:, None] for b in range(3)])
    found = certify(edt.Task(x, y), wide, task_index=torch.arange(3), steps=0)
    below = 0
    for b in range(3):
        theta = wide.select([b]).theta
        _, _, hessian = own.curvature(theta, x, y[b][:, 0], 3)
        weight, bias, out, _ = own.unpack(theta, 2, 3)
        unit = torch.tanh(x @ weight.T + bias)
        bent = out * (1 - unit.square())
        jacobian = torch.cat(
            [(bent[:, :, None] * x[:, None, :]).flatten(1), bent, unit, torch.ones(40, 1)], 1
        )
        gauss = 2 * jacobian.T @ jacobian / len(x)
        assert float((hessian - gauss).norm()) < 1e-12 * float(gauss.norm())
        below += int((torch.linalg.eigvalsh(hessian) < 0).sum())
        assert found.label[b] == "flat minimum" and found.standings[b].index == 0
    assert below > 0  # an index by signs alone would have been rounding's
    assert found.to_pandas()["index"].eq(0).all()


def test_the_rest_keeps_the_shared_bias(own):
    wide, x = students(2, 5, 3), inputs(20)
    keep = torch.tensor([[True, False, True, False, False], [False, True, True, False, False]])
    theta = wide.theta.clone().reshape(2, -1)
    theta[:, -1] = torch.tensor([0.7, -0.4])  # output biases start at 0: nothing would show
    wide = wide.with_theta(theta.flatten())
    tickets = Tickets(
        wide, neuron_mask(wide, keep), torch.zeros(2, dtype=torch.int64), torch.arange(2)
    )
    for b in range(2):
        weight, bias, out, last = own.unpack(wide.select([b]).theta, 2, 5)
        for networks, rows in ((tickets.without(), ~keep[b]), (tickets.alone(), keep[b])):
            mine = torch.tanh(x @ weight[rows].T + bias[rows]) @ out[rows] + last
            theirs = edt.predict(networks.select([b]), edt.Task(x, mine[:, None]))[0][:, 0]
            assert torch.allclose(theirs, mine, rtol=1e-12, atol=1e-14)
            assert int(networks.state.reshape(2, -1)[b, -1]) == 1  # and it is trained in both


@pytest.mark.parametrize("residual", [0.05, 1.0])
def test_inertia_of_grown_networks_is_that_of_their_hessians(own, residual):
    narrow, x = students(4, 3, 11), inputs(60)
    task = critical_task(narrow, x, residual=residual, seed=4)
    for b in range(4):
        y = task.y[b][:, 0]
        one = narrow.select([b])
        before = signs(own.curvature(one.theta, x, y, 3)[2])
        matrices = split_matrices(task, narrow, b, target=b)
        for neuron, mu in itertools.product(range(3), (0.3, 1.4)):
            wide = embed.split(one, neuron, mu).networks
            after = signs(own.curvature(wide.theta, x, y, 4)[2])
            assert predicted_inertia(before, matrices[neuron], mu) == after
        wide = embed.constant(one, 0.5).networks
        assert constant_inertia(before, task, narrow, b, bias=0.5, target=b) == signs(
            own.curvature(wide.theta, x, y, 4)[2]
        )
        # Off the critical point the premises fail, and the formulas refuse.
        off = one.with_theta(one.theta + 1e-2)
        with pytest.raises(ValueError, match="critical point"):
            predicted_inertia(before, split_matrices(task, off, target=b)[0], 0.3)
        with pytest.raises(ValueError):
            constant_inertia(before, task, off, bias=0.5, target=b)


def test_opponents_are_found_in_every_hidden_layer():
    ens = Ensemble.init([(3, 4)], range(6), d_in=2, d_out=1, activation="tanh", scheme="normal",
                        dtype=torch.float64)  # fmt: skip
    x = inputs(30)
    found = certify(edt.Task(x, x[:, :1].sin()), ens, steps=0)
    layers = set()
    for b in range(6):
        theta, at, least = ens.select([b]).theta, 0, []
        sizes, parts = [2, 3, 4, 1], []
        for low, high in itertools.pairwise(sizes):
            weight = theta[at : at + low * high].reshape(high, low)
            at += low * high
            parts.append(torch.cat([weight, theta[at : at + high, None]], 1))
            at += high
        for k, (rows, reader) in enumerate(itertools.pairwise(parts)):
            for i in range(len(rows)):
                to_bias = 1 - abs(float(rows[i, -1] / rows[i].norm()))
                least.append((to_bias, k))
                for j in range(i):
                    cosine = float(rows[i] @ rows[j] / (rows[i].norm() * rows[j].norm()))
                    if float(reader[:, i] @ reader[:, j]) * cosine < 0:
                        least.append((1 - abs(cosine), k))
        best, layer = min(least)
        assert found.standings[b].closeness == pytest.approx(best, abs=1e-12)
        assert found.standings[b].layer == layer
        layers.add(layer)
    assert layers == {0, 1}


def bits(one, other):
    """Mutual information from a two-by-two table."""
    table = np.array([[np.mean(~one & ~other), np.mean(~one & other)],
                      [np.mean(one & ~other), np.mean(one & other)]])  # fmt: skip
    outer = np.outer(table.sum(1), table.sum(0))
    return float((table[table > 0] * np.log2(table[table > 0] / outer[table > 0])).sum())


def test_information_and_its_null():
    draw = generator(2)
    group = np.repeat(np.arange(2), 30)
    one = draw.random(60) < np.array([0.3, 0.7])[group]
    other = np.where(draw.random(60) < 0.3, one, draw.random(60) < 0.5)
    found = information_test(one, other, group, draws=999)
    null = np.empty(2000)
    for k in range(len(null)):
        mixed = np.concatenate([draw.permutation(other[group == g]) for g in (0, 1)])
        null[k] = 0.5 * sum(bits(one[group == g], mixed[group == g]) for g in (0, 1))
    value = 0.5 * sum(bits(one[group == g], other[group == g]) for g in (0, 1))
    assert found.value == pytest.approx(value, rel=1e-12)
    # Plug-in information is above 0 on shuffled outcomes, too: what counts is the null's 95% point.
    assert found.null == pytest.approx(null.mean(), abs=0.004) and found.null > 0.005
    assert found.limit == pytest.approx(np.quantile(null, 0.95), abs=0.01)
    assert found.p == pytest.approx(np.mean(null >= value - 1e-12), abs=0.04)


def test_ranks_components_and_expected_losers():
    draw = generator(3)
    group, score = np.repeat(np.arange(3), 12), draw.integers(0, 4, 36)
    won = draw.random(36) < 0.4
    pairs = [(score[i] > score[j]) + 0.5 * (score[i] == score[j])
             for i, j in itertools.product(range(36), repeat=2)
             if group[i] == group[j] and won[i] and not won[j]]  # fmt: skip
    assert auc(score, won, group) == pytest.approx(np.mean(pairs))
    y = draw.normal(size=(6, 1)) * 1.5 + draw.normal(size=(1, 40)) * 0.5 + draw.normal(size=(6, 40))
    rows, columns = y.mean(1, keepdims=True), y.mean(0, keepdims=True)
    left = ((y - rows - columns + y.mean()) ** 2).sum() / (5 * 39)
    ticket = (40 * ((rows - y.mean()) ** 2).sum() / 5 - left) / 40
    rest = (6 * ((columns - y.mean()) ** 2).sum() / 39 - left) / 6
    found = variance_components(y, draws=19)
    total = ticket + rest + left
    shares = (found.ticket.value, found.rest.value, found.interaction)
    assert shares == pytest.approx((ticket / total, rest / total, left / total))
    rates = np.array([0.9, 0.95, 0.99])
    lost = (draw.random((20_000, 3, 12)) > rates[:, None]).any(2).sum(1)
    assert expected_losers(rates, 12) == pytest.approx(lost.mean(), abs=0.03)


def partitions(things):
    if not things:
        yield []
        return
    first, *others = things
    for part in partitions(others):
        yield [[first], *part]
        for k in range(len(part)):
            yield [*part[:k], [first, *part[k]], *part[k + 1 :]]


@pytest.mark.parametrize(("r", "m"), [(1, 3), (2, 3), (2, 4), (3, 4)])
def test_subspaces_with_signs_are_all_ways_to_place_neurons(r, m):
    """Every neuron copies one of r, mirrored or not; at zero loss it may be in a group that cancels
    instead, whose common sign is a change of its free weights."""
    for odd in (False, True):
        mirrors = (1, -1) if odd else (1,)
        every = [place for place in itertools.product(range(r), repeat=m)
                 if set(place) == set(range(r))]  # fmt: skip
        assert critical_subspaces(r, m, odd) == len(every) * len(mirrors) ** m
        known = set()
        for spare in range(m - r + 1):
            for gone in itertools.combinations(range(m), spare):
                kept = [j for j in range(m) if j not in gone]
                for groups in partitions(list(gone)):
                    for sign in itertools.product(mirrors, repeat=m):
                        cancel = frozenset(
                            frozenset((j, sign[j] * sign[min(own)]) for j in own) for own in groups
                        )
                        for place in itertools.product(range(r), repeat=len(kept)):
                            if set(place) == set(range(r)):
                                head = tuple(
                                    (j, i, sign[j]) for j, i in zip(kept, place, strict=True)
                                )
                                known.add((head, cancel))
        assert minimum_subspaces(r, m, odd) == len(known)


def test_a_channel_to_an_exponential_has_no_minimum_in_forty_digits(own):
    """Where rounding stops a run whose loss falls like 1/a, Newton's step in 40 digits is half the
    norm: it makes for infinity, and the label says so although the pair is wide apart."""
    pytest.importorskip("mpmath")
    x = torch.linspace(-1, 1, 21).double()[:, None]
    f = torch.exp(-x)
    tangents = torch.linalg.qr(torch.cat([f, x * f, torch.ones_like(x)], 1)).Q
    r = f.square() - tangents @ (tangents.T @ f.square())
    y = f + r / r.norm()
    a = math.exp(6.0) / 2
    start = Ensemble([1], 1, 1, activation="tanh", dtype=torch.float64,
                     theta=torch.tensor([0.5, 3.0, -a, a]).double())  # fmt: skip
    found = certify(edt.Task(x, y), start)
    assert found.label == ["channel"]
    theta = found.networks.theta
    moved, _, _ = own.mp_newton(theta, x, y[:, 0], 1, steps=1)
    assert moved == pytest.approx(float(theta.norm()) / 2, rel=0.1)
