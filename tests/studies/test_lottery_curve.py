"""The lottery experiment at a small size: chain of rounds, controls, resume."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import edt
from edt.ops.threads import one_blas_thread
from edt.studies import Lottery, LotterySpec, lottery_spec, run_lottery
from edt.studies.common.nets import recipe_of
from edt.studies.lottery.data import load_splits
from edt.studies.lottery.page import _protocol
from edt.studies.lottery.run import accuracy, curve_table
from edt.studies.lottery.spec import METHODS
from edt.tasks import CropFlip, ModuleTask
from edt.training import masked_train

SMALL = LotterySpec(
    task="digits", hidden=(12, 8), seeds=2, rounds=2, steps=60, validate_every=20, samples=300,
    methods=METHODS, rewind=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_lottery(SMALL, tmp_path_factory.mktemp("lottery") / "run", progress=False)


def test_every_method_has_the_density_of_the_ticket(done):
    runs = done.tables["runs"]
    assert len(runs) == 2 * 2 + 2 * 2 * len(METHODS)
    for _, part in runs.groupby("round"):
        # SNIP and GraSP rank globally: the same count up to rounding of the share.
        assert float(np.ptp(part["remaining"])) < 2e-3
    ticket = runs[(runs["method"] == "ticket") & (runs["seed"] == 0)]["remaining"].tolist()
    assert ticket[0] == 1.0 and ticket[0] > ticket[1] > ticket[2] > 0.6


def test_rounds_rewind_and_mask(done):
    nets = [edt.Ensemble.load(done.path / "parts" / f"round-{k:03d}.safetensors") for k in range(3)]
    for before, after in pairwise(nets):
        assert not ((before.state == 0) & (after.state != 0)).any()
        for b in range(2):
            for layer, share in enumerate((0.2, 0.2, 0.1)):
                old, new = (n.weight_mask(b, layer) for n in (before, after))
                gone = old & ~new
                assert int(gone.sum()) == int(share * int(old.sum()) + 0.5)
                size = before.weight(b, layer).abs()
                assert size[gone].max() <= size[new].min()


def test_resume_gives_the_same_bits(done):
    before = (done.path / "runs.parquet").read_bytes()
    for name in ("round-002.parquet", "round-001.safetensors"):
        (done.path / "parts" / name).unlink()
    again = run_lottery(SMALL, done.path, progress=False)
    assert (done.path / "runs.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(Lottery.load(done.path).tables["runs"], again.tables["runs"])


def test_splits_are_disjoint():
    parts = load_splits(SMALL)
    assert parts.train.N == 270 and parts.validation.N == 30
    rows = {tuple(row) for row in parts.train.x.tolist()}
    assert not rows & {tuple(row) for row in parts.validation.x.tolist()}


def test_accuracy_against_torch():
    task = edt.tasks.digits("test", dtype=torch.float32)
    ens = edt.Ensemble.init([(9, 7)], range(3), d_in=64, d_out=10, activation="relu",
                            dtype=torch.float32)  # fmt: skip
    wanted = [
        float((ens.to_module(b)(task.x).argmax(1) == task.y).double().mean()) for b in range(3)
    ]
    # Ties and last-bit differences of logits aside: at most one sample.
    assert accuracy(ens, task).tolist() == pytest.approx(wanted, abs=1.5 / task.N)


def test_no_class_is_read_off_outputs_that_are_no_numbers():
    task = edt.tasks.digits("test", dtype=torch.float32)
    ens = edt.Ensemble.init([4, 4], [0], d_in=64, d_out=10, dtype=torch.float32, ids=[1, 2])
    theta = ens.theta.clone()
    theta[ens.offsets[1] :] = float("nan")
    before = accuracy(ens, task)
    # The largest of ten NaN is the first: a tenth of the digits are 0.
    assert accuracy(ens.with_theta(theta), task).tolist() == [float(before[0]), 0.0]


def test_curve_table_intervals():
    runs = pd.DataFrame(
        {"method": "ticket", "round": 0, "remaining": 1.0, "accuracy": [0.8, 0.9, 0.85],
         "end_accuracy": 0.9, "best_step": 100, "connected": [True, True, False],
         "status": ["max_steps", "diverged", "diverged"]}
    )  # fmt: skip
    row = curve_table(runs).iloc[0]
    # Student's 97.5% point with 2 degrees of freedom is 4.302653.
    reach = 4.302653 * 0.05 / 3**0.5
    assert row["accuracy_low"] == pytest.approx(0.85 - reach, abs=1e-6)
    assert row["accuracy_high"] == pytest.approx(0.85 + reach, abs=1e-6)
    assert (row["seeds"], row["cut"], row["diverged"]) == (3, 1, 2)
    assert row["end_accuracy_low"] == row["end_accuracy_high"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "mnist"}, "folder"),
        ({"folder": "x"}, "folder"),
        ({"methods": ("random",)}, "begin with"),
        ({"methods": ("ticket", "snap")}, "did you mean"),
        ({"rewind": 60}, "rewind"),
        ({"share_hidden": 1.0}, "share_hidden"),
        ({"hidden": ()}, "hidden"),
        ({"scope": "layers"}, "scope"),
        ({"seeds": 0}, "seeds"),
        ({"net": "resnet"}, "did you mean"),
        ({"net": "lenet5", "task": "mnist1d"}, "takes images, and mnist1d has none"),
        ({"net": "conv6", "factor": -1.0}, "factor"),
        ({"net": "lenet5", "scope": "neuron"}, "scope 'neuron' is for chains"),
        ({"crop": 1}, "crop and flip need net"),
        ({"momentum": 0.9}, "momentum needs optimizer 'sgd'"),
        ({"milestones": (0.5,)}, "milestones"),
        ({"task": "cifar10"}, "folder"),
    ],
)
def test_bad_specs(change, says):
    with pytest.raises((ValueError, TypeError), match=says):
        dataclasses.replace(SMALL, **change)


def test_mnist_from_a_folder(tmp_path):
    """Noise in MNIST's format: the whole path from IDX files to a table."""
    draw = np.random.default_rng(0)
    for prefix, n in (("train", 80), ("t10k", 20)):
        pixels = draw.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = draw.integers(0, 10, n, dtype=np.uint8)
        head = {3: [n, 28, 28], 1: [n]}
        for name, data, dims in (("images", pixels, 3), ("labels", labels, 1)):
            size = b"".join(int(k).to_bytes(4, "big") for k in head[dims])
            raw = bytes([0, 0, 8, dims]) + size + data.tobytes()
            (tmp_path / f"{prefix}-{name}-idx{dims}-ubyte").write_bytes(raw)
    spec = dataclasses.replace(
        SMALL, task="mnist", folder=str(tmp_path), samples=0, hidden=(6, 5), rounds=1, steps=20,
        rewind=0, batch=16, methods=("ticket", "random"),
    )  # fmt: skip
    runs = run_lottery(spec, progress=False).tables["runs"]
    assert len(runs) == 6 and runs["accuracy"].between(0, 1).all()


