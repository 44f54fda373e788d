"""Networks in registers whose samples two blocks of a cluster share: the results of the CPU engine,
and to the bit those of one block.

Tolerances are those of test_training.py.
"""

from __future__ import annotations

import os

import pytest
import torch
from case_runs import RULES, assert_close, assert_same, train
from engine_calls import cpu_trainer, cuda_trainer
from op_cases import Case
from short_runs import PLAIN, STEPS, results, start

PTX = os.environ.get("EDT_KERNELS") == "ptx"


def launches(case, rule):
    """How its networks are trained."""
    ens, task, index = case.build()
    plan = cuda_trainer(ens, task, index)._plan
    moments = rule["optimizer"] != "sgd" or rule["momentum"] > 0
    double = case.dtype == torch.float64
    batch = rule["batch_size"]
    return plan.schedule("train", double, case.samples, moments=moments, batch_size=batch)[
        0
    ].launches


def in_both(shim, case, rule, cuts=()):
    """Trained by pairs of blocks, which is the same as by one block."""
    shim.set_card(capability=80)
    assert not any(launch["pairs"] for launch in launches(case, rule))
    alone = train(cuda_trainer, case, rule, cuts)
    shim.set_card(capability=90)
    (launch,) = launches(case, rule)
    assert launch["pairs"] and launch["splits"] == 2 and launch["items"] % 2 == 0
    found = train(cuda_trainer, case, rule, cuts)
    assert_same(found, alone)
    return found


@pytest.mark.parametrize(
    ("dtype", "hidden", "samples", "block"),
    [
        (torch.float32, ((64,), (60,), (5,)), 300, 227),  # the odd block has nothing to do
        (torch.float32, ((120,), (3,), (60,)), 530, 227),
        (torch.float64, ((30,), (50,)), 256, 227),
        (torch.float64, ((60,), (3,)), 300, 28),  # tiles of some samples, again at every step
    ],
)
def test_as_one_block_and_as_on_the_cpu(shim, dtype, hidden, samples, block):
    shim.set_limits(8, block * 1024, 228 * 1024)
    case = Case("softplus", "mse", dtype, hidden, d_in=3, samples=samples, masks="mixed")
    found, wanted = in_both(shim, case, PLAIN), train(cpu_trainer, case, PLAIN)
    if block < 227:
        assert launches(case, PLAIN)[0]["tile"][0] < samples / 2
    if dtype == torch.float64:
        assert_close(found, wanted)
    else:
        torch.testing.assert_close(found["theta"], wanted["theta"], rtol=1e-4, atol=1e-4)
    shim.set_order("shuffled", 5)
    assert_same(train(cuda_trainer, case, PLAIN), found)


@pytest.mark.parametrize("rule", ["momentum", "tolerance", "target", "scaled adamw", "clipped"])
def test_rules(shim, rule):
    """Steps, ends and what one block writes for both, in calls of any length."""
    shim.set_limits(8, 227 * 1024, 228 * 1024)
    case = Case("tanh", "mse", torch.float64, ((17,), (20,)), samples=256)
    rule = {**PLAIN, **RULES[rule]}
    found = in_both(shim, case, rule, cuts=(1, 7))
    assert_close(found, train(cpu_trainer, case, rule))
    assert_same(train(cuda_trainer, case, rule), found)


def test_divergence(shim):
    """Both blocks stop, and the other network goes on."""
    case = Case("square", "mse", torch.float64, ((17,), (3,)), samples=256)
    rule = {**PLAIN, "optimizer": "sgd"}
    found = {}
    for capability in (80, 90):
        shim.set_card(capability=capability)
        found[capability] = train(cuda_trainer, case, rule, scale=30.0)
    wanted = train(cpu_trainer, case, rule, scale=30.0)
    assert found[90]["status"].tolist() == wanted["status"].tolist()
    assert 2 in found[90]["status"].tolist()
    assert_same(found[90], found[80])


def test_company_decides_who_is_shared_and_changes_no_bit(shim):
    """Networks that take longer than an even share of all: among few, not among many."""
    shim.set_limits(4, 227 * 1024, 228 * 1024)
    case = Case("tanh", "mse", torch.float32, ((33,),) * 9, samples=256)
    ens, task, index = case.build()
    found = {}
    for count in (2, 9):
        engine = cuda_trainer(ens[:count], task, index[:count])
        state, how = start(ens[:count], PLAIN)
        how.lr.fill_(0.02)
        how.weight_decay.fill_(0.01)
        (launch,) = engine._plan.schedule("train", False, 256, moments=True)[0].launches
        assert launch["pairs"] == (count == 2)
        engine.train(state, how, STEPS)
        found[count] = results(ens[:count], state)
    for name, value in found[2].items():
        assert torch.equal(value, found[9][name][..., : value.shape[-1]]), name


@pytest.mark.parametrize(
    ("hidden", "samples", "rule"),
    [
        ((40,), 255, {}),  # too few samples
        ((32,), 300, {}),  # too few lanes
        ((40,), 300, {"batch_size": 150}),
        ((40, 3), 300, {}),  # not in registers
        ((40,), 8200, {}),  # launches every step
    ],
)
def test_no_pairs(shim, hidden, samples, rule):
    case = Case("tanh", "mse", torch.float32, (hidden,), samples=samples)
    assert not any(launch["pairs"] for launch in launches(case, {**PLAIN, **rule}))


@pytest.mark.skipif(not PTX, reason="of the compiled PTX: EDT_KERNELS=ptx")
def test_no_barrier_of_the_cluster_is_idle(shim):
    """Each one left out is noticed by what it keeps apart."""
    from ptx_build import FOLDER

    case = Case("tanh", "mse", torch.float32, ((33,),), samples=256)
    text = (FOLDER / "train_pairs.90.ptx").read_text()
    entry = text.index(".entry _ZN3edt4cuda12train_kernelIf")
    first = text.count("\n", 0, entry) + 1
    arrivals = [
        first + i
        for i, line in enumerate(text[entry : text.index("\n}", entry)].splitlines())
        if "barrier.cluster.arrive" in line
    ]
    assert len(arrivals) >= 2
    for line in arrivals:
        shim.set_checks(True, line)
        with pytest.raises(
            RuntimeError, match=r"race in|nobody has written|has left|cluster's barrier"
        ):
            train(cuda_trainer, case, PLAIN)
