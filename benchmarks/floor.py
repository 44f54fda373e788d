"""The least time a step of W can take: multiply-add pipes always busy, memory free.

Per hidden neuron and sample, counted from the kernels, with K active inputs:

    forward    K  inputs of z          1  output weight          A  activation and derivative
    backward   1  error times sigma'   1  gradient of the output weight
               K  gradients of the input weights

where A is the number of multiplications and fused multiply-adds of the activation. Additions,
comparisons, loads and the one division go to other pipes (on most machines) and are not counted.
"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.flops import FMA

#: A of value and first derivative: exp 7 | 12 and softplus's log1p and logistic 8 | 13; exp with
#: exp - 1 9 | 13 and tanh's products 4.
ACTIVATION_OPERATIONS = {
    ("softplus", "float32"): 15,
    ("softplus", "float64"): 25,
    ("tanh", "float32"): 13,
    ("tanh", "float64"): 17,
}


def neuron_operations(activation: str, dtype: str, inputs: float) -> float:
    """Pipe operations per hidden neuron and sample of one training step."""
    return 2 * inputs + 3 + ACTIVATION_OPERATIONS[activation, dtype]


def floor_seconds(activation: str, dtype: str, peak: float) -> float:
    """Least seconds per step of W.

    Args:
        activation, dtype: the case.
        peak: measured FMA peak, FLOP/s.
    """
    active = workload.INPUTS * (1 - workload.HALF_OF_FIRST[0])
    neurons = sum(workload.WIDTHS) * workload.SEEDS
    operations = neurons * workload.SAMPLES * neuron_operations(activation, dtype, active)
    return operations * FMA / peak
