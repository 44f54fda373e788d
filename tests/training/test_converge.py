"""`converge`: to the bottom, with the right verdict, whatever the company."""

from __future__ import annotations

import pytest
import torch

import edt.training as training
from edt.tasks import Task


def teacher_task(cases, width=2, n=60):
    """A realisable target: the output of a known network."""
    teacher = cases.ensemble([width], seed=11)
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Task(x, cases.forward(1.5 * teacher.theta, teacher.layer_widths[0].tolist(), x))


def split(ens, cases, share):
    """Width r to r + 1: the last neuron twice, its output weight shared out."""
    width = int(ens.layer_widths[0, 1])
    theta = ens.theta
    first, bias, out = theta[: 2 * width], theta[2 * width : 3 * width], theta[3 * width : -1]
    parts = [
        first,
        first[-2:],
        bias,
        bias[-1:],
        out[:-1],
        torch.stack([share * out[-1], (1.0 - share) * out[-1]]),
        theta[-1:],
    ]
    return cases.ensemble([width + 1]).with_theta(torch.cat(parts))


def test_reaches_the_bottom(cases, place):
    data = teacher_task(cases)
    ens = cases.ensemble([1, 2, 2, 3, 3, 4, 6], seed=3)
    result = training.converge(*place(data, ens), progress=False)
    assert result.networks.device == place(ens).device
    result.networks = result.networks.to(device="cpu")
    good = [s == "converged" for s in result.status]
    assert sum(good) >= 5, result.to_pandas().to_string()
    for b, name in enumerate(result.status):
        if name != "converged":
            continue
        assert float(result.grad_max[b]) <= 1e-10
        assert result.verdict[b] in ("minimum", "flat", "saddle")
        eigenvalues = torch.linalg.eigvalsh(cases.torch_hessian(result.networks, data, b))
        # The two Hessians differ by rounding, a few u ||H||, and so do their eigenvalues.
        slack = 1e-12 * float(eigenvalues.abs().max())
        assert float(result.min_eig[b]) == pytest.approx(float(eigenvalues[0]), abs=slack)
        if result.verdict[b] == "minimum":
            assert float(eigenvalues[0]) > 0.0 and int(result.index[b]) == 0
    before = training.masked_train(data, ens, steps=0, progress=False).loss
    assert bool((result.loss <= before).all())


def test_alone_and_in_a_crowd_and_threads(cases):
    data = teacher_task(cases)
    ens = cases.ensemble([1, 2, 3, 2, 4], seed=3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        crowd = training.converge(data, ens, newton_steps=40, progress=False)
        torch.set_num_threads(1)
        for b in range(len(ens)):
            alone = training.converge(data, ens.network(b), newton_steps=40, progress=False)
            assert torch.equal(cases.part(crowd.networks, b), alone.networks.theta)
            assert crowd.status[b] == alone.status[0] and crowd.verdict[b] == alone.verdict[0]
            assert torch.equal(crowd.min_eig[b : b + 1].isnan(), alone.min_eig.isnan())
            assert crowd.min_eig[b] == alone.min_eig[0] or bool(alone.min_eig.isnan())
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pruned", [0.0, 0.3])
def test_exact_critical_points(cases, place, seed, pruned):
    ens = cases.ensemble([3], seed=seed, pruned=pruned)
    data = cases.critical(ens, seed=seed)
    result = training.converge(*place(data, ens), escape_saddles=False, progress=False)
    assert result.status == ["converged"]
    # Newton may polish the last bits of a point that is critical to rounding, no more.
    torch.testing.assert_close(result.networks.theta.cpu(), ens.theta, rtol=0, atol=1e-9)
    eigenvalues = torch.linalg.eigvalsh(cases.torch_hessian(ens, data))
    # Eigenvalues are known to a few u ||H|| ~ 1e-15; pruning leaves dead units, hence true zeros.
    zero = eigenvalues.abs() < 1e-13
    assert bool((zero | (eigenvalues.abs() > 1e-9)).all()), "a degenerate draw: change the seed"
    negative = int((eigenvalues < -1e-9).sum())
    assert int(result.index[0]) == negative and int(result.n_flat[0]) == int(zero.sum())
    rest = "flat" if bool(zero.any()) else "minimum"
    assert result.verdict == ["saddle" if negative else rest]


def test_split_neuron_saddle_is_left(cases):
    data = teacher_task(cases, width=3)
    start = training.converge(data, cases.ensemble([1] * 4, seed=3), progress=False)
    assert "minimum" in start.verdict
    narrow = start.networks.network(start.verdict.index("minimum"))
    for share in (0.4, 1.7):
        wide = split(narrow, cases, share)
        stay = training.converge(data, wide, escape_saddles=False, progress=False)
        assert stay.status == ["converged"]
        loss = float(stay.loss[0])
        moved = training.converge(data, wide, progress=False)
        if stay.verdict == ["saddle"]:
            assert float(moved.loss[0]) < loss * (1 - 1e-6)
        else:
            assert stay.verdict == ["flat"]
            assert float(moved.loss[0]) == pytest.approx(loss, rel=1e-9)


def test_newton_alone_and_lbfgs_alone(cases):
    data = cases.task()
    ens = cases.ensemble([1, 2], seed=1)
    deep = training.converge(data, ens, progress=False)
    newton = training.converge(data, ens, lbfgs_steps=0, progress=False)
    assert bool((newton.lbfgs_iterations == 0).all())
    assert newton.status[0] == "converged" and deep.status[0] == "converged"
    first = training.converge(data, ens, newton_steps=0, lbfgs_steps=30, progress=False)
    assert bool((first.newton_iterations == 0).all())
    assert set(first.status) <= {"max_steps", "converged", "stalled"}


def test_diverged_and_float32_and_time(cases, capsys):
    data = cases.task()
    ens = cases.ensemble([2, 2])
    theta = ens.theta.clone()
    theta[0] = 1e200
    theta[int(ens.offsets[1]) - 2] = 1e200
    broken = ens.with_theta(theta)
    result = training.converge(data, broken, progress=False)
    assert result.status[0] == "diverged" and result.verdict[0] == "unconverged"
    assert int(result.index[0]) == -1
    alone = training.converge(data, ens.network(1), progress=False)
    assert torch.equal(cases.part(result.networks, 1), alone.networks.theta)
    single = cases.ensemble([2], dtype=torch.float32)
    low = training.converge(cases.task(dtype=torch.float32), single, progress=True)
    assert low.networks.dtype == torch.float64 and "float64" in capsys.readouterr().err
    cut = training.converge(data, ens, max_seconds=0.0, progress=False)
    assert cut.interrupted and cut.status == ["interrupted"] * 2


def test_control_c(cases, monkeypatch):
    from edt.training import methods as module

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "newton", stop)
    result = training.converge(cases.task(), cases.ensemble([2, 3]), progress=False)
    assert result.interrupted and set(result.verdict) == {"unconverged"}


def test_round_trip(cases, tmp_path):
    result = training.converge(cases.task(), cases.ensemble([1, 2], pruned=0.2), progress=False)
    result.save(tmp_path / "end.safetensors")
    back = training.ConvergeResult.load(tmp_path / "end.safetensors")
    assert back.to_pandas().equals(result.to_pandas())
    assert "2 networks" in repr(back)
    with pytest.raises(training.CheckpointError, match="expected 'train-result'"):
        training.TrainResult.load(tmp_path / "end.safetensors")
