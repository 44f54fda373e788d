"""Torch modules that are chains, on the GPU that is not there: through the kernels, as on the CPU.

By way of the objective: autograd loses sight of the class of the pretended GPU's tensors.
"""

from __future__ import annotations

import pytest
import torch

import edt
from edt.objectives import module_group
from edt.objectives.function import output_curvature
from edt.tasks.given import objective_of


@pytest.fixture(params=[None, 0.9], ids=["dense", "sparse"])
def case(gpu, request):
    """(networks, task) on the CPU and on the GPU."""
    torch.manual_seed(0)
    nets = edt.ModuleEnsemble([edt.nets.lenet5(0.5, shape=(1, 8, 8)) for _ in range(3)])
    nets = nets.to(torch.float64)
    if request.param:
        nets = nets.with_state((torch.rand(nets.total) > request.param).byte())
    x, y = torch.randn(13, 1, 8, 8, dtype=torch.float64), torch.randint(0, 10, (13,))
    task = edt.ModuleTask((x, y), "cross_entropy")
    return (nets, task), (nets.to(device=gpu), task.to(device=gpu))


def close(mine: torch.Tensor, theirs: torch.Tensor) -> None:
    """Sums in another order."""
    assert mine.is_cuda and not theirs.is_cuda
    torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-9, atol=1e-12)


def test_losses_gradients_and_outputs(case, shim):
    (nets, task), (far, there) = case
    found = []
    for ens, data in ((nets, task), (far, there)):
        objective = objective_of(data, ens)
        loss, again = (ens.theta.new_zeros(3, dtype=torch.float64) for _ in range(2))
        grad = torch.empty_like(ens.theta)
        shim.launches()
        with torch.no_grad():
            objective.loss(ens.theta, loss)
            objective.loss_and_grad(ens.theta, again, grad)
            outputs = torch.stack(objective.predict(ens.theta))
        found.append((loss, again, grad, outputs))
        launched = shim.launches()
        assert (launched.get("chain weights", 0) == 3) == ens.theta.is_cuda
        assert ("chain taps" in launched) == (ens.theta.is_cuda and bool((ens.state == 0).any()))
    for theirs, mine in zip(*found, strict=True):
        close(mine, theirs)


def test_products(case, shim, monkeypatch):
    """With the Hessian and the Gauss-Newton matrix."""

    def on_the_cpu(loss, f, y, *, lift):
        """What `torch.func` does with this GPU's tensors loses their class."""
        return output_curvature(loss, f.cpu(), y.cpu(), lift=lift).to(f.device)

    monkeypatch.setattr(module_group, "output_curvature", on_the_cpu)
    found = []
    for ens, data in case:
        objective = objective_of(data, ens)
        v = torch.ones(2, ens.total, dtype=torch.float64).to(ens.device) * (ens.state == 1)
        out = [torch.empty_like(v) for _ in range(2)]
        for ggn in (False, True):
            objective.hvp(ens.theta, v, out[ggn], ggn=ggn)
        found.append(out)
    assert shim.launches()["chain curvature"] == 2
    for theirs, mine in zip(*found, strict=True):
        close(mine, theirs)


@pytest.mark.parametrize("options", [{}, {"batch_size": 5, "optimizer": "adam"}], ids=str)
def test_training(case, shim, options):
    """Steps on all samples, and on minibatches of each network's own."""
    (nets, task), (far, there) = case
    run = {"steps": 3, "lr": 0.02, "progress": False, **options}
    shim.launches()
    known = edt.masked_train(task, nets, **run)
    assert not shim.launches()
    found = edt.masked_train(there, far, device=far.device, **run)
    assert shim.launches()["chain lists"] >= 3
    close(found.networks.theta, known.networks.theta)


def test_what_the_engine_lacks_goes_by_vmap(gpu, shim):
    """Fields of more numbers than a byte counts."""
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(1, 2, 1), torch.nn.MaxPool2d(16), torch.nn.Flatten())
    nets = edt.ModuleEnsemble([torch.nn.Sequential(*layers, torch.nn.Linear(2, 2)).double()])
    x, y = torch.randn(3, 1, 16, 16, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    task = edt.ModuleTask((x, y), "mse")
    with torch.no_grad():
        known = objective_of(task, nets).predict(nets.theta)
        far = nets.to(device=gpu)
        found = objective_of(task.to(device=gpu), far).predict(far.theta)
    close(found[0], known[0])
    assert not shim.launches()
