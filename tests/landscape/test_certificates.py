"""Labels of ends: each kind made by construction, and labelled as what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.landscape import certify, embed, label_of
from edt.landscape.invariances import invariant_directions
from edt.landscape.labels import SETTLED, Standing
from edt.landscape.layers import unpack
from edt.training.channels import CLOSE


def moved(ens, size, seed=0):
    step = torch.randn(ens.total, generator=torch.Generator().manual_seed(seed)).double()
    return ens.with_theta(ens.theta + size * step)


def row(rows, output_bias=0.0):
    """One tanh network from rows (w_1, bias, output weight)."""
    table = torch.tensor(rows, dtype=torch.float64)
    theta = torch.cat([table[:, 0], table[:, 1], table[:, 2], torch.tensor([output_bias]).double()])
    return Ensemble([len(rows)], 1, 1, activation="tanh", dtype=torch.float64, theta=theta)


def test_a_minimum_is_found_again_from_beside_it(make):
    ens = make.networks([2, 3], 2)
    task, index = make.on_critical_points(ens, residual=1e-3)
    found = certify(task, moved(ens, 1e-3), task_index=index)
    assert found.label == ["minimum"] * 4
    # Newton is quadratic: what is left is rounding over the smallest eigenvalue.
    assert float((found.networks.theta - ens.theta).abs().max()) < 1e-6
    for at in found.standings:
        assert at.index == at.n_zero == 0
        assert at.distance <= SETTLED
    assert found.certified.all()
    assert "a lower loss within" in found.overturned_by(0)


def test_zero_loss_has_no_index(make):
    narrow = make.networks([2], 2)
    x = make.inputs(61, 2)
    y = torch.stack([edt.predict(narrow.select([b]), edt.Task(x, torch.zeros(61, 1).double()))[0]
                     for b in range(2)])  # fmt: skip
    task = edt.Task(x, y)
    wide = embed.split(narrow, 0, 0.3).networks
    # Rounding of the residuals makes eigenvalues of both signs.
    found = certify(task, moved(wide, 1e-15), task_index=torch.arange(2))
    assert found.label == ["flat minimum"] * 2
    assert found.to_pandas()["index"].tolist() == [0, 0]
    ends = edt.converge(task, moved(wide, 1e-15), task_index=torch.arange(2), progress=False)
    assert "saddle" not in ends.verdict
    assert ends.recheck(task)["agrees"].all()


def test_a_split_minimum_is_a_saddle_and_is_left(make):
    ens = make.networks([2], 6)
    task, index = make.on_critical_points(ens, residual=0.3)
    wide = embed.split(ens, 0, 0.5).networks
    counted = edt.count_directions(wide, task, task_index=index)
    stay = certify(task, wide, task_index=index, steps=0)
    chosen = [b for b in range(6) if int(counted.n_neg[b])]
    assert chosen, "no saddle to look at"
    for b in chosen:
        assert stay.label[b] == "saddle"
        assert int(stay.to_pandas()["index"][b]) == int(counted.n_neg[b])
    gone = certify(task, wide.select(chosen), task_index=index[chosen])
    assert "saddle" not in gone.label
    assert bool((gone.loss < stay.loss[chosen]).all())


def test_a_channel_is_one_whatever_its_gradient():
    # f = a tanh(w + d/2a) - a tanh(w - d/2a) -> d tanh'(w): lower loss the larger a, never reached.
    x = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)[:, None]
    bump = 1.0 / torch.cosh(1.3 * x + 0.2) ** 2
    far = torch.sin(7.0 * x)
    basis = torch.linalg.qr(torch.cat([x**k / torch.cosh(1.3 * x + 0.2) ** 2 for k in range(4)], 1))
    y = bump + 0.1 * (far - basis.Q @ (basis.Q.T @ far))
    task = edt.Task(x, y)
    labels = {}
    for a in (100.0, 300.0):
        start = row([[1.3, 0.2 + 0.5 / a, a], [1.3, 0.2 - 0.5 / a, -a]])
        end = edt.converge(task, start, newton_steps=60, progress=False)
        labels[a] = certify(task, end.networks).label[0]
    assert set(labels.values()) == {"channel"}, labels


def test_a_saturated_unit_is_one():
    x = torch.cat([torch.linspace(-2, -1, 20), torch.linspace(1, 2, 20)]).double()[:, None]
    noise = torch.tensor([0.1, -0.1] * 20).double()[:, None]
    task = edt.Task(x, torch.sign(x) + noise)
    found = certify(task, row([[4.0, 0.1, 0.9]]))
    assert found.label == ["saturated"]
    assert found.standings[0].norm > 8.0
    # One sample at the kink leaves more input weights than data to set them.
    more = edt.Task(torch.cat([x, torch.tensor([[0.3]]).double()]),
                    torch.cat([task.y, torch.tensor([[0.2]]).double()]))  # fmt: skip
    assert certify(more, row([[4.0, 0.1, 0.9]])).label == ["saturated"]


def test_symmetries_explain_zeros(make):
    relu = make.networks([3], 1, activation="relu")
    task, index = make.on_critical_points(relu, residual=1e-4)
    ways = invariant_directions(unpack(relu, 0), "relu", "mse")
    assert ways.shape[1] == 3
    found = certify(task, relu, task_index=index, steps=0)
    at = found.standings[0]
    if found.label == ["saturated"]:
        pytest.skip("a unit of this draw is dead")
    assert (at.n_zero, at.unexplained) == (3, 0)
    assert found.label == ["flat minimum"]
    entropy = invariant_directions(
        unpack(make.networks([3], 1, d_out=2), 0), "tanh", "cross_entropy"
    )
    assert entropy.shape[1] == 4
    linear = invariant_directions(
        unpack(make.networks([3], 1, activation="identity"), 0), "identity", "mse"
    )
    assert linear.shape[1] == 9


def test_invariant_directions_leave_the_function_alone(make):
    for activation in ("relu", "cube", "identity", "square"):
        ens = make.networks([3], 1, activation=activation, d_out=2)
        ways = invariant_directions(unpack(ens, 0), activation, "mse")
        x = make.inputs(20, 2)
        task = edt.Task(x, torch.zeros(20, 2).double())

        def outputs(t, way, ens=ens, task=task):
            return edt.predict(ens.with_theta(ens.theta + t * way), task)

        for way in ways.T:
            slope = (outputs(1e-4, way) - outputs(-1e-4, way)) / 2e-4
            assert float(slope.abs().max()) < 1e-6, activation


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic", "mse"])
def test_points_whose_readout_separates_have_no_minimum_near(loss):
    x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]).double()
    y = torch.tensor([0, 0, 1, 1])
    signs = (2.0 * y - 1.0)[:, None].double()
    task = edt.Task(x, y if loss == "cross_entropy" else signs, loss=loss)
    d_out = 2 if loss == "cross_entropy" else 1
    ens = Ensemble.init([2], [0], d_in=1, d_out=d_out, scheme="normal", dtype=torch.float64)
    found = certify(task, ens, steps=40)
    if loss == "mse":
        assert found.label != ["separable"] and found.standings[0].separated != 1.0
        return
    # As `converge` says of the same point; nothing is to be gained by a push.
    assert found.label == ["separable"] and torch.equal(found.networks.theta, ens.theta)
    ended = edt.converge(task, ens, lbfgs_steps=0, newton_steps=0, progress=False)
    assert ended.verdict == ["separable"]
    assert found.standings[0].separated == float(ended.separated[0]) == pytest.approx(1.0)
    assert found.certified.tolist() == [False] and "bound on the norm" in found.overturned_by(0)
    assert found.to_pandas()["index"].isna().all()
    far = ens.with_theta(ens.theta * 3)
    assert certify(task, far, steps=0, dense_limit=1).label == ["separable"]
    # Both labels at every input: a minimum, which the push finds.
    doubled = edt.Task(
        x.repeat(3, 1),
        torch.cat([task.y, task.y, task.y.flip(0)]),
        loss=loss,
    )
    assert certify(doubled, ens, steps=400).label[0] != "separable"


def test_too_many_coordinates_and_not_finite(make):
    ens = make.networks([3], 2)
    task, index = make.on_critical_points(ens)
    theta = ens.theta.clone()
    theta[0] = float("nan")
    found = certify(task, ens.with_theta(theta), task_index=index, dense_limit=5)
    assert found.label == ["undecided", "undecided"]
    assert "not formed" in found.overturned_by(1)
    assert certify(task, ens.with_theta(theta), task_index=index).label[1] != "undecided"
    with pytest.raises(IndexError, match="b must be in"):
        found.overturned_by(2)
    with pytest.raises(ValueError, match="steps"):
        certify(task, ens, task_index=index, steps=-1)


def exponential(sign):
    """(task, start): a tanh neuron and the output bias on ``e^-x`` and a residual of either sign.

    ``-a tanh(x/2 + b) + a`` with ``a = e^2b / 2`` tends to ``e^-x`` from the next exponential's
    side: with the residual there the loss falls like 1/a for ever, with the opposite it has a
    minimum.
    """
    x = torch.linspace(-1, 1, 21).double()[:, None]
    f = torch.exp(-x)
    tangents = torch.linalg.qr(torch.cat([f, x * f, torch.ones_like(x)], 1)).Q
    r = f.square() - tangents @ (tangents.T @ f.square())
    a = float(torch.exp(torch.tensor(6.0))) / 2
    return edt.Task(x, f + sign * r / r.norm()), row([(0.5, 3.0, -a)], a)


def test_a_channel_whose_opponents_stay_apart_is_one_wherever_it_is_looked_at():
    """The bias of its neuron grows like ln(a): its cosine to the output bias stays far from 1
    where rounding stops the run. The label must not need to have seen it grow."""
    task, start = exponential(1.0)
    found = certify(task, start)
    (at,) = found.standings
    assert found.label == ["channel"] and at.closeness > 3 * CLOSE
    assert at.outward > 0.99 and at.unexplained == 1
    assert certify(task, found.networks).label == ["channel"]
    assert certify(task, found.networks, steps=0).label == ["channel"]
    task, start = exponential(-1.0)
    other = certify(task, start)
    assert other.label == ["minimum"] and float(other.networks.theta.norm()) < 10.0


def test_labels_do_not_depend_on_company(make):
    ens = make.networks([2, 3], 2)
    task, index = make.on_critical_points(ens, residual=0.5)
    start = moved(ens, 1e-2)
    crowd = certify(task, start, task_index=index)
    for b in range(4):
        alone = certify(task, start.select([b]), task_index=index[b : b + 1])
        assert alone.label == [crowd.label[b]]
        assert torch.equal(alone.loss, crowd.loss[b : b + 1])


def test_the_rule_is_the_table():
    base = Standing(
        finite=True, measured=True, loss=0.1, zero_loss=False, distance=1e-9, gain=1e-20, norm=5.0,
        index=0, n_zero=0, unexplained=0, min_eig=1e-3, max_eig=1.0, eps_H=1e-14, closeness=0.5,
        pair=(0, 1), layer=0, saturated=0,
    )  # fmt: skip
    cases = [
        ({}, "minimum"),
        ({"n_zero": 2}, "flat minimum"),
        ({"index": 1}, "saddle"),
        ({"zero_loss": True, "index": 3, "n_zero": 1}, "flat minimum"),
        ({"closeness": 1e-5}, "minimum"),
        ({"closeness": 1e-5, "distance": 0.2}, "channel"),
        ({"closeness": 1e-5, "n_zero": 1, "unexplained": 1}, "channel"),
        ({"saturated": 1, "n_zero": 1, "unexplained": 1}, "saturated"),
        ({"distance": 0.2, "growth": 3.0, "reach_growth": 4.0}, "channel"),
        ({"n_zero": 1, "unexplained": 1, "outward": 0.9}, "channel"),
        ({"n_zero": 1, "unexplained": 1, "outward": 0.1}, "undecided"),
        ({"n_zero": 1, "unexplained": 1, "outward": 0.9, "saturated": 1}, "saturated"),
        ({"n_zero": 1, "unexplained": 1, "outward": 0.9, "gain": 1e-3}, "undecided"),
        ({"outward": 0.9}, "minimum"),
        ({"distance": 0.2, "steps": 600, "moved": 0.1}, "drifting"),
        ({"distance": 0.2, "steps": 600}, "undecided"),
        ({"measured": False}, "undecided"),
        ({"finite": False}, "undecided"),
        ({"separated": 0.5}, "separable"),
        ({"separated": 0.5, "measured": False}, "separable"),
        ({"separated": 0.5, "finite": False}, "undecided"),
        ({"separated": 0.0, "index": 1}, "saddle"),
    ]
    for change, word in cases:
        assert label_of(replace(base, **change)) == word, change
