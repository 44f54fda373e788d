"""Losses along lines: what they are, whatever the company, and with the rest minimised out."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize

import edt
from edt.errors import ShapeError
from edt.files import CheckpointError
from edt.landscape import LossLine, eigen_directions, loss_line, random_directions


def slices(ens):
    return [slice(a, b) for a, b in zip(ens.offsets[:-1].tolist(), ens.offsets[1:].tolist(),
                                        strict=True)]  # fmt: skip


def test_losses_are_those_of_the_points(data, ends):
    axis = random_directions(ends, seed=3)[0]
    line = loss_line(data, ends, axis, at=[-0.5, 0.0, 0.3], progress=False)
    for t, row in zip(line.t.tolist(), line.loss, strict=True):
        direct = edt.loss(ends, data, ends.theta + t * axis)
        # The same kernel on parameters that differ by rounding at most.
        assert torch.allclose(row, direct, rtol=1e-12, atol=0.0)
    assert line.marks.kind(0, 2, 1e-8) == "minimum"
    table = line.to_pandas()
    assert table.groupby("network").size().tolist() == [3] * 4
    assert table["loss"][4] == float(line.to_xarray()["loss"].sel(network=1, t=0.0))


def test_company_does_not_matter(data, ends, monkeypatch):
    from edt.landscape.views import chart

    together = loss_line(data, ends, "random", seed=5, progress=False)
    alone = loss_line(data, ends.select([2]), "random", seed=5, progress=False)
    assert torch.equal(together.loss[:, 2], alone.loss[:, 0])
    monkeypatch.setattr(chart, "MEMORY", 1)
    pieces = loss_line(data, ends, "random", seed=5, progress=False)
    assert torch.equal(pieces.loss, together.loss)


def test_random_directions_have_the_norms_of_the_neurons(ends):
    masked = ends.with_masks(torch.arange(ends.total) % 5 != 2)
    ways = random_directions(masked, 2, seed=1)
    assert not torch.equal(ways[0], ways[1])
    assert bool((ways[:, masked.state == 0] == 0.0).all())
    for b in range(masked.B):
        for layer in range(2):
            rows = [torch.cat([masked.layout.weight(flat, b, layer),
                               masked.layout.bias(flat, b, layer)[:, None]], 1)
                    for flat in (ways[1], masked.theta)]  # fmt: skip
            assert torch.allclose(rows[0].norm(dim=1), rows[1].norm(dim=1), rtol=1e-12)
    unit = random_directions(masked, norm="unit")[0]
    whole = random_directions(masked, norm="network")[0]
    for part in slices(masked):
        assert float(unit[part].norm()) == pytest.approx(1.0, rel=1e-12)
        assert float(whole[part].norm()) == pytest.approx(float(masked.theta[part].norm()))


@pytest.mark.parametrize("which", ["lowest", "highest"])
@pytest.mark.parametrize("dense", [True, False])
def test_curvature_along_eigenvectors(data, ends, which, dense, monkeypatch):
    if not dense:
        monkeypatch.setattr("edt.landscape.views.directions.DENSE", 1)
    ways, values = eigen_directions(data, ends, 2, which=which)
    spectra = edt.hessian_spectrum(ends, data)
    for b, spectrum in enumerate(spectra):
        wanted = spectrum[:2] if which == "lowest" else spectrum.flip(0)[:2]
        # Lanczos stops at residuals of 1e-10 ||H||.
        assert torch.allclose(values[:, b], wanted, rtol=0.0, atol=1e-9 * float(spectrum[-1]))
    curved = edt.hvp(ends, data, ways)
    for b, part in enumerate(slices(ends)):
        gap = curved[:, part] - values[:, b, None] * ways[:, part]
        assert float(gap.abs().max()) <= 1e-8 * float(spectra[b][-1])


def test_quadratic_profile_has_its_closed_form(data, linear):
    """At the minimum of a quadratic loss, ``L(t) = L + t^2 / (2 d^T H^-1 d)`` for unit d."""
    ways = random_directions(linear, norm="unit", seed=2)[0]
    at = torch.tensor([-1.0, -0.4, 0.0, 0.7], dtype=torch.float64)
    line = loss_line(data, linear, ways, at=at, minimise_rest=True, progress=False)
    plain = loss_line(data, linear, ways, at=at, progress=False)
    matrices = edt.hessian(linear, data)
    low = edt.loss(linear, data)
    for b, part in enumerate(slices(linear)):
        d = ways[part][linear.state[part] == 1]
        stiffness = 1.0 / float(d @ torch.linalg.solve(matrices[b], d))
        wanted = low[b] + 0.5 * at**2 * stiffness
        # The gradient off the line is below 1e-8: an error of its square over the curvature.
        assert torch.allclose(line.loss[:, b], wanted, rtol=1e-9, atol=1e-12)
        moved = (line.theta[:, part] - linear.theta[part]) @ ways[part]
        assert torch.allclose(moved, at, atol=1e-12)
        straight = low[b] + 0.5 * at**2 * float(d @ matrices[b] @ d)
        assert torch.allclose(plain.loss[:, b], straight, rtol=1e-9, atol=1e-12)
        frozen = linear.state[part] != 1
        assert torch.equal(line.theta[:, part][:, frozen], linear.theta[part][frozen].expand(4, -1))
    assert float(line.section_grad.max()) <= 1e-8


def test_profile_against_scipy(data, ends):
    one = ends.select([0])
    way = eigen_directions(data, one)[0][0]
    line = loss_line(data, one, way, at=[-0.3, 0.0, 0.3], minimise_rest=True, progress=False)
    basis = torch.linalg.svd(way[None])[2][1:]  # orthonormal complement

    for t, height, theta in zip(line.t.tolist(), line.loss[:, 0].tolist(), line.theta, strict=True):

        def value(z, t=t):
            point = one.theta + t * way + torch.from_numpy(z) @ basis
            loss, grad = edt.loss_and_grad(one, data, point)
            return float(loss), (basis @ grad).numpy()

        begin = (basis @ (theta - one.theta)).numpy()
        found = minimize(value, begin + 1e-3, jac=True, method="BFGS", options={"gtol": 1e-9})
        # Both stop at gradients of 1e-8; the losses then differ by their squares over the least
        # curvature, about 1e-12.
        assert height == pytest.approx(float(found.fun), abs=1e-10)


def test_profile_follows_lower_branches(data, ends):
    kwargs = {"at": torch.linspace(-1, 1, 11), "minimise_rest": True, "progress": False}
    local = loss_line(data, ends, "lowest", rounds=0, **kwargs)
    followed = loss_line(data, ends, "lowest", rounds=20, **kwargs)
    plain = loss_line(data, ends, "lowest", at=kwargs["at"], progress=False)
    slack = 1e-15
    assert bool((local.loss <= plain.loss + slack).all())
    assert bool((followed.loss <= local.loss + slack).all())
    # Here a branch that starts far out is lower than the one through the minimum.
    assert bool((followed.loss[5] < 0.9 * local.loss[5]).any())


def test_between_networks_with_unlike_masks(data, ends):
    masks = torch.ones(ends.total, dtype=torch.bool)
    masks[::7] = False
    one, other = ends.with_masks(masks), ends.select([1, 0, 3, 2])
    line = loss_line(data, one, other, at=[0.0, 0.5, 1.0], progress=False)
    for place, ens in ((0, one), (2, other)):
        assert torch.allclose(line.loss[place], edt.loss(ens, data), rtol=1e-12)
    middle = other.with_theta(0.5 * (one.theta + other.theta))
    assert torch.allclose(line.loss[1], edt.loss(middle, data), rtol=1e-12)
    assert line.marks.labels == ["first", "second"]
    assert line.marks.kind(1, 0, 1e-8) == "minimum" and line.marks.kind(0, 0, 1e-8) == "point"


def test_infinite_data_and_several_targets():
    teacher = edt.Ensemble.init([2], range(2), d_in=2, d_out=1, activation="erf", scale=2.0)
    students = edt.Ensemble.init([2, 3], [0], d_in=2, d_out=1, activation="erf")
    task = edt.population(teacher)
    line = loss_line(task, students, at=[-1.0, 0.0], task_index=[1, 0], progress=False)
    direct = edt.loss(students, task, task_index=torch.tensor([1, 0]))
    assert torch.allclose(line.loss[1], direct, rtol=1e-12)
    bottom = loss_line(
        task, students, at=[0.0], minimise_rest=True, task_index=[1, 0], progress=False
    )
    assert bool((bottom.loss[0] < line.loss[1]).all())


def test_files(data, ends, tmp_path):
    line = loss_line(data, ends, at=[0.0, 0.5], minimise_rest=True, progress=False)
    line.save(tmp_path / "line.safetensors")
    back = LossLine.load(tmp_path / "line.safetensors")
    for name in ("axis", "t", "loss", "theta", "section_grad", "task_index"):
        assert torch.equal(getattr(back, name), getattr(line, name))
    assert back.kind == line.kind and back.marks.labels == line.marks.labels
    assert torch.equal(back.marks.index, line.marks.index)
    assert "minimised out" in repr(back)
    file = tmp_path / "line.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"line\.safetensors"):
        LossLine.load(file)


@pytest.mark.parametrize(
    "bad, error, words",
    [
        ({"along": "softest"}, ValueError, "along"),
        ({"along": 3}, TypeError, "along"),
        ({"along": torch.zeros(3)}, ShapeError, "along"),
        ({"at": [1.0, 0.0]}, ValueError, "at must"),
        ({"at": ["a"]}, TypeError, "at must"),
        ({"tol": 0.0, "minimise_rest": True}, ValueError, "tol"),
        ({"rounds": -1, "minimise_rest": True}, ValueError, "rounds"),
        ({"task_index": [0, 0, 0, 5]}, ValueError, "task_index"),
    ],
)
def test_bad_input(data, ends, bad, error, words):
    with pytest.raises(error, match=words):
        loss_line(data, ends, progress=False, **bad)
    with pytest.raises(TypeError, match="networks"):
        loss_line(data, "ends")
    other = edt.Ensemble.init([2], range(4), d_in=2, d_out=1)
    with pytest.raises(ValueError, match="widths"):
        loss_line(data, ends, other)