RESNET = LotterySpec(
    task="digits", net="resnet20", factor=0.125, seeds=2, rounds=2, steps=6, validate_every=3,
    samples=100, methods=("ticket", "reinit", "oneshot", "snip"), rewind=2,
    optimizer="sgd", momentum=0.9, lr=0.05, weight_decay=1e-4, milestones=(4,), warmup=2, batch=30,
    crop=1, flip=True, share_hidden=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    return run_lottery(RESNET, tmp_path_factory.mktemp("residual") / "run", progress=False)


def test_residual_networks_are_pruned_and_rewound(residual):
    runs = residual.tables["runs"]
    assert len(runs) == 2 * 2 + 2 * 2 * 4 and runs["connected"].all()
    for _, part in runs.groupby("round"):
        assert float(np.ptp(part["remaining"])) < 2e-3
    start = recipe_of("resnet20", "digits", load_splits(RESNET).train).start([0.125], [0, 1])
    learnt = ModuleTask(load_splits(RESNET).train, augment=CropFlip(1))
    options = {
        "optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "weight_decay": 1e-4, "batch_size": 30,
        "data_seed": [0, 1], "record": None, "progress": False,
        "schedule": lambda step: min((step + 1) / 2, 1.0) * (0.1 if step >= 4 else 1.0),
    }  # fmt: skip
    with one_blas_thread():
        early = masked_train(learnt, start, steps=2, **options).networks
    files = [residual.path / "parts" / f"round-{k:03d}.safetensors" for k in range(3)]
    trained = [edt.ModuleEnsemble.load(file, [start.to_module(0)]) for file in files]
    weights = start.role_mask("weight")
    for before, after in pairwise(trained):
        gone = (before.state != 0) & (after.state == 0)
        assert bool(gone.any()) and bool(weights[gone].all())
        assert not bool(((before.state == 0) & (after.state != 0)).any())
    # By hand: the mask of round 1 on the values of step 2, trained as the spec says.
    with one_blas_thread():
        again = masked_train(learnt, early.with_state(trained[1].state), steps=6, **options)
    # Beside other networks sums have another order; six steps of float32.
    torch.testing.assert_close(again.networks.theta, trained[1].theta, rtol=1e-3, atol=1e-4)


def test_residual_networks_resume_with_the_same_bits(residual):
    before = (residual.path / "runs.parquet").read_bytes()
    for name in ("round-002.parquet", "round-001.safetensors"):
        (residual.path / "parts" / name).unlink()
    run_lottery(RESNET, residual.path, progress=False)
    assert (residual.path / "runs.parquet").read_bytes() == before
    words = " ".join(text for _, text in _protocol(residual))
    assert "ResNet-20 at 0.125 of its width" in words and "SGD with momentum 0.9" in words
    assert "warm-up over 2 steps" in words and "mirror images" in words


def test_defaults_of_a_network_are_small_and_its_own():
    spec = lottery_spec(net="conv4")
    assert (spec.task, spec.optimizer, spec.factor) == ("digits", "sgd", 0.125)
    assert lottery_spec(net="conv4", factor=1.0, task="mnist", folder="x").factor == 1.0
    assert lottery_spec(quick=True, net="resnet20").rounds == 2
    assert lottery_spec().task == "mnist1d" and lottery_spec().optimizer == "adam"
