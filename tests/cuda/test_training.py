"""Training steps of the CUDA kernels against the CPU engine: over the shim, and on a GPU.

Both round in float64 and add in different orders; 25 steps of at most 0.05 let the differences grow
to some 1e-13 (Adam divides by sqrt(v), which magnifies them where gradients are small). A wrong
formula differs by at least the learning rate times a per mille.
"""

from __future__ import annotations

import pytest
import torch
from case_runs import RULES, TOLERANCE, assert_close, assert_same, train
from engine_calls import cpu_trainer, cuda_trainer
from op_cases import Case
from short_runs import PLAIN, STEPS, results, start

from edt.ops.losses import LOSSES

KINDS = (cuda_trainer, cpu_trainer)
SHAPES = {
    "shallow": {"hidden": ((3,), (9,)), "samples": 21},
    "masked": {"hidden": ((5, 3), (2, 6)), "d_out": 3, "loss": "cross_entropy", "masks": "mixed"},
    # Weights of units no output hears: only weight decay moves them.
    "dead": {"hidden": ((4, 3),), "masks": "dead units"},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_as_on_the_cpu(device, rule, shape):
    case, rule = Case(**SHAPES[shape]), {**PLAIN, **RULES[rule]}
    found = train(cuda_trainer, case, rule, device=device)
    assert_close(found, train(cpu_trainer, case, rule))


@pytest.mark.parametrize("rule", ["adam", "minibatch", "nesterov", "clipped minibatch"])
def test_cuts_and_thread_order_change_no_bit(shim, rule):
    case, rule = Case(**SHAPES["masked"]), {**PLAIN, **RULES[rule]}
    whole = train(cuda_trainer, case, rule)
    shim.set_order("shuffled", 3)
    assert_same(train(cuda_trainer, case, rule, cuts=(1, 7, 16)), whole)


@pytest.mark.parametrize("rule", ["adam", "momentum", "minibatch", "scaled adamw", "clipped"])
def test_single_precision(shim, rule):
    """float32: 25 steps differ by some units in the last place of numbers of order one."""
    case = Case(dtype=torch.float32, **SHAPES["shallow"])
    rule = {**PLAIN, **RULES[rule]}
    found, wanted = train(cuda_trainer, case, rule), train(cpu_trainer, case, rule)
    torch.testing.assert_close(found["theta"], wanted["theta"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "loss"),
    [
        (torch.float64, "mse"),
        (torch.float32, "mse"),
        (torch.float32, "bce"),
        (torch.float32, "soft_cross_entropy"),
    ],
)
def test_in_registers(shim, dtype, loss):
    """One hidden layer: any number of lanes a sample, units that fill none, several tiles. float32
    as above.
    """
    shim.set_limits(8, 40 * 1024, 120 * 1024)
    double = dtype == torch.float64
    hidden = ((3,), (9,), (33,)) if double else ((3,), (9,), (33,), (120,))
    case = Case("softplus", loss, dtype, hidden, d_in=3, samples=150, masks="mixed")
    found, wanted = train(cuda_trainer, case, PLAIN), train(cpu_trainer, case, PLAIN)
    ens, task, index = case.build()
    schedule, *_ = cuda_trainer(ens, task, index)._plan.schedule("train", double, 150, moments=True)
    assert all(launch["in_registers"] for launch in schedule.launches)
    if double:
        assert_close(found, wanted)
    else:
        torch.testing.assert_close(found["theta"], wanted["theta"], rtol=1e-4, atol=1e-4)
    shim.set_order("shuffled", 5)
    assert_same(train(cuda_trainer, case, PLAIN), found)


@pytest.mark.parametrize(
    ("activation", "hidden", "samples", "block", "threads", "rule"),
    [
        ("relu", (32, 40), 150, 100, 128, {}),  # inputs brought twice
        ("tanh", (40, 32), 70, 227, 256, {"momentum": 0.9}),  # one tile, its inputs kept
        ("relu", (72, 64), 130, 227, 256, {"momentum": 0.9}),  # moments in global memory
        ("softplus", (32, 40), 150, 227, 128, {"batch_size": 64}),
    ],
)
def test_by_squares(shim, activation, hidden, samples, block, threads, rule):
    """Large dense layers in float32, which threads take by 8 x 8: tiles that are not full, squares
    that leave threads idle or come in two rounds, one thin output. Tolerance as above; small
    parameters, for which the rate is not too large.
    """
    shim.set_limits(8, block * 1024, 228 * 1024)
    case = Case(activation, "mse", torch.float32, (hidden,), d_in=32, samples=samples)
    rule = {**PLAIN, "optimizer": "sgd", **rule}
    found, wanted = (train(kind, case, rule, scale=0.1) for kind in (cuda_trainer, cpu_trainer))
    ens, task, index = case.build()
    plan = cuda_trainer(ens, task, index)._plan
    moments = rule["momentum"] > 0
    (launch,) = plan.schedule("train", False, samples, moments=moments)[0].launches
    # Networks that are not taken so have blocks of a third of the memory.
    assert launch["shared"] > 76 * 1024 and launch["tile"] == (128, 128)
    assert launch["threads"] == threads
    torch.testing.assert_close(found["theta"], wanted["theta"], rtol=1e-4, atol=1e-4)
    shim.set_order("shuffled", 5)
    assert_same(train(cuda_trainer, case, rule, scale=0.1), found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sparse_layers(shim, dtype):
    """Edges in pairs, for two packs of samples at once: rows and columns of odd length, and one of
    none, tiles that are not full, inputs in order and gathered. Tolerances as above.
    """
    shim.set_limits(8, 100 * 1024, 228 * 1024)
    case = Case(
        "tanh", "mse", dtype, ((24, 20),), d_in=12, d_out=8, samples=150, masks="very sparse"
    )
    rule = {**PLAIN, "optimizer": "sgd", "batch_size": 70}
    found, wanted = (train(kind, case, rule) for kind in (cuda_trainer, cpu_trainer))
    tolerance = TOLERANCE if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(found["theta"], wanted["theta"], rtol=tolerance, atol=tolerance)
    shim.set_order("shuffled", 5)
    assert_same(train(cuda_trainer, case, rule), found)


@pytest.mark.parametrize("rule", [name for name in RULES if name not in ("scaled", "gd")])
def test_launches_every_step(shim, rule):
    """Networks that do not fit shared memory: their layers are shared out, step by step."""
    shim.set_limits(8, 1200, 2400)
    case = Case(hidden=((3,), (5,)), samples=130, d_out=2)
    rule = {**PLAIN, **RULES[rule]}
    found = train(cuda_trainer, case, rule, cuts=(7,))
    ens, task, index = case.build()
    calls = cuda_trainer(ens, task, index)
    moments = rule["optimizer"] != "sgd"
    assert calls._plan.schedule("train", True, 130, moments=moments)[0].wide_networks == 2
    assert_close(found, train(cpu_trainer, case, rule))
    assert_same(found, train(cuda_trainer, case, rule))


@pytest.mark.parametrize("rule", ["adam", "momentum", "scaled adamw", "clipped"])
def test_few_networks_of_many_samples(shim, rule):
    """Their samples are shared out among blocks, three launches a step."""
    shim.set_limits(4, 227 * 1024, 228 * 1024)
    case = Case(hidden=((2,), (3,)), samples=8200, masks="sparse")
    rule = {**PLAIN, **RULES[rule]}
    found = train(cuda_trainer, case, rule, cuts=(7,))
    ens, task, index = case.build()
    plan = cuda_trainer(ens, task, index)._plan
    schedule, *_ = plan.schedule("train", True, 8200, moments=rule["optimizer"] != "sgd")
    assert schedule.split_training
    assert_close(found, train(cpu_trainer, case, rule))


@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in ("mse", "cross_entropy")])
def test_every_loss_in_minibatches(shim, loss):
    """Of networks that a block holds, and of those whose layers are shared out."""
    case = Case(hidden=((3,), (5,)), samples=21, d_out=2, loss=loss)
    rule = {**PLAIN, "batch_size": 4}
    wanted = train(cpu_trainer, case, rule)
    assert_close(train(cuda_trainer, case, rule), wanted)
    shim.set_limits(8, 1200, 2400)
    assert_close(train(cuda_trainer, case, rule), wanted)


