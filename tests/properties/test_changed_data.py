"""What is kept from tensors never outlives a change of them, whatever is called before and after.

Every verb answers as for networks and data made afresh from the tensors as they are; an objective
that is still in use, and networks whose structure was changed, are refused.
"""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import edt
from edt import curvature, landscape

QUIET = {"progress": False}
SHORT = {"lbfgs_steps": 5, "newton_steps": 2, **QUIET}


def products(task, ens):
    vectors = torch.ones(2, ens.total, dtype=ens.dtype, device=ens.device)
    return [edt.hvp(task, ens, vectors), edt.ggn_vp(task, ens, vectors)]


def pulled(task, ens):
    theta = ens.theta.clone().requires_grad_(True)
    edt.predict(task, ens, theta).square().sum().backward()
    return theta.grad


#: Verb -> numbers that depend on the data.
VERBS = {
    "predict": edt.predict,
    "predict, backward": pulled,
    "loss": edt.loss,
    "loss_and_grad": edt.loss_and_grad,
    "reference": lambda task, ens: edt.loss(task, ens, backend="reference"),
    "products": products,
    "hessian": edt.hessian,
    "hessian_blocks": lambda task, ens: [
        b for blocks in edt.hessian_blocks(task, ens) for b in blocks
    ],
    "jacobian": edt.jacobian,
    "hessian_spectrum": edt.hessian_spectrum,
    "count_directions": lambda task, ens: edt.count_directions(task, ens).min_eig,
    "extreme_eigenpairs": lambda task, ens: [
        pair.values for pair in edt.extreme_eigenpairs(task, ens, 2)
    ],
    "spectral_density": lambda task, ens: [
        found.nodes for found in edt.spectral_density(task, ens, probes=2)
    ],
    "hessian_trace": lambda task, ens: edt.hessian_trace(task, ens, products=3).trace,
    "hessian_split": lambda task, ens: [part.hessian for part in edt.hessian_split(task, ens)],
    "HessianOperator": lambda task, ens: [
        torch.from_numpy(curvature.HessianOperator(task, ens, 1).dot(torch.ones(5).numpy()))
    ],
    "masked_train": lambda task, ens: (
        edt.masked_train(task, ens, steps=3, device=ens.device, **QUIET).networks.theta
    ),
    "minibatches": lambda task, ens: (
        edt.masked_train(
            task, ens, steps=3, batch_size=4, validation=task, device=ens.device, **QUIET
        ).networks.theta
    ),
    "converge": lambda task, ens: edt.converge(task, ens, **SHORT).networks.theta,
    "levenberg": lambda task, ens: edt.converge(task, ens, method="lm", **SHORT).networks.theta,
    "gradient_flow": lambda task, ens: (
        edt.gradient_flow(task, ens, max_time=0.01, record=None, **QUIET).networks.theta
    ),
    "loss_line": lambda task, ens: landscape.loss_line(task, ens, at=[0.0, 0.5], **QUIET).loss,
    "variance": lambda task, ens: task.variance,
    "fingerprint": lambda task, ens: task.fingerprint(),
}
#: Those made of others or slow, after a change of each side, not after every other verb.
MORE = {
    "hessian_diagonal": lambda task, ens: edt.hessian_diagonal(task, ens, probes=2)[:1],
    "lanczos": lambda task, ens: edt.lanczos(task, ens, 1, k=2)[:1],
    "split_matrices": lambda task, ens: [split.B for split in edt.split_matrices(task, ens, 1)],
    "certify": lambda task, ens: [
        found.loss for found in [edt.certify(task, ens, steps=2, progress=False)]
    ],
    "channel_limits": lambda task, ens: [
        torch.tensor([found.loss for found in edt.channel_limits(task, ens, steps=2)])
    ],
}
#: Of those that a GPU does by itself.
ON_GPU = ("predict", "loss_and_grad", "products", "hessian", "masked_train", "converge")


def finite_data(device="cpu"):
    draw = torch.Generator().manual_seed(0)
    x, y, w = (torch.randn(9, n, dtype=torch.float64, generator=draw) for n in (2, 1, 1))
    ens = edt.Ensemble.init([1], [0, 1], d_in=2, d_out=1)
    return edt.Task(x, y, weights=w[:, 0].abs()).to(device=device), ens.to(device=device)


def afresh(task, ens):
    """The same from copies: nothing is known of them."""
    again = edt.Task(task.x.cpu(), task.y.cpu()).to(device=task.x.device)
    again.coef = task.coef.clone()
    return again, edt.Ensemble.concat([ens])


CHANGES = {
    "x": lambda task, ens: task.x.sub_(task.x.mean(0) + 0.3),
    "y": lambda task, ens: task.y.mul_(0.7).add_(0.2),
    "coef": lambda task, ens: task.coef.copy_(task.coef.flip(1)),
    "another x": lambda task, ens: setattr(task, "x", task.x * 0.9 + 0.1),
    "theta": lambda task, ens: ens.theta.mul_(1.1).add_(0.01),
}


def numbers(found):
    if isinstance(found, str):
        return found
    parts = [found] if isinstance(found, torch.Tensor) else list(found)
    return torch.cat([torch.as_tensor(part).detach().cpu().double().flatten() for part in parts])


