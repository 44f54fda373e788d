"""`on_record`: what it is given, that it changes no bit, what its answers stop, and resuming."""

from __future__ import annotations

import pytest
import torch
from small_trainings import KINDS, same, small_training, threads

from edt.ensemble import Ensemble
from edt.training import masked_train


@pytest.fixture(params=KINDS)
def call(request, cases):
    """A function that trains, on every kind of engine there is on the CPU."""
    return small_training(request.param, cases)


def meddle(step, networks, losses):
    """Draws numbers and overwrites all it was given."""
    torch.randn(7)
    networks.theta.fill_(float("nan"))
    losses.fill_(float("nan"))


def test_it_changes_no_bit_and_sees_what_is_recorded(call):
    seen = []

    def look(step, networks, losses):
        seen.append((step, networks.theta.clone(), losses.clone()))

    plain = call(record=7, record_params=True)
    heard = call(record=7, record_params=True, on_record=[meddle, look])
    same(plain, heard)
    assert [step for step, _, _ in seen] == plain.recorded.at.tolist() == [*range(0, 40, 7), 40]
    for row, (_, theta, losses) in enumerate(seen):
        assert torch.equal(theta, plain.recorded.params[row])
        # Of one kernel without and with its gradient: equal to rounding.
        torch.testing.assert_close(losses, plain.recorded.loss[row], rtol=1e-5, atol=0.0)


def test_answers_stop_networks_where_they_stand(call):
    full = call(record=8, record_params=True)
    some = call(
        record=8, on_record=lambda step, _, losses: torch.tensor([step >= 16] + [False] * 3)
    )
    assert some.steps.tolist() == [16, 40, 40, 40]
    assert some.status == ["stopped"] + ["max_steps"] * 3
    mine = slice(0, int(full.networks.offsets[1]))
    assert torch.equal(some.networks.theta[mine], full.recorded.params[2, mine])
    assert torch.equal(some.networks.theta[mine.stop :], full.networks.theta[mine.stop :])
    for name in ("loss", "grad_norm"):
        found, expected = getattr(some.recorded, name), getattr(full.recorded, name)
        assert torch.equal(found[:3], expected[:3]), name
        assert found[3:, 0].isnan().all()
        assert torch.equal(getattr(some, name)[0], expected[2, 0])
    every = call(record=8, on_record=lambda step, *_: step == 8)
    assert every.steps.tolist() == [8] * 4 and not every.interrupted


def test_a_cut_run_reports_every_step_once_it_goes_on(call, tmp_path):
    plain = call(record=6)
    steps = []

    def cut(step, *_):
        if step == 18 and steps.count(18) < 1:
            steps.append(step)
            raise KeyboardInterrupt
        steps.append(step)

    first = call(record=6, checkpoint=tmp_path, on_record=cut)
    assert first.interrupted and first.steps.tolist() == [18] * 4
    second = call(record=6, checkpoint=tmp_path, on_record=cut)
    assert steps == [0, 6, 12, 18, 18, 24, 30, 36, 40]
    same(plain, second)
    call(record=6, checkpoint=tmp_path, on_record=cut)
    assert steps[-1] == 40 and len(steps) == 9


def test_threads_and_company_change_nothing(call):
    def kept(**more):
        seen = []
        result = call(record=9, on_record=lambda *given: seen.append(given), **more)
        first = slice(0, int(result.networks.offsets[1]))
        return [(step, nets.theta[first], losses[:1]) for step, nets, losses in seen]

    with threads(1):
        expected = kept()
    with threads(2):
        found = [kept()] if call.kind == "modules" else [kept(), kept(given=call.networks[[0]])]
    for other in found:
        for a, b in zip(expected, other, strict=True):
            assert a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2])


def test_networks_that_ended_are_reported_no_more(cases):
    ens = Ensemble.init([3], [0, 1], d_in=2, d_out=1)
    task = cases.task(n=23, seed=1)
    seen = []
    result = masked_train(
        task, ens, steps=20, lr=[0.0, 1e9], optimizer="gd", record=1, progress=False,
        loss_target=1e6, on_record=lambda step, *_: seen.append(step),
    )  # fmt: skip
    assert result.status[0] == "target" and int(result.steps.max()) < 20
    assert seen == list(range(int(result.steps.max()) + 1))


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (3, TypeError, "on_record must be a function"),
        ([print, "loss"], TypeError, "on_record must be a function"),
        (lambda *_: 3, TypeError, "on_record must return None, a bool"),
        (lambda *_: [True], ValueError, r"bools of shape \[4\], got bool of shape \[1\]"),
        (lambda *_: torch.ones(4), ValueError, r"bools of shape \[4\], got float32"),
    ],
)
def test_bad_input(call, wrong, error, words):
    with pytest.raises(error, match=words):
        call(on_record=wrong)


def test_nothing_recorded(call):
    with pytest.raises(ValueError, match="record names none"):
        call(on_record=print, record=None)
