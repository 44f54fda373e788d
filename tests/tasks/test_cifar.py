"""CIFAR from local files made here, in both versions, and every way they can be bad."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import edt
from edt.tasks import CifarError, cifar10, cifar100, fashion_mnist

COUNT = 4


def draw(seed, classes):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (COUNT, 3072)).astype(np.uint8)
    return images, random.integers(0, classes, COUNT).tolist()


@pytest.fixture
def python(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for k, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        images, labels = draw(k, 10)
        content = {b"data": images, b"labels": labels, b"filenames": [b"a.png"] * COUNT}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path


@pytest.fixture
def binary(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for k, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        images, labels = draw(k, 10)
        rows = np.concatenate([np.array(labels, dtype=np.uint8)[:, None], images], axis=1)
        (folder / name).write_bytes(rows.tobytes())
    return tmp_path


def test_both_versions_hold_the_same(python, tmp_path_factory, binary):
    for split, first in (("train", 0), ("test", 5)):
        task = cifar10(python, split, standardise=False, dtype=torch.float64)
        other = cifar10(binary / "cifar-10-batches-bin", split, standardise=False)
        images, labels = draw(first, 10)
        assert (20 if split == "train" else COUNT) == task.N
        assert np.array_equal(task.x[:COUNT].numpy(), images / 255.0)
        assert task.y[:COUNT].tolist() == labels == other.y[:COUNT].tolist()
        assert torch.equal(task.x.float(), other.x)
    assert task.info["shape"] == (3, 32, 32) and task.d_out == 10


def test_channels_are_standardised_by_the_training_images(python):
    """1e-12: sums of 20,480 numbers, in another order here."""
    whole = np.concatenate([draw(k, 10)[0] for k in range(5)]).reshape(-1, 3, 1024) / 255.0
    mean, std = whole.mean((0, 2)), whole.std((0, 2))
    test = draw(5, 10)[0].reshape(-1, 3, 1024) / 255.0
    wanted = (test - mean[:, None]) / std[:, None]
    task = cifar10(python, "test", dtype=torch.float64)
    np.testing.assert_allclose(task.x, wanted.reshape(COUNT, -1), rtol=0, atol=1e-12)


def test_fine_and_coarse_labels(tmp_path):
    images, fine = draw(0, 100)
    coarse = [label % 20 for label in fine]
    content = {b"data": images, b"fine_labels": fine, b"coarse_labels": coarse}
    (tmp_path / "train").write_bytes(pickle.dumps(content, protocol=2))
    assert cifar100(tmp_path).y.tolist() == fine
    task = cifar100(tmp_path, labels="coarse", samples=3)
    assert task.y.tolist() == coarse[:3] and task.d_out == 20
    rows = np.concatenate([np.array([coarse, fine], dtype=np.uint8).T, images], axis=1)
    (tmp_path / "cifar-100-binary").mkdir()
    (tmp_path / "cifar-100-binary" / "test.bin").write_bytes(rows.tobytes())
    assert cifar100(tmp_path, "test").y.tolist() == fine


class Attack:
    def __reduce__(self):
        return os.mkdir, ("/tmp/edt-test-must-not-exist",)


@pytest.mark.parametrize(
    "content, says",
    [
        (pickle.dumps(Attack()), "names .*mkdir, which no batch needs"),
        (b"", "not a batch"),
        (pickle.dumps([1, 2]), "must hold a dictionary"),
        (pickle.dumps({b"data": np.zeros((2, 5), np.uint8)}), r"uint8 \[N, 3072\]"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}), "one of labels an image"),
        (
            pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}),
            r"labels must be integers in 0\.\.9",
        ),
    ],
)
def test_damaged_and_hostile_batches_are_named(python, content, says):
    path = python / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(content)
    with pytest.raises(CifarError, match=r"data_batch_3: " + f".*{says}"):
        cifar10(python)
    assert not Path("/tmp/edt-test-must-not-exist").exists()


def test_missing_files_are_named(python, binary, tmp_path):
    (python / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_4 is missing beside data_batch_1"):
        cifar10(python)
    with pytest.raises(FileNotFoundError, match=r"has none of train, train\.bin"):
        cifar100(tmp_path)
    (binary / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"123")
    with pytest.raises(CifarError, match="records of 3073 bytes, has 3 bytes"):
        cifar10(binary / "cifar-10-batches-bin", "test")
    with pytest.raises(ValueError, match="samples must be at most"):
        cifar10(binary / "cifar-10-batches-bin", samples=100)


def test_a_network_of_the_literature_takes_the_images(python):
    task = cifar10(python, dtype=torch.float64)
    networks = edt.ModuleEnsemble.build(
        edt.nets.conv2, [0.05], dtype=torch.float64, input_shape=task.info["shape"]
    )
    objective = edt.ModuleTask.of(task).objective(networks, torch.zeros(1, dtype=torch.int64))
    (outputs,) = objective.predict(networks.theta)
    module = networks.to_module(0)
    # The same sums in another order.
    theirs = module(task.x.view(-1, 3, 32, 32)).detach()
    torch.testing.assert_close(outputs, theirs, rtol=1e-12, atol=1e-12)


def test_fashion_mnist_and_folders_of_ones_own_name(tmp_path, monkeypatch):
    import gzip
    import struct

    def idx(array):
        return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()

    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    labels = np.arange(6, dtype=np.uint8)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    kaggle = raw / "train-labels-idx1-ubyte"
    kaggle.mkdir()
    (kaggle / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    monkeypatch.setenv("HOME", str(tmp_path))
    task = fashion_mnist("~", standardise=False, dtype=torch.float64)
    assert task.name == "fashion_mnist" and task.y.tolist() == labels.tolist()
    assert np.array_equal(task.x.numpy(), images.reshape(6, 784) / 255.0)
    with pytest.raises(FileNotFoundError, match="has none of"):
        edt.tasks.mnist("~")
