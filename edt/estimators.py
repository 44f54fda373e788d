"""scikit-learn estimators over an ensemble: every network is trained, their mean predicts.

They go wherever scikit-learn's own go (pipelines, cross-validation, searches). Inputs are taken as
they are: put a `sklearn.preprocessing.StandardScaler` in front. The trained networks are in
``networks_``, for everything else this package does with them.

Equal samples count once, with the sum of their weights, and samples of weight 0 not at all: a
sample of weight 2 and the same sample twice give the same bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from edt.ensemble import Ensemble
from edt.ensemble.arrays import plain
from edt.functional import predict
from edt.scalars import integer
from edt.tasks import Task
from edt.training import TrainResult, converge, masked_train

__all__ = ["EnsembleClassifier", "EnsembleRegressor"]

Array = npt.NDArray[Any]


class _Ensemble(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: parameters, training, outputs.

    scikit-learn reads the parameters' names from the signature.
    """

    networks_: Ensemble
    result_: TrainResult

    def __init__(
        self,
        widths: int | Sequence[int] | Sequence[tuple[int, ...]] = 16,
        members: int = 8,
        *,
        activation: str = "tanh",
        sparsity: float | None = None,
        optimizer: str = "adam",
        steps: int = 2000,
        lr: float = 0.01,
        weight_decay: float = 0.0,
        batch_size: int | None = None,
        to_minima: bool = False,
        random_state: Any = 0,
        progress: bool = False,
    ) -> None:
        self.widths = widths
        self.members = members
        self.activation = activation
        self.sparsity = sparsity
        self.optimizer = optimizer
        self.steps = steps
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.to_minima = to_minima
        self.random_state = random_state
        self.progress = progress

    def _fit(self, task: Task) -> None:
        integer("members", self.members)
        first = self.random_state
        if first is None or not isinstance(first, (int, np.integer)):
            first = check_random_state(first).randint(2**31 - 1)
        # One architecture: a width, or the widths of several layers.
        one = isinstance(self.widths, (int, np.integer, tuple))
        widths: Any = [self.widths] if one else self.widths
        batch = self.batch_size
        if batch is not None:
            integer("batch_size (None: all samples)", batch)
        result = masked_train(
            task,
            widths=list(widths),
            seeds=range(int(first), int(first) + int(self.members)),
            activation=self.activation,
            sparsity=self.sparsity,
            optimizer=self.optimizer,
            steps=self.steps,
            lr=self.lr,
            weight_decay=self.weight_decay,
            batch_size=None if batch is None else min(int(batch), task.N),
            data_seed=int(first),
            progress=self.progress,
        )
        self.result_ = result
        self.n_iter_ = int(result.steps.max())
        lost = ~result.networks.finite | ~torch.isfinite(result.loss)
        self.networks_ = self._without(result.networks, lost)
        if self.to_minima:
            ended = converge(task, self.networks_, progress=self.progress)
            astray = ~ended.networks.finite | ~torch.isfinite(ended.loss)
            self.networks_ = self._without(ended.networks, astray)
            lost[torch.nonzero(~lost).flatten()[astray]] = True
        self.diverged_ = lost.numpy()

    def _without(self, networks: Ensemble, lost: torch.Tensor) -> Ensemble:
        """The networks whose loss is a number; warns of the others."""
        count = int(lost.sum())
        if not count:
            return networks
        advice = f"lower lr ({self.lr}) or put a StandardScaler in front"
        if count == len(lost):
            raise ValueError(f"all {count} networks diverged: {advice}")
        warnings.warn(
            f"{count} of {len(lost)} networks diverged and are left out (diverged_): {advice}",
            ConvergenceWarning,
            stacklevel=4,
        )
        return networks.select(~lost)

    def _outputs(self, X: Any) -> torch.Tensor:
        """Outputs of every network, ``[B, N, d_out]``."""
        check_is_fitted(self, "networks_")
        _plain("X", X)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        x = torch.tensor(X)
        nothing = torch.zeros(len(x), self.networks_.d_out, dtype=torch.float64)
        return predict(self.networks_, Task(x, nothing))

    def _checked(self, X: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        named = {"X": X, "y": y, "sample_weight": sample_weight}
        for name, value in named.items():
            _plain(name, value)
            _same_index(name, value, X)
        X, y = validate_data(self, X, y, dtype=np.float64, **options)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            if not weights.any():
                raise ValueError("sample_weight must have at least one entry > 0, got all zero")
        return X, y, weights


def _plain(name: str, value: Any) -> None:
    """Refuse what scikit-learn's checks would take without its meaning."""
    # These they take at their meaning, or refuse in their own words.
    complex_array = isinstance(value, np.ndarray) and np.iscomplexobj(value)
    if not (hasattr(value, "to_numpy") or hasattr(value, "toarray") or complex_array):
        plain(name, value)


def _same_index(name: str, value: Any, X: Any) -> None:
    """Samples are matched by position, so labels that say otherwise are refused."""
    if hasattr(value, "iloc") and hasattr(X, "iloc") and not value.index.equals(X.index):
        raise ValueError(
            f"{name} must have the index of X, row by row; use {name}.loc[X.index], or "
            f"{name}.to_numpy() if its order is that of X"
        )


def _distinct(X: Array, y: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    """Every different sample once, with the sum of its weights, in an order of their own.

    Samples that are all different and weigh the same are returned as they are.

    Args:
        X, y: ``[N, d]`` and ``[N, k]``. weights: ``[N]`` or None.
    """
    given = np.ones(len(X)) if weights is None else weights
    rows, where = np.unique(np.column_stack([X, y]), axis=0, return_inverse=True)
    if len(rows) == len(X) and bool((given == given[0]).all()):
        return X, y, None
    total = np.bincount(where.ravel(), given)
    rows, total = rows[total > 0.0], total[total > 0.0]
    return rows[:, : X.shape[1]].copy(), rows[:, X.shape[1] :].copy(), total


def _mean(each: Array) -> Array:
    """Mean ``[N, ...]`` over the networks ``[B, N, ...]`` whose outputs for a sample are finite.

    Raises:
        ValueError: no network's are, for some sample.
    """
    fine = np.isfinite(each).all(axis=tuple(range(2, each.ndim)))
    if fine.all():
        out: Array = each.mean(0)
        return out
    if not fine.any(0).all():
        row = int(np.flatnonzero(~fine.any(0))[0])
        raise ValueError(
            f"X[{row}] must be of a size that the networks were trained for: the outputs of all "
            f"{len(each)} overflow"
        )
    share = fine.reshape(fine.shape + (1,) * (each.ndim - 2))
    total: Array = np.where(share, each, 0.0).sum(0) / share.sum(0)
    return total


class EnsembleRegressor(RegressorMixin, _Ensemble):  # type: ignore[misc]
    """Mean of an ensemble of networks trained on the squared error.

    Args:
        widths: the hidden layer's width, or a tuple with the widths of several hidden layers; a
            list of such architectures, of equally many layers, trains ``members`` of each.
        members: networks per architecture.
        activation, sparsity: as in `Ensemble.init`.
        optimizer, steps, lr, weight_decay, batch_size: as in `masked_train`; a batch is at most
            all samples; None: full batch.
        to_minima: drive the trained networks on to critical points (`converge`); full data.
        random_state: int (the first seed), `numpy.random.RandomState` or None.
        progress: show progress bars.

    Attributes:
        networks_: the `Ensemble` that predicts: without the networks that diverged (a
            `ConvergenceWarning` says how many).
        diverged_: bool, one a trained network.
        result_: `TrainResult` of all of them.
        n_features_in_: inputs.

    Raises:
        ValueError, TypeError: from ``fit``, as in `masked_train`; all networks diverged; pandas
            objects whose indices differ; masked arrays, quantities, tensors with gradients.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = EnsembleRegressor(widths=[2, 8], members=2, steps=50).fit(X, y)
        >>> model.predict(X).shape
        (442,)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> EnsembleRegressor:
        """Train; X ``[N, d]``, y ``[N]`` or ``[N, outputs]``, sample_weight ``[N]``."""
        X, y, weights = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        targets = np.asarray(y, dtype=np.float64)
        self._flat = targets.ndim == 1
        X, targets, weights = _distinct(X, targets.reshape(len(X), -1), weights)
        x, columns = torch.tensor(X), torch.tensor(targets)
        # Networks start with outputs near 0 and of size 1: so do the targets.
        share = torch.ones(len(x), dtype=torch.float64)
        if weights is not None:
            share = torch.from_numpy(weights)
        share = (share / share.sum())[:, None]
        self.y_mean_ = (share * columns).sum(0)
        scale = (share * (columns - self.y_mean_).square()).sum(0).sqrt()
        self.y_scale_ = torch.where(scale > 0.0, scale, torch.ones_like(scale))
        self._fit(Task(x, (columns - self.y_mean_) / self.y_scale_, weights=weights))
        return self

    def predict_each(self, X: Any) -> Array:
        """Predictions of every network, ``[B, N]`` or ``[B, N, outputs]``."""
        values = self._outputs(X) * self.y_scale_ + self.y_mean_
        out: Array = values.numpy()
        return out[..., 0] if self._flat else out

    def predict(self, X: Any) -> Array:
        """Mean over the networks, ``[N]`` or ``[N, outputs]``; where some overflow, of the others.

        Raises:
            ValueError: all overflow.
        """
        return _mean(self.predict_each(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class EnsembleClassifier(ClassifierMixin, _Ensemble):  # type: ignore[misc]
    """Mean class probabilities of an ensemble of networks trained on the cross-entropy.

    Args and attributes as in `EnsembleRegressor`, and ``classes_``, the labels.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> EnsembleClassifier(widths=6, members=3, steps=200).fit(X, y).score(X, y) > 0.9
        True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> EnsembleClassifier:
        """Train; X ``[N, d]``, y ``[N]`` labels, sample_weight ``[N]``."""
        X, y, weights = self._checked(X, y, sample_weight)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must have at least 2 classes, got one class: {self.classes_.tolist()}"
            )
        X, codes, weights = _distinct(X, codes[:, None].astype(np.float64), weights)
        self._fit(
            Task(
                torch.tensor(X),
                torch.from_numpy(codes[:, 0].astype(np.int64)),
                loss="cross_entropy",
                weights=weights,
                n_classes=len(self.classes_),
            )
        )
        return self

    def predict_proba_each(self, X: Any) -> Array:
        """Class probabilities of every network, ``[B, N, classes]``."""
        out: Array = torch.softmax(self._outputs(X), -1).numpy()
        return out

    def predict_proba(self, X: Any) -> Array:
        """Mean class probabilities, ``[N, classes]``; where some networks overflow, of the others.

        Raises:
            ValueError: all overflow.
        """
        return _mean(self.predict_proba_each(X))

    def predict(self, X: Any) -> Array:
        """The most probable label, ``[N]``."""
        likely = self.predict_proba(X).argmax(1)
        out: Array = self.classes_[likely]
        return out