def same(one, other):
    return one == other if isinstance(one, str) else torch.equal(one, other)


def check(name, task, ens, before=None):
    """The verb's answer is that for fresh tensors; returns it."""
    verb = {**VERBS, **MORE}[name]
    found, wanted = numbers(verb(task, ens)), numbers(verb(*afresh(task, ens)))
    assert same(found, wanted), name
    return found


@pytest.mark.parametrize("second", VERBS)
def test_every_pair_of_verbs(second):
    """First one, then a change of each kind, then the second."""
    changes = itertools.cycle(CHANGES)
    for first in VERBS:
        task, ens = finite_data()
        VERBS[first](task, ens)
        if first == second:
            # The change must show at all: this test could not fail otherwise.
            before = check(second, task, ens)
            CHANGES["x"](task, ens)
            CHANGES["y"](task, ens)
            assert not same(check(second, task, ens), before)
        else:
            CHANGES[next(changes)](task, ens)
            check(second, task, ens)


@pytest.mark.parametrize("verb", MORE)
def test_after_changes(verb):
    task, ens = finite_data()
    seen = [check(verb, task, ens)]
    for change in ("y", "theta"):
        CHANGES[change](task, ens)
        seen.append(check(verb, task, ens))
    assert not any(same(one, other) for one, other in itertools.pairwise(seen))


def test_no_verb_is_left_out():
    public = [getattr(edt, name) for name in edt.__all__]
    functions = [verb for verb in public if inspect.isfunction(verb)]
    verbs = {verb.__name__ for verb in functions if "task" in inspect.signature(verb).parameters}
    # Two under one name here, and two that give the counts of count_directions.
    others = {"hvp", "ggn_vp", "index", "escape_dimensions"}
    assert verbs - others <= {*VERBS, *MORE}


@pytest.mark.parametrize("second", ON_GPU)
def test_pairs_on_a_gpu(gpu, second):
    for first, change in zip(ON_GPU, itertools.cycle(CHANGES)):
        task, ens = finite_data(gpu)
        VERBS[first](task, ens)
        CHANGES[change](task, ens)
        check(second, task, ens)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_an_objective_in_use_refuses(device, request):
    where = request.getfixturevalue("gpu") if device == "gpu" else "cpu"
    for change in ("x", "y", "coef"):
        task, ens = finite_data(where)
        objective = task.objective(ens)
        loss = torch.zeros(ens.B, dtype=torch.float64)
        objective.loss(ens.theta.cpu(), loss)
        CHANGES[change](task, ens)
        with pytest.raises(RuntimeError, match="changed in place since this objective was made"):
            objective.loss(ens.theta.cpu(), loss)
        task.objective(ens).loss(ens.theta.cpu(), loss)


@pytest.mark.parametrize("verb", VERBS)
def test_a_changed_structure_is_refused(verb):
    task, ens = finite_data()
    relative = ens.with_theta(ens.theta)
    VERBS[verb](task, ens)
    ens.state[0] = 0
    if verb not in ("variance", "fingerprint"):
        with pytest.raises(RuntimeError, match=r"changed in place.*with_state"):
            VERBS[verb](task, relative)


def test_inference_tensors_are_used_as_they_are():
    """They do not count their changes, so nothing made of them is kept."""
    task, ens = finite_data()
    with torch.inference_mode():
        task.x = task.x * 1.0
        for name in ("loss", "hessian", "masked_train", "hessian_spectrum"):
            check(name, task, ens)
            task.x.mul_(0.5)
            check(name, task, ens)


def test_checkpoints_are_of_the_data_they_name(tmp_path):
    """A run on changed data is another run."""
    task, ens = finite_data()
    edt.masked_train(task, ens, steps=3, checkpoint=tmp_path, device="cpu", **QUIET)
    CHANGES["y"](task, ens)
    with pytest.raises(edt.EdtError, match="belongs to another run"):
        edt.masked_train(task, ens, steps=3, checkpoint=tmp_path, device="cpu", **QUIET)


def test_changed_teachers_of_infinite_data():
    teacher = edt.Ensemble.init([2], [0], d_in=2, d_out=1, activation="erf", scheme="normal")
    students = edt.Ensemble.init([2], [1], d_in=2, d_out=1, activation="erf")
    task = edt.population(teacher)
    before = edt.loss(task, students), task.variance, task.fingerprint()
    teacher.theta.mul_(2.0)
    fresh = edt.population(edt.Ensemble.concat([teacher]))
    after = edt.loss(task, students), task.variance, task.fingerprint()
    wanted = edt.loss(fresh, students), fresh.variance, fresh.fingerprint()
    for old, new, right in zip(before, after, wanted, strict=True):
        assert same(new, right) and not same(new, old)


class ChangedData(RuleBasedStateMachine):
    """Any sequence of verbs and changes."""

    @initialize()
    def begin(self):
        self.task, self.ens = finite_data()

    @rule(name=st.sampled_from(sorted(CHANGES)))
    def change(self, name):
        CHANGES[name](self.task, self.ens)

    @rule(name=st.sampled_from(sorted(VERBS)))
    def verb(self, name):
        check(name, self.task, self.ens)


TestChangedData = ChangedData.TestCase
TestChangedData.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
