"""Real data that comes with scikit-learn, and MNIST-1D, which is generated in code."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from edt.errors import unknown_choice
from edt.limits import insist
from edt.scalars import flag, integer, number
from edt.tasks.inputs import check_seed, permutation
from edt.tasks.task import LOSSES, Task

__all__ = ["SPLITS", "breast_cancer", "classification", "diabetes", "digits", "mnist1d"]

#: Which part of a data set.
SPLITS: tuple[str, ...] = ("all", "train", "test")


def digits(
    split: str = "all",
    *,
    test_share: float = 0.2,
    seed: int = 0,
    loss: str = "cross_entropy",
    standardise: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Task:
    """Handwritten digits, 1,797 images of 8 x 8 pixels, 10 classes (scikit-learn).

    Args:
        split: "all", or the "train" or "test" part of a random split.
        test_share: share of the samples in the test part, in (0, 1).
        seed: of the split.
        loss: "cross_entropy", or any other of `edt.Task` on one-hot targets (-1 and 1 for
            "logistic" and "squared_hinge").
        standardise: shift and scale each pixel to mean 0 and variance 1 over the training part
            (over all samples for "all"); pixels that never vary become 0. Otherwise 0..16.
        dtype: of the task.

    Returns:
        `Task` with x ``[N, 64]``; ``info`` holds "indices" of the samples and, if standardised,
        "x_mean" and "x_std".

    Raises:
        TypeError, ValueError: an argument is wrong. ImportError: scikit-learn is missing.

    Reference: E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998.
    """
    x, y = _sklearn("load_digits")
    return _classes("digits", x, y, 10, split, test_share, seed, loss, standardise, dtype)


def breast_cancer(
    split: str = "all",
    *,
    test_share: float = 0.2,
    seed: int = 0,
    loss: str = "cross_entropy",
    standardise: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Task:
    """Breast cancer Wisconsin (diagnostic), 569 samples, 30 features, 2 classes (scikit-learn).

    Args:
        split, test_share, seed, loss, standardise, dtype: as in `digits`.

    Returns:
        `Task` with x ``[N, 30]``; class 0 is malignant. ``info`` as in `digits`.

    Raises:
        TypeError, ValueError: an argument is wrong. ImportError: scikit-learn is missing.

    Reference: W. N. Street, W. H. Wolberg, O. L. Mangasarian, 1993.
    """
    x, y = _sklearn("load_breast_cancer")
    return _classes("breast cancer", x, y, 2, split, test_share, seed, loss, standardise, dtype)


def diabetes(
    split: str = "all",
    *,
    test_share: float = 0.2,
    seed: int = 0,
    standardise: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Task:
    """Diabetes progression, 442 patients, 10 features, one real target (scikit-learn). Loss mse.

    Args:
        split, test_share, seed, dtype: as in `digits`.
        standardise: features and target, to mean 0 and variance 1 over the training part.

    Returns:
        `Task` with x ``[N, 10]`` and y ``[N, 1]``; ``info`` as in `digits`, with "y_mean" and
        "y_std".

    Raises:
        TypeError, ValueError: an argument is wrong. ImportError: scikit-learn is missing.

    Reference: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, "Least angle regression", 2004.
    """
    x, target = _sklearn("load_diabetes", scaled=False)
    y = target.to(torch.float64)[:, None]
    chosen, train = _split(x.shape[0], split, test_share, seed)
    info: dict[str, Any] = {"indices": chosen}
    if flag("standardise", standardise):
        x, info["x_mean"], info["x_std"] = _standardised(x, train)
        y, info["y_mean"], info["y_std"] = _standardised(y, train)
    return Task(x[chosen], y[chosen], "mse", name="diabetes", info=info).to(dtype)


def mnist1d(
    split: str = "train",
    *,
    samples: int = 5000,
    seed: int = 42,
    loss: str = "cross_entropy",
    dtype: torch.dtype = torch.float64,
) -> Task:
    """MNIST-1D: ten digit-like signals of length 40, generated in code (package ``mnist1d``).

    Args:
        split: "train" (the first 80%), "test" or "all".
        samples: in both parts together; rounded down to a multiple of 10.
        seed: of the generator, whose own defaults are 42 and 5,000 samples.
        loss: as in `digits`.
        dtype: of the task.

    Returns:
        `Task` with x ``[N, 40]``, mean 0 and variance 1 over all entries of all samples.

    Raises:
        TypeError, ValueError: an argument is wrong. ImportError: the package is missing.

    Reference: S. Greydanus, D. Kobak, "Scaling down deep learning with MNIST-1D", ICML 2024.
    """
    if split not in SPLITS:
        raise unknown_choice("split", split, SPLITS)
    samples = integer("samples", samples, 20)
    insist(f"samples={samples:,} of mnist1d", 4 * 8 * 40 * samples)
    if check_seed(seed) >= 2**32:
        raise ValueError(f"seed must be below 2**32 for mnist1d, got {seed}")
    made = _signals(samples, int(seed))
    parts = {"train": ("",), "test": ("_test",), "all": ("", "_test")}[split]
    x = np.concatenate([made[f"x{part}"] for part in parts]).astype(np.float64)
    y = np.concatenate([made[f"y{part}"] for part in parts]).astype(np.int64)
    return classification(
        "mnist1d", torch.from_numpy(x), torch.from_numpy(y), 10, loss, {"seed": seed}
    ).to(dtype)


@lru_cache(maxsize=2)
def _signals(samples: int, seed: int) -> dict[str, np.ndarray]:
    """The generator's arrays "x", "y", "x_test", "y_test"; it takes seconds, hence the cache."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise ImportError(
            f"the task mnist1d needs the package mnist1d: pip install mnist1d ({error})"
        ) from None
    arguments = get_dataset_args()
    arguments.num_samples = samples
    arguments.seed = seed
    # The package seeds the global generators; whoever calls us keeps theirs.
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset(arguments)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
    return {name: made[name] for name in ("x", "y", "x_test", "y_test")}


