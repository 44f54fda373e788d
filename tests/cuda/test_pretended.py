"""Everything a GPU can be asked for, on one that is not there: no tensor strays between devices.

`pretend_gpu` refuses what a GPU refuses; the kernels run over the shim. Results are the CPU's up to
the order of sums.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from op_cases import Case

import edt
from edt import curvature, functional, landscape
from edt.objectives import CoreObjective
from edt.ops.calls import calls_of
from edt.ops.checks import problem_of
from edt.ops.cpu import CpuCalls
from edt.ops.cuda import CudaCalls
from edt.tasks.given import objective_of


@pytest.fixture
def networks(gpu):
    """(networks, task) on the CPU and on the GPU."""
    ens, task, _ = Case("tanh", hidden=((2,), (3,)), d_in=2, masks="sparse", samples=19).build()
    return (ens, task), (ens.to(device=gpu), task.to(device=gpu))


def test_what_a_gpu_refuses(gpu):
    there, here = torch.ones(3, device=gpu), torch.ones(3)
    assert there.device == gpu and there.is_cuda and (there + 1).device == gpu
    assert (there * here[0]).is_cuda and not there.cpu().is_cuda
    assert here[0] == 1 and there.new_zeros(2).is_cuda and not torch.zeros_like(here).is_cuda
    for wrong in (
        lambda: there + here,
        lambda: here + there,
        lambda: torch.cat([here, there]),
        lambda: here[there.long()],
        lambda: there.__setitem__(there > 0, here),
    ):
        with pytest.raises(RuntimeError, match="CPU"):
            wrong()
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(there)


def test_addresses(gpu):
    """The CPU's core gets no address of the GPU, the GPU's engine none of the CPU."""
    ens, task, index = Case(hidden=((2,),)).build()
    problem = problem_of(ens, task, index)
    loss = torch.zeros(ens.B, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"edt\.ops\.c\w+\.\w+ reads the GPU"):
        CpuCalls(problem).loss(ens.theta.to(gpu), loss)
    with pytest.raises(RuntimeError, match=r"hands memory of the CPU"):
        CudaCalls(problem_of(ens.to(device=gpu), task.to(device=gpu), index)).loss(ens.theta, loss)
    with pytest.raises(ValueError, match="x must be on cuda"):
        calls_of(problem, gpu)


@pytest.mark.parametrize(
    "op", ["predict", "loss", "loss_and_grad", "hessian", "hessian_blocks", "jacobian"]
)
def test_ops(networks, op):
    (here, there) = (getattr(functional, op)(*place) for place in networks)
    check(there, here)


def check(there, here):
    """Equal up to rounding, and on the GPU."""
    if isinstance(here, torch.Tensor):
        assert there.is_cuda and not here.is_cuda
        torch.testing.assert_close(there.cpu(), here, rtol=1e-11, atol=1e-12)
    else:
        for a, b in zip(there, here, strict=True):
            check(a, b)


@pytest.mark.parametrize("op", ["hvp", "ggn_vp"])
def test_products(networks, op):
    (ens, task), (far, far_task) = networks
    v = torch.randn(3, ens.total, dtype=torch.float64, generator=torch.manual_seed(0))
    check(
        getattr(functional, op)(far, far_task, v.to(far.device)),
        getattr(functional, op)(ens, task, v),
    )


def test_objective(networks):
    """The methods that optimisers call, for some of the networks."""
    (ens, task), (far, far_task) = networks
    index = torch.zeros(2, dtype=torch.int64)
    host, device = objective_of(ens, task, index), objective_of(far, far_task, index)
    assert isinstance(device, CoreObjective) and device.calls.device == far.device
    active = torch.tensor([0, 1], dtype=torch.uint8)
    v = torch.randn(2, ens.total, dtype=torch.float64, generator=torch.manual_seed(0))
    size = int(host.coords[1]) ** 2
    found = []
    for objective in (host, device):
        loss, lone = (torch.full((2,), -1.0, dtype=torch.float64) for _ in range(2))
        grad, out = torch.full_like(ens.theta, -1.0), torch.full_like(v, -1.0)
        matrix = torch.full((size + 5,), -1.0, dtype=torch.float64)
        objective.loss(ens.theta, lone, active)
        objective.loss_and_grad(ens.theta, loss, grad, active)
        objective.hvp(ens.theta, v, out, active)
        objective.hessian(ens.theta, matrix, torch.tensor([0, 3, size + 5]), active)
        outputs = objective.outputs(ens.theta, torch.tensor([1]))[1]
        found.append((loss, lone, grad, out, matrix, outputs))
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-12)
    assert found[1][0][0] == -1.0 and found[1][4][0] == -1.0


def test_spectra(networks):
    """Results of curvature lie on the CPU."""
    (ens, task), (far, far_task) = networks
    torch.testing.assert_close(
        curvature.hessian_spectrum(far, far_task), curvature.hessian_spectrum(ens, task)
    )
    for method in ("eigenvalues", "ldl"):
        counts = [curvature.count_directions(*p, method=method).n_neg for p in networks]
        assert torch.equal(*counts)
    for name in ("extreme_eigenpairs", "spectral_density", "hessian_trace", "hessian_split"):
        extra = {"k": 2} if name == "extreme_eigenpairs" else {}
        a, b = (getattr(curvature, name)(*place, **extra) for place in networks)
        if name in ("extreme_eigenpairs", "hessian_split"):
            field = "values" if name == "extreme_eigenpairs" else "hessian"
            for x, y in zip(a, b, strict=True):
                torch.testing.assert_close(getattr(x, field), getattr(y, field))
        elif name == "hessian_trace":
            torch.testing.assert_close(a.trace, b.trace)
    v = np.ones(int(ens.coords[1]))
    products = [curvature.HessianOperator(*place, 1) @ v for place in networks]
    np.testing.assert_allclose(*products, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["lbfgs+newton", "newton", "lm", "cg"])
def test_converge(networks, method):
    run = {"method": method, "progress": False, "tol": 1e-8, "lbfgs_steps": 60}
    a, b = (edt.converge(task, ens, newton_steps=60, **run) for ens, task in networks)
    assert b.networks.device.type == "cuda" and not b.loss.is_cuda
    # Paths part at roundings; where both end at a critical point it is the same one.
    done = [x == y == "converged" for x, y in zip(a.status, b.status, strict=True)]
    assert any(done)
    torch.testing.assert_close(a.loss[done], b.loss[done], rtol=1e-6, atol=1e-12)
    assert [v for v, d in zip(a.verdict, done, strict=True) if d] == [
        v for v, d in zip(b.verdict, done, strict=True) if d
    ]


def test_converge_elsewhere(networks, tmp_path):
    """Networks of the CPU on the GPU come back; in groups, too."""
    (ens, task), _ = networks
    run = {"progress": False, "tol": 1e-3, "device": "cuda", "lbfgs_steps": 20, "newton_steps": 9}
    whole = edt.converge(task, ens, **run)
    assert whole.networks.device.type == "cpu"
    parts = edt.converge(task, ens, checkpoint=tmp_path, **run)
    torch.testing.assert_close(parts.loss, whole.loss)
    whole.networks = whole.networks.to(device="cuda")
    assert whole.recheck(task)["agrees"].all()


@pytest.mark.parametrize("method", ["rosenbrock", "chebyshev"])
def test_gradient_flow(networks, method):
    run = {"method": method, "max_time": 0.5, "progress": False, "record": [0.0, 0.3, 0.5]}
    a, b = (edt.gradient_flow(task, ens, **run) for ens, task in networks)
    assert b.networks.device.type == "cuda"
    torch.testing.assert_close(b.networks.theta.cpu(), a.networks.theta, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 5, "optimizer": "adamw"},
        {"clip_norm": 0.1, "lr_scale": {"weight": 0.5, "0.bias": 2.0}},
    ],
    ids=str,
)
def test_training(networks, options):
    run = {"steps": 12, "lr": 0.01, "progress": False, **options}
    a, b = (edt.masked_train(task, ens, device=ens.device, **run) for ens, task in networks)
    assert b.networks.device.type == "cuda"
    torch.testing.assert_close(b.networks.theta.cpu(), a.networks.theta, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("d_out", [1, 2])
def test_a_loss_of_ones_own(gpu, d_out):
    """Its function runs on the CPU, networks on the GPU: derivatives, training, sums, minima."""
    ens, task, _ = Case("tanh", hidden=((2,), (3,)), d_in=2, d_out=d_out, samples=19).build()
    own = edt.tasks.FunctionTask(
        task.x, task.y, lambda f, y: (1 + (f - y).square().sum(1)).log(), d_out=d_out
    )
    far = ens.to(device=gpu)
    v = torch.randn(2, ens.total, dtype=torch.float64, generator=torch.manual_seed(0))
    check(edt.loss_and_grad(own, far), edt.loss_and_grad(own, ens))
    check(edt.hessian(own, far), edt.hessian(own, ens))
    check(edt.hessian(own, far, ggn=True), edt.hessian(own, ens, ggn=True))
    check(edt.hvp(own, far, v.to(gpu)), edt.hvp(own, ens, v))
    check(edt.ggn_vp(own, far, v.to(gpu)), edt.ggn_vp(own, ens, v))

    def shaken(epoch, generator):
        return own.x + 0.1 * torch.randn(own.x.shape, generator=generator, dtype=own.x.dtype), own.y

    both = edt.tasks.TaskSum([task, own])
    for what, more in (
        (own, {}),
        (own, {"batch_size": 5, "data_seed": [1, 2]}),
        (own, {"data": shaken}),
        (both, {}),
    ):
        run = {"steps": 8, "lr": 0.02, "progress": False, "record": 4, **more}
        a, b = (edt.masked_train(what, nets, device=nets.device, **run) for nets in (ens, far))
        assert b.networks.device == gpu
        torch.testing.assert_close(b.networks.theta.cpu(), a.networks.theta, rtol=1e-8, atol=1e-9)
    ends = [
        edt.converge(own, nets, newton_steps=2, lbfgs_steps=5, progress=False)
        for nets in (ens, far)
    ]
    assert ends[1].networks.device == gpu
    torch.testing.assert_close(ends[1].loss, ends[0].loss, rtol=1e-8, atol=1e-10)


def test_networks_keep_their_device(networks):
    """What is made of networks on the GPU is on the GPU, with the CPU's numbers."""
    (ens, _), (far, _) = networks
    narrow, there = ens.network(0), far.network(0)
    row = torch.ones(1, 3, dtype=torch.float64)
    for make in (
        lambda e: edt.Ensemble.from_modules([e.to_module(0)]),
        lambda e: edt.embed.split(e, 0, 0.3).networks,
        lambda e: edt.embed.zero_output(e, row).networks,
        lambda e: edt.embed.constant(e, 0.5, torch.ones(1)).networks,
        lambda e: landscape.grow(e, 4).networks,
        lambda e: e.with_frozen(e.state == 0).select([0]),
    ):
        found, wanted = make(there), make(narrow)
        assert found.device == far.device
        assert torch.equal(found.theta.cpu(), wanted.theta)
        assert found.state.device == far.device
    levels = [edt.loss_levels(functional.loss(*place)).label for place in networks]
    assert (levels[0] == levels[1]).all()
    limits = [landscape.channel_limits(place[1], place[0], steps=2)[1] for place in networks]
    assert limits[0].closeness == limits[1].closeness


def test_infinite_data_stays_on_the_cpu(gpu):
    many = edt.Ensemble.init([2, 3], range(1), d_in=2, d_out=1, activation="erf", scheme="normal")
    task, start = edt.population(many.network(0)), many.network(1)
    with pytest.raises(ValueError, match="device='cpu'"):
        edt.converge(task, start, device=gpu, progress=False)
    run = {"newton_steps": 3, "lbfgs_steps": 20, "progress": False}
    a, b = (edt.converge(task, ens, **run) for ens in (start, start.to(device=gpu)))
    assert torch.equal(a.loss, b.loss) and b.networks.device == gpu
    assert torch.equal(*(curvature.index(ens, task) for ens in (start, start.to(device=gpu))))
