"""MNIST from local files, and every way they can be bad."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from edt.errors import EdtError
from edt.tasks import IdxError, mnist
from edt.tasks.mnist import read_idx


def idx(array, code=0x08):
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


def images(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 28, 28)).astype(np.uint8)


TRAIN, TEST = images(11, 0), images(5, 1)
LABELS = np.arange(11, dtype=np.uint8) % 10


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(TRAIN))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    (tmp_path / "t10k-images.idx3-ubyte.gz").write_bytes(gzip.compress(idx(TEST)))
    (tmp_path / "t10k-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[:5])))
    return tmp_path


def test_reads_raw_and_gzipped(folder):
    raw = mnist(folder, standardise=False, dtype=torch.float64)
    assert (raw.N, raw.d_in, raw.d_out, raw.loss) == (11, 784, 10, "cross_entropy")
    assert np.array_equal(raw.x.numpy(), TRAIN.reshape(11, 784) / 255.0)
    assert raw.y.tolist() == LABELS.tolist()
    test = mnist(str(folder), "test", standardise=False, dtype=torch.float64)
    assert np.array_equal(test.x.numpy(), TEST.reshape(5, 784) / 255.0)


def test_standardised_by_the_training_images(folder):
    """1e-12: sums of 8,624 numbers, in another order here."""
    mean, std = (TRAIN / 255.0).mean(), (TRAIN / 255.0).std()
    for split, data in (("train", TRAIN), ("test", TEST)):
        task = mnist(folder, split, dtype=torch.float64)
        np.testing.assert_allclose(
            task.x, (data.reshape(len(data), -1) / 255.0 - mean) / std, rtol=0, atol=1e-12
        )
    assert mnist(folder).dtype == torch.float32


def test_part_of_the_samples_and_one_hot(folder):
    task = mnist(folder, samples=4, loss="mse")
    assert task.y.tolist() == torch.eye(10)[:4].tolist()
    assert torch.equal(task.x, mnist(folder).x[:4])


def test_torchvision_layout(folder, tmp_path):
    nested = tmp_path / "data" / "MNIST" / "raw"
    nested.mkdir(parents=True)
    for file in folder.glob("*ubyte*"):
        file.rename(nested / file.name)
    assert mnist(tmp_path / "data", "test").N == 5


@pytest.mark.parametrize(
    "code, dtype", [(9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_all_element_types(tmp_path, code, dtype):
    values = np.array([[1, 2, 3], [-4, 5, 100]], dtype=dtype)
    (tmp_path / "values").write_bytes(idx(values, code))
    read = read_idx(tmp_path / "values")
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(read, values)


DAMAGE = [
    (b"", "not an IDX file .begins with nothing"),
    (b"PK\x03\x04 not this", "not an IDX file .begins with 504b0304"),
    (idx(TRAIN)[:-1], r"needs 8624 bytes of data, the file holds 8623"),
    (idx(TRAIN) + b"\0", "holds more than 8624"),
    (idx(TRAIN)[:9], "truncated in its header"),
    (gzip.compress(idx(TRAIN))[:-20], "truncated or corrupted gzip"),
    (gzip.compress(idx(TRAIN))[:200] + b"xxxx" + gzip.compress(idx(TRAIN))[204:], "gzip"),
    (idx(TRAIN, code=0x0A), "not an IDX file"),
    (idx(LABELS), "must hold images as bytes"),
    (idx(TRAIN.astype(">i2"), code=0x0B), "must hold images as bytes"),
]


@pytest.mark.parametrize("data, says", DAMAGE)
def test_damaged_images(folder, data, says):
    (folder / "train-images-idx3-ubyte").write_bytes(data)
    with pytest.raises(IdxError, match=says) as caught:
        mnist(folder)
    assert "train-images-idx3-ubyte" in str(caught.value)
    assert isinstance(caught.value, EdtError)


def test_labels_of_another_dtype_are_named(folder):
    labels = idx(LABELS.astype(">i4"), code=0x0C)
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(IdxError, match=r"labels as bytes \[N\].*got int32 \[11\]"):
        mnist(folder)


@pytest.mark.parametrize(
    "labels, says",
    [
        (LABELS[:10], "holds 10 labels, train-images-idx3-ubyte 11 images"),
        (LABELS + np.uint8(1), r"labels must be in 0\.\.9, got 10"),
        (TRAIN, r"labels as bytes \[N\], one per image, got uint8 \[11, 28, 28\]"),
    ],
)
def test_bad_labels(folder, labels, says):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(IdxError, match=says):
        mnist(folder)


def test_missing_files(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="existing folder"):
        mnist(tmp_path / "nowhere")
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-labels-idx1-ubyte\.gz"):
        mnist(folder)
    (folder / "train-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="train-images"):
        mnist(folder, "test")
    assert mnist(folder, "test", standardise=False).N == 5


@pytest.mark.parametrize(
    "bad, kind, says",
    [
        ({"split": "all"}, ValueError, "split must be one of 'train', 'test'"),
        ({"folder": 3}, TypeError, "folder must be a path"),
        ({"samples": 0}, ValueError, "samples"),
        ({"samples": 12}, ValueError, "samples must be at most 11, got 12"),
        ({"samples": 1.0}, TypeError, "samples"),
        ({"standardise": "no"}, TypeError, "standardise"),
        ({"loss": "hinge"}, ValueError, "loss"),
        ({"dtype": torch.float16}, (ValueError, TypeError), "float16"),
    ],
)
def test_refuses(folder, bad, kind, says):
    with pytest.raises(kind, match=says):
        mnist(**{"folder": folder, **bad})
