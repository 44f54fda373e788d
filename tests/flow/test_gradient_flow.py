"""`gradient_flow`: endings, events, company, interruption, files and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edt import functional
from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.files import CheckpointError
from edt.flow import FlowResult, gradient_flow
from edt.flow import run as loop
from edt.objectives import NormPenalty
from edt.tasks import Task
from edt.tasks.given import objective_of

QUIET = {"progress": False}
SHORT = {"progress": False, "max_time": 20.0, "rtol": 1e-5, "atol": 1e-8}


def own(ens, b, flat):
    return flat[int(ens.offsets[b]) : int(ens.offsets[b + 1])]


def test_converges_to_a_critical_point(cases, place, equal):
    # One neuron and 37 generic targets: a nondegenerate minimum, reached exponentially.
    ens, data = place(cases.ensemble([1], range(3)), cases.task())
    found = gradient_flow(data, ens, max_time=1e12, **QUIET)
    assert found.status == ["converged"] * 3
    loss, grad = functional.loss_and_grad(found.networks, data)
    equal(loss, found.loss)
    for b in range(3):
        equal(own(ens, b, grad).abs().max().cpu(), found.grad_max[b])
        assert float(found.grad_max[b]) <= 1e-10
    assert bool((found.time < 1e12).all())
    # The flow is over long before max_time: its later entries are empty.
    assert bool(np.isnan(found.history["loss"].values[-1]).all())


def test_loss_target_is_located(cases, place):
    ens, data = place(cases.ensemble([3, 4], [0, 1]), cases.task())
    start = functional.loss(ens, data)
    target = 0.3 * float(start.min())
    found = gradient_flow(data, ens, loss_target=target, **QUIET)
    assert found.status == ["target"] * 4
    # A millionth of a step, over which the loss changes by at most about its own size.
    assert bool(((found.loss - target).abs() <= 1e-6 * target).all())
    # The same time as on a finely recorded trajectory.
    time = float(found.time[0])
    times = np.array([0.999 * time, 1.001 * time])
    around = gradient_flow(data, ens, max_time=2 * time, record=times, **QUIET).history["loss"]
    assert float(around[0, 0]) > target > float(around[1, 0])


def test_norm_limit_is_located(cases, place):
    ens, data = place(cases.ensemble([3], [0, 1]), cases.task())
    norms = torch.stack([own(ens, b, ens.theta).norm() for b in range(2)])
    limit = 1.05 * float(norms.max())
    found = gradient_flow(data, ens, norm_limit=limit, max_time=1e4, **QUIET)
    assert "norm" in found.status
    for b, status in enumerate(found.status):
        if status == "norm":
            assert float(own(ens, b, found.networks.theta).norm()) == pytest.approx(limit, rel=1e-6)
    at_once = gradient_flow(data, ens, norm_limit=0.5 * float(norms.min()), **QUIET)
    assert at_once.status == ["norm"] * 2
    assert torch.equal(at_once.networks.theta, ens.theta)
    assert at_once.steps.tolist() == [0, 0]


def test_other_endings(cases):
    ens, data = cases.ensemble([2], [0, 1]), cases.task()
    assert gradient_flow(data, ens, max_steps=3, **QUIET).status == ["max_steps"] * 2
    short = gradient_flow(data, ens, max_time=0.37, **QUIET)
    assert short.status == ["max_time"] * 2
    assert short.time.tolist() == [0.37] * 2
    theta = ens.theta.clone()
    theta[-1] = 1e200
    mixed = gradient_flow(data, ens.with_theta(theta), max_time=1.0, **QUIET)
    assert mixed.status == ["max_time", "diverged"]
    # The broken network does not disturb its neighbour.
    alone = gradient_flow(data, ens.network(0), max_time=1.0, **QUIET)
    assert torch.equal(own(ens, 0, mixed.networks.theta), alone.networks.theta)
    frozen = ens.with_frozen(torch.ones(ens.total, dtype=torch.bool))
    still = gradient_flow(data, frozen, **QUIET)
    assert still.status == ["converged"] * 2
    assert still.steps.tolist() == [0, 0]
    late = gradient_flow(data, ens, max_seconds=0.0, **QUIET)
    assert late.interrupted
    assert late.status == ["interrupted"] * 2


@pytest.mark.parametrize("method", ["rosenbrock", "chebyshev"])
def test_alone_in_a_crowd_and_with_threads(cases, method):
    data = cases.task()
    ens = cases.ensemble([3, 2, 5, 3], masked=True)
    options = {**SHORT, "method": method, "max_time": 20.0 if method == "rosenbrock" else 2.0}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        crowd = gradient_flow(data, ens, **options)
        torch.set_num_threads(1)
        for b in range(len(ens)):
            alone = gradient_flow(data, ens.network(b), **options)
            assert torch.equal(own(ens, b, crowd.networks.theta), alone.networks.theta)
            assert crowd.time[b] == alone.time[0]
            assert crowd.steps[b] == alone.steps[0]
            np.testing.assert_array_equal(
                crowd.history["grad_norm"].values[:, b], alone.history["grad_norm"].values[:, 0]
            )
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("method", ["auto", "chebyshev"])
def test_interrupted_and_resumed(cases, tmp_path, monkeypatch, method):
    data, ens = cases.task(), cases.ensemble([3, 2], [0, 1])
    options = {**SHORT, "record_params": True, "method": method, "max_time": 5.0}
    whole = gradient_flow(data, ens, **options)
    sweep, calls = loop._sweep, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 8:
            # In the middle of a sweep, after the history was written to.
            sweep(*arguments)
            raise KeyboardInterrupt
        return sweep(*arguments)

    monkeypatch.setattr(loop, "_sweep", stop)
    cut = gradient_flow(data, ens, checkpoint=tmp_path, **options)
    assert cut.interrupted
    assert set(cut.status) == {"interrupted"}
    assert bool((cut.time > 0.0).all())
    times = cut.history["time"].values
    for b in range(len(ens)):
        known = ~np.isnan(cut.history["loss"].values[:, b])
        assert (times[known] <= float(cut.time[b])).all()
    monkeypatch.setattr(loop, "_sweep", sweep)
    rest = gradient_flow(data, ens, checkpoint=tmp_path, **options)
    assert torch.equal(rest.networks.theta, whole.networks.theta)
    assert torch.equal(rest.steps, whole.steps)
    assert rest.history.equals(whole.history)
    # Resumed once more, it is over.
    again = gradient_flow(data, ens, checkpoint=tmp_path, resume=True, **options)
    assert torch.equal(again.networks.theta, whole.networks.theta)


def test_checkpoint_of_another_run(cases, tmp_path):
    data, ens = cases.task(), cases.ensemble([2])
    gradient_flow(data, ens, checkpoint=tmp_path, **SHORT)
    for change, says in (({"rtol": 1e-4}, "rtol"), ({"max_time": 10.0}, "max_time")):
        with pytest.raises(CheckpointError, match=says):
            gradient_flow(data, ens, checkpoint=tmp_path, **{**SHORT, **change})
    with pytest.raises(CheckpointError, match="initial parameters"):
        gradient_flow(data, cases.ensemble([2], 1), checkpoint=tmp_path, **SHORT)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        gradient_flow(data, ens, checkpoint=tmp_path / "new", resume=True, **SHORT)
    fresh = gradient_flow(data, ens, checkpoint=tmp_path, resume=False, **{**SHORT, "rtol": 1e-4})
    assert fresh.status == ["max_time"]


def test_soft_norm_bound(cases):
    ens, data = cases.ensemble([2], range(2)), cases.task()
    m = 0.05
    found = gradient_flow(data, ens, maxnorm=m, max_time=1e9, tol=1e-9, **QUIET)
    objective = NormPenalty(
        objective_of(ens, data, torch.zeros(2, dtype=torch.int64)),
        torch.full((2,), m, dtype=torch.float64),
    )
    loss, grad = torch.empty(2, dtype=torch.float64), torch.empty_like(ens.theta)
    objective.loss_and_grad(found.networks.theta, loss, grad)
    assert torch.equal(loss, found.loss)
    assert found.status == ["converged"] * 2
    assert float(grad.abs().max()) <= 1e-9
    # The bound is felt: the unpenalised gradient does not vanish there.
    assert float(functional.loss_and_grad(found.networks, data)[1].abs().max()) > 1e-6


def test_methods_by_size_and_task_index(cases):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(20, 2, generator=draw, dtype=torch.float64)
    y = torch.randn(2, 20, 1, generator=draw, dtype=torch.float64)
    ens = cases.ensemble([2, 6])
    found = gradient_flow(Task(x, y), ens, dense_limit=10, task_index=[1, 0], **SHORT)
    assert found.method == ["rosenbrock", "chebyshev"]
    alone = gradient_flow((x, y[1]), ens.network(0), **SHORT)
    assert torch.equal(own(ens, 0, found.networks.theta), alone.networks.theta)
    assert found.to_pandas()["task"].tolist() == [1, 0]


def test_result_views_and_files(cases, tmp_path):
    ens, data = cases.ensemble([2, 3], masked=True), cases.task()
    found = gradient_flow(data, ens, record_params=True, **SHORT)
    found.save(tmp_path / "flow.safetensors")
    back = FlowResult.load(tmp_path / "flow.safetensors")
    assert back.to_pandas().equals(found.to_pandas())
    assert back.history.equals(found.history)
    assert torch.equal(back.networks.theta, found.networks.theta)
    assert "2 networks" in repr(back)
    times, path = back.trajectory(1)
    assert path.shape == (len(times), 13)
    assert float(times[0]) == 0.0
    assert torch.equal(path[0], own(ens, 1, ens.theta))
    table = found.to_xarray()
    assert table["final_loss"].values.tolist() == found.loss.tolist()
    assert table["loss"].dims == ("time", "network")
    plain = gradient_flow(data, ens, **SHORT)
    with pytest.raises(ValueError, match="record_params"):
        plain.trajectory(0)
    with pytest.raises(IndexError, match="b must be"):
        back.trajectory(2)
    # Log-spaced: 0, eight a decade, the end.
    grid = plain.history["time"].values
    assert grid[0] == 0.0
    assert grid[-1] == 20.0
    np.testing.assert_allclose(grid[2:-1] / grid[1:-2], 10 ** (1 / 8), rtol=1e-12)


def test_float32_is_converted(cases, capsys):
    ens = cases.ensemble([2]).to(torch.float32)
    data = cases.task()
    found = gradient_flow(data.to(torch.float32), ens, max_time=1.0, progress=True)
    assert found.networks.dtype == torch.float64
    assert "float64" in capsys.readouterr().err


BAD = [
    ({"max_time": 0.0}, ValueError, "max_time"),
    ({"max_time": float("inf")}, ValueError, "max_time"),
    ({"rtol": 0.0}, ValueError, "rtol"),
    ({"atol": -1.0}, ValueError, "atol"),
    ({"tol": "x"}, TypeError, "tol"),
    ({"loss_target": -1.0}, ValueError, "loss_target"),
    ({"norm_limit": 0.0}, ValueError, "norm_limit"),
    ({"maxnorm": 0.0}, ValueError, "maxnorm"),
    ({"maxnorm": [1.0, 2.0, 3.0]}, ValueError, "maxnorm"),
    ({"method": "rosenbrok"}, ValueError, "did you mean"),
    ({"dense_limit": -1}, ValueError, "dense_limit"),
    ({"max_steps": 1.5}, TypeError, "max_steps"),
    ({"record": "lin"}, ValueError, "record"),
    ({"record": 3}, TypeError, "record"),
    ({"record": [1.0, 0.5]}, ValueError, "ascending"),
    ({"record": [1.0, 1e7]}, ValueError, "record"),
    ({"record": [-1.0]}, ValueError, "record"),
    ({"record": ["a"]}, TypeError, "record"),
    ({"time_scales": 2.0}, TypeError, "time_scales"),
    ({"time_scales": torch.ones(3)}, ShapeError, "time_scales"),
    ({"time_scales": torch.zeros(18)}, ValueError, r"time_scales\[0\]"),
    ({"task_index": [0, 1]}, ValueError, "task_index"),
    ({"max_seconds": -1.0}, ValueError, "max_seconds"),
    ({"resume": "maybe"}, ValueError, "resume"),
]


@pytest.mark.parametrize(("bad", "kind", "says"), BAD, ids=[str(c[0])[:40] for c in BAD])
def test_bad_input(cases, tmp_path, bad, kind, says):
    with pytest.raises(kind, match=says):
        gradient_flow(
            cases.task(), cases.ensemble([2, 2]), checkpoint=tmp_path / "x", **QUIET, **bad
        )
    assert not list(tmp_path.iterdir())


def test_wrong_kinds(cases):
    with pytest.raises(TypeError, match="task"):
        gradient_flow([1, 2, 3], cases.ensemble([2]))
    with pytest.raises(TypeError, match="networks"):
        gradient_flow(cases.task(), torch.nn.Linear(2, 1))
    with pytest.raises(ValueError, match="d_in"):
        gradient_flow(cases.task(d_in=3), cases.ensemble([2]))
    assert isinstance(cases.ensemble([2]), Ensemble)
