"""Crops and mirror images, and what training does with them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch

import edt
from edt.errors import ShapeError
from edt.ops.threads import one_blas_thread
from edt.tasks import CropFlip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose by threads, most where other work runs beside."""
    with one_blas_thread():
        yield


def test_every_output_is_a_crop_of_its_image() -> None:
    x = torch.randn(40, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    out = CropFlip(2)(x, torch.Generator().manual_seed(1))
    found = set()
    for image, changed in zip(x, out, strict=True):
        framed = torch.zeros(2, 9, 10)
        framed[:, 2:7, 2:8] = image
        fits = [
            (i, j, flip)
            for i in range(5)
            for j in range(5)
            for flip in (False, True)
            if torch.equal(framed[:, i : i + 5, j : j + 6].flip(2) if flip
                           else framed[:, i : i + 5, j : j + 6], changed)
        ]  # fmt: skip
        assert len(fits) == 1
        found.add(fits[0])
    # 50 outcomes, 40 images: by chance about 28 differ.
    assert len(found) > 15 and {flip for *_, flip in found} == {False, True}
    same = CropFlip(0, flip=False)
    assert torch.equal(same(x, torch.Generator()), x)
    assert torch.equal(CropFlip(2)(x, torch.Generator().manual_seed(1)), out)
    with pytest.raises(ShapeError, match="input_shape"):
        same(x.flatten(1), torch.Generator())
    with pytest.raises(ValueError, match="pad must be"):
        CropFlip(-1)


def test_training_sees_changed_images_and_losses_do_not(tmp_path) -> None:
    networks = edt.ModuleEnsemble.build(
        partial(edt.nets.lenet5, shape=(1, 8, 8)), [0.2], range(2), input_shape=(1, 8, 8)
    )
    data = edt.tasks.digits("train", dtype=torch.float32)
    rows = edt.Task(data.x[:50], data.y[:50], "cross_entropy", n_classes=10)
    plain, changed = edt.ModuleTask(rows), edt.ModuleTask(rows, augment=CropFlip(1))
    assert torch.equal(edt.loss(plain, networks), edt.loss(changed, networks))
    assert plain.fingerprint() != changed.fingerprint()
    options = {"steps": 6, "lr": 0.01, "record": None, "progress": False, "data_seed": [3, 4]}
    for batch in (None, 20):
        one, two = (
            edt.masked_train(task, networks, batch_size=batch, **options)
            for task in (plain, changed)
        )
        assert not torch.equal(one.networks.theta, two.networks.theta)
        cut = {"max_seconds": 0.0, "checkpoint": tmp_path / str(batch)}
        assert edt.masked_train(changed, networks, batch_size=batch, **options, **cut).interrupted
        cut["max_seconds"] = None
        again = edt.masked_train(changed, networks, batch_size=batch, **options, **cut)
        assert torch.equal(again.networks.theta, two.networks.theta)
    # A network's draws are its own: the first is trained to the same numbers beside another.
    alone = edt.masked_train(changed, networks[[1]], batch_size=20, **{**options, "data_seed": 4})
    torch.testing.assert_close(alone.networks.theta, two.networks.network(1).theta,
                               rtol=1e-3, atol=1e-5)  # fmt: skip
    with pytest.raises(ValueError, match="augment needs samples"):
        edt.ModuleTask([(data.x[:5], data.y[:5])], "cross_entropy", augment=CropFlip(1))
    wrong = edt.ModuleTask(rows, augment=lambda x, generator: x[:, :, 1:])
    with pytest.raises(ShapeError, match="augment must return inputs"):
        edt.masked_train(wrong, networks, batch_size=20, **options)
