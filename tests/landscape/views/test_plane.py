"""Losses on planes: coordinates, marked networks, paths, and with the rest minimised out."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.landscape import LossPlane, loss_plane, path_directions, random_directions
from edt.plots import DARK, plot_line, plot_plane, png


def words(figure):
    """All text that is drawn."""
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for ax in figure.axes:
        texts += [ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()]
        texts += [text.get_text() for text in ax.texts]
    return " ".join(texts)


@pytest.fixture(scope="module")
def flow(data):
    start = edt.Ensemble.init([2, 3], range(2), d_in=2, d_out=1, scheme="glorot")
    return edt.gradient_flow(
        data, start, max_time=100.0, record_params=True, record=[0, 1, 5, 20, 100], progress=False
    )


def test_losses_are_those_of_the_points(data, ends):
    axes = random_directions(ends, 2)
    plane = loss_plane(data, ends, axes, points=(3, 2), span=((-1, 1), (0, 2)), progress=False)
    assert plane.loss.shape == (4, 2, 3)
    for row, y in enumerate((0.0, 2.0)):
        for column, x in enumerate((-1.0, 0.0, 1.0)):
            direct = edt.loss(ends, data, ends.theta + x * axes[0] + y * axes[1])
            assert torch.allclose(plane.loss[:, row, column], direct, rtol=1e-12)
    table = plane.to_pandas()
    one = table[(table["network"] == 3) & (table["x"] == 1.0) & (table["y"] == 2.0)]
    assert one["loss"].item() == float(plane.loss[3, 1, 2])
    assert plane.to_xarray()["loss"].shape == (4, 2, 3)


def test_through_three_networks(data, ends):
    other, third = ends.select([1, 0, 3, 2]), ends.with_theta(ends.theta + 0.5)
    plane = loss_plane(data, ends, (other, third), points=5, progress=False)
    lengths = ends.offsets[1:] - ends.offsets[:-1]
    for axis in plane.axes:
        squares = torch.segment_reduce(axis * axis, "sum", lengths=lengths)
        assert torch.allclose(squares, torch.ones(4, dtype=torch.float64), rtol=1e-12)
    for m, ens in enumerate((ends, other, third)):
        at = plane.marks.at[m]
        away = (ens.theta - ends.theta).split(lengths.tolist())
        for b, way in enumerate(away):  # true distances
            assert float(at[b].norm()) == pytest.approx(float(way.norm()), abs=1e-12)
        again = torch.repeat_interleave(at, lengths, dim=0)
        back = ends.theta + again[:, 0] * plane.axes[0] + again[:, 1] * plane.axes[1]
        assert torch.allclose(back, ens.theta, atol=1e-12)
        assert torch.allclose(plane.marks.loss[m], edt.loss(ens, data))
        inside = (plane.x[:, 0] < at[:, 0]) & (at[:, 0] < plane.x[:, -1])
        assert bool(inside.all())
    with pytest.raises(ValueError, match="on a line"):
        loss_plane(data, ends, (other, ends.with_theta(2 * other.theta - ends.theta)))


def test_along_a_path(data, flow, tmp_path):
    params = flow.history["params"]
    plane = loss_plane(data, flow.networks, "path", path=params, points=7, progress=False)
    assert bool((plane.share.sum(0) <= 1.0 + 1e-12).all()) and bool((plane.share[0] > 0.5).all())
    assert torch.allclose(plane.path[-1], torch.zeros(4, 2, dtype=torch.float64), atol=1e-12)
    assert torch.equal(plane.project(torch.from_numpy(params.to_numpy())), plane.path)
    # The plane is the closest one: nothing else explains more of the path.
    ways, share = path_directions(flow.networks, torch.from_numpy(params.to_numpy()))
    assert torch.equal(ways, plane.axes) and torch.equal(share, plane.share)
    away = params.to_numpy()[:-1, :9] - flow.networks.theta[:9].numpy()
    values = torch.linalg.svdvals(torch.from_numpy(away))
    assert torch.allclose(share[:, 0], values[:2] ** 2 / (values**2).sum(), rtol=1e-9)
    plane.save(tmp_path / "plane.safetensors")
    back = LossPlane.load(tmp_path / "plane.safetensors")
    for name in ("axes", "x", "y", "loss", "path", "share"):
        assert torch.equal(getattr(back, name), getattr(plane, name))
    assert back.theta is None and back.labels == plane.labels
    figure = plot_plane(plane, 1)
    text = words(figure)
    assert "its beginning" in text and "Network 1" in text and "%" in text
    assert png(figure, dpi=40) == png(plot_plane(back, 1), dpi=40)


def test_quadratic_profile_has_its_closed_form(data, linear):
    """``L(c) = L + c^T (D^T H^-1 D)^-1 c / 2`` for the columns D of the directions."""
    axes = random_directions(linear, 2, norm="unit", seed=4)
    plane = loss_plane(data, linear, axes, points=3, minimise_rest=True, progress=False)
    matrices, low = edt.hessian(linear, data), edt.loss(linear, data)
    for b in range(linear.B):
        span = slice(int(linear.offsets[b]), int(linear.offsets[b + 1]))
        D = axes[:, span][:, linear.state[span] == 1].T
        # c are coefficients along D; D^T v = 0 for the rest v.
        gram = D.T @ D
        inner = gram @ torch.linalg.inv(D.T @ torch.linalg.solve(matrices[b], D)) @ gram
        c = torch.stack(torch.meshgrid(plane.x[b], plane.y[b], indexing="xy"), -1)
        wanted = low[b] + 0.5 * torch.einsum("yxi,ij,yxj->yx", c, inner, c)
        # The gradient off the plane is below 1e-8: an error of its square over the curvature.
        assert torch.allclose(plane.loss[b], wanted, rtol=1e-9, atol=1e-12)


def test_saddles_are_marked(data, ends):
    """Splitting a neuron of this minimum with a share above 1 gives a saddle of index 2."""
    grown = edt.embed.split(ends.select([0]), 0, 1.5).networks
    plane = loss_plane(data, grown, "lowest", points=5, progress=False)
    assert plane.marks.kind(0, 0, 1e-8) == "saddle"
    assert int(plane.marks.index[0, 0]) == int(edt.index(grown, data)[0]) == 2
    text = words(plot_plane(plane, theme=DARK))
    assert "saddle" in text and "index 2" in text
    assert plane.marks.kind(0, 0, 0.0) == "point"


def test_line_plot(data, ends):
    line = edt.landscape.loss_line(data, ends, at=[-0.1, 0.0, 0.1], progress=False)
    figure = plot_line(line, [0, 3])
    assert [artist.get_label() for artist in figure.axes[0].lines if len(artist.get_xdata()) > 1] \
        == ["network 0", "network 3"]  # fmt: skip
    assert "minimum" in words(figure) and "filter norms" in words(figure)


@pytest.mark.parametrize(
    "bad, error, words",
    [
        ({"along": "path"}, ValueError, "needs path"),
        ({"path": [1.0]}, TypeError, "path"),
        ({"path": torch.zeros(2, 3)}, ValueError, "path"),
        ({"points": 1}, ValueError, "points"),
        ({"points": (3, 3, 3)}, ValueError, "points"),
        ({"span": (1, 0)}, ValueError, "span"),
        ({"span": "wide"}, TypeError, "span"),
    ],
)
def test_bad_input(data, ends, bad, error, words):
    with pytest.raises(error, match=words):
        loss_plane(data, ends, progress=False, **bad)
    with pytest.raises(ValueError, match="two ensembles"):
        loss_plane(data, ends, (ends,))
