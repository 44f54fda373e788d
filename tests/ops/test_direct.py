"""The shortcuts past PyTorch's dispatcher are not taken where they would be seen."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from edt import Ensemble, functional, tasks
from edt.ops.cpu import _first_target


class Seen(TorchDispatchMode):
    """Notes the names of all operators."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def problem():
    ens = Ensemble.init(widths=[2, 3], seeds=[0], d_in=2, d_out=1)
    return ens, tasks.teacher_student(d_in=2, n=8)


def test_same_bits(problem):
    ens, task = problem
    value, grad = functional.loss_and_grad(ens, task)
    with Seen() as seen:
        dispatched = functional.loss_and_grad(ens, task)
    assert "edt.loss_and_grad.default" in seen.names
    assert torch.equal(value, dispatched[0])
    assert torch.equal(grad, dispatched[1])


@pytest.mark.parametrize("verb", ["loss", "hvp", "ggn_vp", "hessian"])
def test_other_verbs_are_dispatched_where_somebody_watches(problem, verb):
    ens, task = problem
    more = (torch.randn(3, ens.theta.numel(), dtype=ens.dtype),) if verb.endswith("vp") else ()
    plain = getattr(functional, verb)(task, ens, *more)
    with Seen() as seen:
        watched = getattr(functional, verb)(task, ens, *more)
    assert f"edt.{verb.replace('ggn_vp', 'hvp')}.default" in seen.names
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_a_default_device_leaves_nothing_behind():
    """What calls keep for later ones lies on the CPU whatever the default is meanwhile."""
    with torch.device("meta"):
        kept = _first_target(37)
    assert kept.device.type == "cpu" and _first_target(37) is kept


def test_autograd_sees_the_call(problem):
    ens, task = problem
    theta = ens.theta.clone().requires_grad_(True)
    _, grad = functional.loss_and_grad(ens, task, theta)
    (twice,) = torch.autograd.grad(grad.sum(), theta)
    torch.testing.assert_close(twice, functional.hvp(ens, task, torch.ones_like(theta).detach()))
    with torch.no_grad():
        assert not functional.loss_and_grad(ens, task, theta)[1].requires_grad


def test_forward_mode_is_refused(problem):
    """The compiled operators have no forward derivatives; the tangent would be lost in silence."""
    ens, task = problem
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(ens.theta, torch.ones_like(ens.theta))
        with pytest.raises(NotImplementedError, match="theta carries a tangent"):
            functional.loss_and_grad(ens, task, dual)
        functional.loss_and_grad(ens, task, dual, backend="reference")