def classification(
    name: str, x: torch.Tensor, y: torch.Tensor, classes: int, loss: str, info: dict[str, Any]
) -> Task:
    """Task on classes ``[N]``: cross-entropy, or another loss on one-hot targets."""
    if not isinstance(loss, str) or loss not in LOSSES:
        raise unknown_choice("loss", loss, tuple(LOSSES))
    if LOSSES[loss].classes:
        return Task(x, y, loss, name=name, n_classes=classes, info=info)
    hot = torch.nn.functional.one_hot(y, classes).to(x.dtype)
    return Task(x, LOSSES[loss].of_shares(hot), loss, name=name, info=info)


def _classes(
    name: str,
    x: torch.Tensor,
    y: torch.Tensor,
    classes: int,
    split: str,
    test_share: float,
    seed: int,
    loss: str,
    standardise: bool,
    dtype: torch.dtype,
) -> Task:
    chosen, train = _split(x.shape[0], split, test_share, seed)
    info: dict[str, Any] = {"indices": chosen}
    if flag("standardise", standardise):
        x, info["x_mean"], info["x_std"] = _standardised(x, train)
    return classification(name, x[chosen], y[chosen], classes, loss, info).to(dtype)


def _split(n: int, split: Any, test_share: Any, seed: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the chosen part and of the part that sets the scale, ascending."""
    if not isinstance(split, str) or split not in SPLITS:
        raise unknown_choice("split", split, SPLITS)
    test_share = number("test_share", test_share, below=1.0, strict=True)
    order = permutation(check_seed(seed), n)
    if split == "all":
        every = torch.arange(n)
        return every, every
    tests = min(max(round(n * test_share), 1), n - 1)
    train = order[tests:].sort().values
    return (train if split == "train" else order[:tests].sort().values), train


def _standardised(
    values: torch.Tensor, train: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values with mean 0 and variance 1 per column over the rows ``train``; mean and std."""
    mean = values[train].mean(0)
    std = values[train].std(0, correction=0)
    # A column that does not vary keeps its distance from the mean, zero.
    std = torch.where(std == 0.0, torch.ones_like(std), std)
    return (values - mean) / std, mean, std


def _sklearn(loader: str, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            f"this task needs scikit-learn: pip install scikit-learn ({error})"
        ) from None
    x, y = getattr(datasets, loader)(return_X_y=True, **options)
    return torch.tensor(x, dtype=torch.float64), torch.tensor(y)
