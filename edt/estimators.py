"""scikit-learn estimators over an ensemble: every network is trained, their mean predicts.

They go wherever scikit-learn's own go (pipelines, cross-validation, searches). Inputs are taken as
they are: put a `sklearn.preprocessing.StandardScaler` in front. The trained networks are in
``networks_``, for everything else this package does with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from edt.ops import predict
from edt.tasks import Task
from edt.training import TrainResult, converge, masked_train

__all__ = ["EnsembleClassifier", "EnsembleRegressor"]

Array = npt.NDArray[Any]


class _Ensemble(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: parameters, training, outputs.

    scikit-learn reads the parameters' names from the signature.
    """

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
        if isinstance(self.members, bool) or not isinstance(self.members, (int, np.integer)):
            raise TypeError(f"members must be an integer, got {self.members!r}")
        if self.members < 1:
            raise ValueError(f"members must be at least 1, got {self.members}")
        first = self.random_state
        if first is None or not isinstance(first, (int, np.integer)):
            first = check_random_state(first).randint(2**31 - 1)
        widths = [self.widths] if isinstance(self.widths, (int, np.integer)) else self.widths
        batch = self.batch_size
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
        self.networks_ = result.networks
        if self.to_minima:
            self.networks_ = converge(task, result.networks, progress=self.progress).networks
        self.result_ = result
        self.n_iter_ = int(result.steps.max())

    def _outputs(self, X: Any) -> torch.Tensor:
        """Outputs of every network, ``[B, N, d_out]``."""
        check_is_fitted(self, "networks_")
        X = validate_data(self, X, reset=False, dtype=np.float64)
        x = torch.tensor(X)
        nothing = torch.zeros(len(x), self.networks_.d_out, dtype=torch.float64)
        return predict(self.networks_, Task(x, nothing))

    def _checked(self, X: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        X, y = validate_data(self, X, y, dtype=np.float64, **options)
        weights = None
        if sample_weight is not None:
            weights = torch.from_numpy(_check_sample_weight(sample_weight, X, dtype=np.float64))
        return torch.tensor(X), y, weights


class EnsembleRegressor(RegressorMixin, _Ensemble):  # type: ignore[misc]
    """Mean of an ensemble of networks trained on the squared error.

    Args:
        widths: hidden width, or widths, as in `Ensemble.init` (tuples: several hidden layers).
        members: networks per width.
        activation, sparsity: as in `Ensemble.init`.
        optimizer, steps, lr, weight_decay, batch_size: as in `masked_train`; a batch is at most
            all samples.
        to_minima: drive the trained networks on to critical points (`converge`); full data.
        random_state: int (the first seed), `numpy.random.RandomState` or None.
        progress: show progress bars.

    Attributes:
        networks_: the `Ensemble`.
        result_: `TrainResult`.
        n_features_in_: inputs.

    Raises:
        ValueError, TypeError: from ``fit``, as in `masked_train`.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = EnsembleRegressor(widths=[2, 8], members=2, steps=50).fit(X, y)
        >>> model.predict(X).shape
        (442,)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> EnsembleRegressor:
        """Train; X ``[N, d]``, y ``[N]`` or ``[N, outputs]``, sample_weight ``[N]``."""
        x, y, weights = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        targets = np.asarray(y, dtype=np.float64)
        self._flat = targets.ndim == 1
        columns = torch.from_numpy(targets.reshape(len(x), -1).copy())
        # Networks start with outputs near 0 and of size 1: so do the targets.
        share = torch.ones(len(x), dtype=torch.float64) if weights is None else weights
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
        """Mean over the networks, ``[N]`` or ``[N, outputs]``."""
        out: Array = self.predict_each(X).mean(0)
        return out

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
        x, y, weights = self._checked(X, y, sample_weight)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must have at least 2 classes, got one class: {self.classes_.tolist()}"
            )
        self._fit(
            Task(
                x,
                torch.from_numpy(codes.astype(np.int64)),
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
        """Mean class probabilities, ``[N, classes]``."""
        out: Array = self.predict_proba_each(X).mean(0)
        return out

    def predict(self, X: Any) -> Array:
        """The most probable label, ``[N]``."""
        likely = self.predict_proba(X).argmax(1)
        out: Array = self.classes_[likely]
        return out
