"""Every verb takes any task that has an objective, and any objective."""

from __future__ import annotations

import pytest
import torch

import edt
from edt import landscape

ENS = edt.Ensemble.init([1, 2], [0], d_in=2, d_out=1)
TASK = edt.tasks.teacher_student(d_in=2, n=12)
QUIET = {"progress": False}
VERBS = {
    "loss": lambda t: edt.loss(t, ENS),
    "loss_and_grad": lambda t: edt.loss_and_grad(t, ENS)[1],
    "hvp": lambda t: edt.hvp(t, ENS, torch.ones_like(ENS.theta)),
    "hessian": lambda t: edt.hessian(t, ENS)[1],
    "hessian_spectrum": lambda t: edt.hessian_spectrum(t, ENS)[1],
    "hessian_trace": lambda t: edt.hessian_trace(t, ENS, products=3).trace,
    "converge": lambda t: (
        edt.converge(t, ENS, lbfgs_steps=4, newton_steps=2, method="newton", **QUIET).loss
    ),
    "gradient_flow": lambda t: edt.gradient_flow(t, ENS, max_time=0.01, **QUIET).loss,
    "masked_train": lambda t: edt.masked_train(t, ENS, steps=3, device="cpu", **QUIET).loss,
    "loss_line": lambda t: landscape.loss_line(t, ENS, at=[0.0, 0.1], **QUIET).loss,
}


class Bare:
    """Losses and derivatives, nothing of the core's but what the protocol names."""

    def __init__(self, objective):
        for name in ("B", "offsets", "coords", "trainable", "scale", "squares"):
            setattr(self, name, getattr(objective, name))
        for name in ("loss", "loss_and_grad", "hessian", "hvp"):
            setattr(self, name, getattr(objective, name))


class Mine:
    """The least a task can be, with what checkpoints need."""

    T = 1

    def objective(self, networks, task_index=None):
        return Bare(TASK.objective(networks, task_index))

    def fingerprint(self):
        return "mine"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", ["task", "objective", "core objective"])
def test_any_task_and_any_objective(verb, kind):
    given = {
        "task": Mine(),
        "objective": Bare(TASK.objective(ENS)),
        "core objective": TASK.objective(ENS),
    }[kind]
    if verb == "loss_line" and kind != "task":
        pytest.skip("an objective is of its own networks, not of copies along a line")
    found = VERBS[verb](given)
    if verb == "converge":
        # Without residuals and bends the steps are others.
        assert bool((found < edt.loss(TASK, ENS)).all())
        return
    wanted = VERBS[verb](TASK)
    # Steps in PyTorch and in the core add in unlike orders.
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_an_objective_is_of_its_networks():
    other = edt.Ensemble.init([3], [0], d_in=2, d_out=1)
    for wrong in (other, ENS.with_state(torch.full_like(ENS.state, 2))):
        with pytest.raises(ValueError, match="networks must"):
            edt.loss(TASK.objective(ENS), wrong)