def test_wide_masked_minibatches(shim):
    shim.set_limits(2, 1200, 2400)
    case, rule = Case(**SHAPES["masked"]), {**PLAIN, "batch_size": 3}
    assert_close(train(cuda_trainer, case, rule), train(cpu_trainer, case, rule))


def test_rates_of_one_and_norms_that_cut_nothing_change_no_bit(shim):
    """Neither costs a bit: whoever asks for them gets the plain steps where they say nothing."""
    case, rule = Case(**SHAPES["masked"]), {**PLAIN, "optimizer": "sgd"}
    plain = train(cuda_trainer, case, rule)
    ens, task, index = case.build()
    engine = cuda_trainer(ens, task, index)
    state, how = start(ens, rule)
    how.lr_scale, how.clip_norm = torch.ones(ens.total).double(), torch.full((ens.B,), 1e9).double()
    engine.train(state, how, STEPS)
    assert_same(results(ens, state), plain)


def test_norms_of_entries_whose_squares_are_no_numbers(shim):
    """Scaled by the largest entry before they are squared, as on the CPU."""
    for limits in ((8, 227 * 1024, 228 * 1024), (8, 1200, 2400)):
        shim.set_limits(*limits)
        case = Case("square", hidden=((3,), (4,)))
        rule = {**PLAIN, "optimizer": "sgd", "clipped": True}
        found, wanted = (train(kind, case, rule, scale=1e40) for kind in KINDS)
        assert 1e160 < float(wanted["grad_norm"].max()) < float("inf")
        assert_close(found, wanted)


@pytest.mark.parametrize("rule", ["gd", "minibatch"])
def test_divergence(shim, rule):
    """A network that leaves the finite numbers stops alone."""
    case = Case("square", hidden=((3,), (4,)))
    rule = {**PLAIN, **RULES[rule]}
    if rule["optimizer"] != "sgd":
        rule["optimizer"] = "sgd"
    found, wanted = (train(kind, case, rule, scale=30.0) for kind in (cuda_trainer, cpu_trainer))
    assert found["status"].tolist() == wanted["status"].tolist()
    assert 2 in found["status"].tolist()
    assert found["steps"].tolist() == wanted["steps"].tolist()
