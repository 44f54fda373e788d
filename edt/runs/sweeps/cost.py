"""Predicted cost of a run, in seconds of one thread: what shards are cut by.

Per optimiser step of one network on S samples,

    seconds = S (A w + B h) + C,

w active parameters, h hidden neurons; A is the arithmetic of a weight, B that of an activation with
its derivative, C the rest; a run costs R besides. Converging and curvature are counted in such
passes and in Hessians,

    hessian = D N P^2 + E P^3 + F     (N samples, P coordinates, with eigenvalues).

Only ratios matter: a wrong scale makes shards longer or shorter, and `edt status` corrects the time
left by what finished shards took.

Source: ``python -m benchmarks.cost_model`` (processor time of one thread; AMD EPYC, Zen 5, AVX-512;
2026-11-28). Typical error of the fits: 8 to 14% for training, 23% for spectra. How long a run takes
to converge is not known beforehand: typical iterations stand for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

#: A: seconds per active parameter and sample.
WEIGHT = {"float32": 3.1e-11, "float64": 6.4e-11}
#: B: seconds per hidden neuron and sample (tanh).
NEURON = {"float32": 2.1e-10, "float64": 5.0e-10}
#: C and R: seconds per step and network, and per run.
STEP, RUN = 1.2e-7, 3.6e-5
#: D, E, F: seconds per sample and squared coordinate, per cubed coordinate, per Hessian.
HESSIAN, EIGEN, CALL = 1.4e-11, 1.2e-10, 1.0e-4
#: Iterations of a typical run that converges, and what one of Newton's costs beside its Hessian.
LBFGS, NEWTON, NEWTON_CALL = 555.0, 99.0, 7.0e-4


@dataclass(frozen=True)
class Sizes:
    """What the cost of runs depends on; arrays ``[R]``, one entry a run.

    Attributes:
        weights: active parameters (P, when nothing is frozen).
        neurons: hidden neurons.
        samples: N of the task; batch: samples per step.
        steps, lbfgs, newton: iterations allowed.
        wide: whether the arithmetic of training is float64.
    """

    weights: Floats
    neurons: Floats
    samples: Floats
    batch: Floats
    steps: Floats
    lbfgs: Floats
    newton: Floats
    wide: np.ndarray[Any, np.dtype[np.bool_]]


def predict(sizes: Sizes, *, spectrum: bool = False, splits: int = 0) -> Floats:
    """Seconds of one thread per run, float64 ``[R]``.

    Args:
        sizes: of the runs.
        spectrum: whether eigenvalues of every Hessian are computed at the end.
        splits: how often each neuron is split, each time with a Hessian.
    """
    train = RUN + sizes.steps * (sizes.batch * _sample(sizes, sizes.wide) + STEP)
    full = sizes.samples * _sample(sizes, np.ones_like(sizes.wide)) + STEP
    hessian = _hessian(sizes.weights, sizes.samples)
    bottom = np.minimum(sizes.lbfgs, LBFGS) * full
    bottom = bottom + np.minimum(sizes.newton, NEWTON) * (hessian + NEWTON_CALL)
    grown = sizes.weights * (1.0 + 1.0 / sizes.neurons)
    after = float(spectrum) * hessian
    after = after + splits * sizes.neurons * _hessian(grown, sizes.samples)
    return np.asarray(train + bottom + after, dtype=np.float64)


def _sample(sizes: Sizes, wide: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """Seconds of one pass per sample."""
    weight = np.where(wide, WEIGHT["float64"], WEIGHT["float32"])
    neuron = np.where(wide, NEURON["float64"], NEURON["float32"])
    return np.asarray(weight * sizes.weights + neuron * sizes.neurons, dtype=np.float64)


def _hessian(coordinates: Floats, samples: Floats) -> Floats:
    return np.asarray(HESSIAN * samples * coordinates**2 + EIGEN * coordinates**3 + CALL)
