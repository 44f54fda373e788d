"""Barriers between networks: none where there is none, the known one where it is known."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.landscape import Connection, connect, equal_pairs
from edt.plots import plot_connection

QUIET = {"progress": False, "points": 21, "nodes": 10}


@pytest.fixture(scope="module")
def ends():
    data = edt.tasks.teacher_student(2, 3, n=60, normalise=True, seed=1)
    start = edt.masked_train(
        data, widths=[2, 3], seeds=range(3), steps=500, lr=0.02, progress=False
    ).networks
    found = edt.converge(data, start, lbfgs_steps=300, newton_steps=100, progress=False)
    assert set(found.status) == {"converged"}
    return data, found.networks


def test_permuted_copies_have_no_barrier(ends):
    data, networks = ends
    copy = networks.with_theta(networks.theta)
    for b in range(copy.B):
        for layer in (0,):
            copy.weight(b, layer).copy_(-copy.weight(b, layer).flip(0))
            copy.bias(b, layer).copy_(-copy.bias(b, layer).flip(0))
            copy.weight(b, layer + 1).copy_(-copy.weight(b, layer + 1).flip(1))
    found = connect(data, networks, copy, **QUIET)
    assert float(found.barrier_unaligned.min()) > 1e-3
    # The loss is of order 1e-4; its rounding far below.
    assert float(found.barrier_straight.max()) < 1e-15
    assert float(found.barrier_bent.max()) < 1e-15
    assert float(found.distance_after.max()) < 1e-14 < float(found.distance_before.min())


def test_convex_losses_have_no_barrier(ends):
    data, networks = ends
    frozen = torch.ones(networks.total, dtype=torch.bool)
    for b in range(networks.B):
        networks.layout.weight(frozen, b, 1)[:] = False
    one = networks.with_frozen(frozen)
    draw = torch.Generator().manual_seed(3)
    move = torch.randn(networks.total, generator=draw, dtype=torch.float64) * ~frozen
    found = connect(data, one, one.with_theta(one.theta + move), align=False, curve=None, **QUIET)
    assert bool((found.barrier_straight == 0.0).all())
    assert found.barrier_unaligned is None and found.barrier_bent is None


def test_mirror_images_of_one_neuron_have_the_known_barrier():
    """The middle of ``a tanh(wx)`` and ``-a tanh(-wx)`` is the zero function; no way around it.

    Every path has a point with ``a w = 0``, a constant, and the best constant is 0 here.
    """
    x = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)[:, None]
    ens = edt.Ensemble([1], 1, 1, theta=torch.tensor([1.5, 0.0, 0.8, 0.0], dtype=torch.float64))
    data = edt.Task(x, 0.8 * torch.tanh(1.5 * x))
    mirror = ens.with_theta(torch.tensor([-1.5, 0.0, -0.8, 0.0], dtype=torch.float64))
    found = connect(data, ens, mirror, align=False, **QUIET)
    height = float(data.y.square().mean())
    # L = 0 at both ends; a bend may only lose what its evaluations miss of the top.
    assert float(found.barrier_straight) == pytest.approx(height, rel=1e-12)
    assert float(found.barrier_bent) == pytest.approx(height, rel=1e-3)
    aligned = connect(data, ens, mirror, **QUIET)
    assert float(aligned.barrier_straight) < 1e-30  # rounding of residuals of order one, squared
    assert float(aligned.barrier_unaligned) == float(found.barrier_straight)


@pytest.mark.parametrize("curve", ["chain", "bezier"])
def test_bends_lower_barriers_and_are_paths(ends, curve, tmp_path):
    data, networks = ends
    one, other = equal_pairs(networks)
    assert one.tolist() == [0, 0, 1, 3, 3, 4] and other.tolist() == [1, 2, 2, 4, 5, 5]
    found = connect(data, networks.select(one), networks.select(other), align=False, curve=curve,
                    **QUIET)  # fmt: skip
    assert bool((found.barrier_bent <= found.barrier_straight).all())
    assert bool(found.is_bent.any())
    lower = found.barrier_bent[found.is_bent] / found.barrier_straight[found.is_bent]
    assert float(lower.median()) < 0.5
    # The losses are those of the path through the bend, and the barrier is at least theirs.
    third = torch.full((6,), 0.25, dtype=torch.float64)
    first, second = found.first.theta, found.second.theta
    bend = 0.5 * (first + found.middle)
    if curve == "bezier":
        bend = 0.5625 * first + 0.375 * found.middle + 0.0625 * second
    direct = edt.loss(found.first, data, bend)
    place = int((found.t - third[0]).abs().argmin())
    assert torch.allclose(found.bent[place][found.is_bent], direct[found.is_bent], rtol=1e-9)
    t = found.t[:, None]
    excess = found.bent - (1.0 - t) * found.bent[0] - t * found.bent[-1]
    assert bool((found.barrier_bent >= excess.amax(0) - 1e-18).all())
    found.save(tmp_path / "paths.safetensors")
    back = Connection.load(tmp_path / "paths.safetensors")
    assert back.to_pandas().equals(found.to_pandas())
    assert torch.equal(back.middle, found.middle) and torch.equal(back.bent, found.bent)
    assert torch.equal(back.second.theta, found.second.theta) and back.curve == curve
    assert set(back.to_xarray().data_vars) == {"straight", "bent"}
    assert "6 pairs" in repr(back)


def test_company_does_not_matter(ends):
    data, networks = ends
    crowd = connect(data, networks.select([0, 3]), networks.select([1, 4]), **QUIET)
    alone = connect(data, networks.select([3]), networks.select([4]), **QUIET)
    assert torch.equal(crowd.straight[:, 1], alone.straight[:, 0])
    assert torch.equal(crowd.bent[:, 1], alone.bent[:, 0])
    assert float(crowd.barrier_bent[1]) == float(alone.barrier_bent[0])


def test_figure(ends):
    data, networks = ends
    found = connect(data, networks.select([0, 3]), networks.select([1, 4]), **QUIET)
    figure = plot_connection(found)
    left, right = figure.axes
    assert left.get_title(loc="left") == f"Pair {int(found.barrier_straight.argmax())}"
    assert right.get_title(loc="left") == "Barriers of 2 pairs"
    assert len(left.lines) == 3
    assert len(plot_connection(connect(data, networks, networks, curve=None, **QUIET), 2).axes) == 2


@pytest.mark.parametrize(
    "bad, error, words",
    [
        ({"curve": "arc"}, ValueError, "curve"),
        ({"points": 2}, ValueError, "points"),
        ({"nodes": 5}, ValueError, "even"),
        ({"tol": 0.0}, ValueError, "tol"),
    ],
)
def test_bad_input(ends, bad, error, words):
    data, networks = ends
    with pytest.raises(error, match=words):
        connect(data, networks, networks, **{**QUIET, **bad})
    with pytest.raises(ValueError, match="second"):
        connect(data, networks.select([0]), networks.select([3]))
