"""The least time a step of W can take: multiply-add pipes always busy, memory free.

Per hidden neuron and sample, counted from the kernels, with K active inputs:

    forward    K  inputs of z          1  output weight          A  activation and derivative
    backward   1  error times sigma'   1  gradient of the output weight
               K  gradients of the input weights

A counts the multiplications and fused multiply-adds of the activation, and its look-ups of tables
and its division at what they take from the multiply-adds beside them, measured on the machine
(`prices`). Additions, comparisons and loads go to other pipes (on most machines) and are not
counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import workload
from benchmarks.flops import FMA
from edt import _core

#: Multiply-adds of value and first derivative: exp 7 | 12 and softplus's log1p and logistic 8 | 13;
#: exp with exp - 1 9 | 13 and tanh's products 4.
ACTIVATION_OPERATIONS = {
    ("softplus", "float32"): 15,
    ("softplus", "float64"): 25,
    ("tanh", "float32"): 13,
    ("tanh", "float64"): 17,
}
#: Look-ups: the power of 2 of exp, and node and logarithm of softplus's log1p; what the power lacks
#: to the true one for tanh's exp - 1. Each has one division.
LOOK_UPS = {"softplus": 3, "tanh": 2}
#: Vectors of multiply-adds that the core sets a division or a look-up beside.
BESIDE = 24


@dataclass(frozen=True)
class Prices:
    """What a machine does for one scalar type.

    Attributes:
        peak: multiply-adds of all threads, FLOP/s.
        division, look_up: multiply-adds that one takes the place of.
    """

    peak: float
    division: float
    look_up: float


def prices(dtype: str, threads: int, seconds: float) -> Prices:
    """Measure them; ``seconds`` for each rate, three times: the best counts."""

    def rate(beside: int) -> float:
        double = dtype == "float64"
        return 1e9 * max(_core.fma_peak(double, threads, seconds / 3, beside) for _ in range(3))

    peak, *others = (rate(beside) for beside in range(3))
    return Prices(peak, *(max(BESIDE * (peak / other - 1.0), 0.0) for other in others))


def neuron_operations(activation: str, dtype: str, inputs: float, of: Prices) -> float:
    """Multiply-adds, or what stands in their place, per hidden neuron and sample of a step."""
    counted = 2 * inputs + 3 + ACTIVATION_OPERATIONS[activation, dtype]
    return counted + of.division + LOOK_UPS[activation] * of.look_up


def floor_seconds(activation: str, dtype: str, of: Prices) -> float:
    """Least seconds per step of W."""
    active = workload.INPUTS * (1 - workload.HALF_OF_FIRST[0])
    neurons = sum(workload.WIDTHS) * workload.SEEDS
    operations = neurons * workload.SAMPLES * neuron_operations(activation, dtype, active, of)
    return operations * FMA / of.peak
