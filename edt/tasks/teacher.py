"""Teacher-student tasks: targets that are networks themselves."""

from __future__ import annotations

import math
from typing import Any

import torch

from edt.ensemble import SCHEMES, Ensemble
from edt.ensemble.checks import check_dtype
from edt.ensemble.deviates import orthonormal
from edt.errors import unknown_choice
from edt.limits import insist
from edt.ops.checks import inputs_only
from edt.ops.cpu import CpuCalls
from edt.scalars import flag, integer, number
from edt.tasks.inputs import check_seed, make_inputs, standard_normal
from edt.tasks.task import Task

__all__ = ["TEACHER_SCHEMES", "hidden_widths", "outputs", "teacher_student"]

#: How the weights of teachers are drawn.
TEACHER_SCHEMES: tuple[str, ...] = tuple(SCHEMES)


def teacher_student(
    d_in: int = 2,
    teacher_width: int | tuple[int, ...] = 4,
    *,
    d_out: int = 1,
    n: int = 1024,
    teachers: int = 1,
    activation: str = "tanh",
    inputs: str = "gaussian",
    scheme: str = "normal",
    scale: float = 1.0,
    bias: bool = True,
    normalise: bool = False,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    teacher: Ensemble | None = None,
) -> Task:
    """Samples of random networks: ``y_n = f_teacher(x_n) + noise * xi_n``, loss mse.

    Without noise, a student with the teacher's activation reaches loss 0 as soon as it is as wide
    as the teacher. Several teachers share the inputs and give a task with several targets.

    Inputs and teachers are functions of ``seed`` (of it and t for teacher t), the same bits on
    every machine; the targets are the same bits wherever the processor has AVX2 or AVX-512, and
    equal to rounding elsewhere. Teachers have ids of their own, so no student starts as the
    teacher, whatever the seed.

    Args:
        d_in, d_out: inputs and outputs.
        teacher_width: hidden width, or a tuple ``(h_1, ..., h_D)`` for a deep teacher.
        n: samples.
        teachers: number of teachers T.
        activation: of the teacher.
        inputs: "gaussian", "uniform", "grid" or "sobol"; see `edt.tasks.inputs.make_inputs`.
        scheme: of the teacher's weights, one of `Ensemble.init` or "orthogonal": the rows of each
            weight are orthonormal (the columns where there are more rows than columns), the
            biases zero.
        scale: factor on all the teacher's parameters.
        bias: whether the teacher has biases.
        normalise: rescale the teacher's last layer so that every output has variance 1 over the
            samples, and mean 0 where there are biases.
        noise: standard deviation of Gaussian noise on the targets.
        seed: of inputs, teachers and noise.
        dtype: of the task.
        teacher: an ensemble to use instead of random ones; then everything that describes
            teachers must be left at its default.

    Returns:
        `Task` with y ``[n, d_out]`` for one teacher or ``[T, n, d_out]``; ``info["teacher"]`` is
        the `Ensemble` of the T teachers (float64), ``info["noise"]`` the noise.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it.

    Example:
        >>> teacher_student(d_in=3, teacher_width=4, n=100, teachers=2)
        Task(teacher 4: 100 samples, 2 targets, 3 -> 1, mse, float64)
    """
    seed = check_seed(seed)
    check_dtype(dtype)
    noise = number("noise", noise)
    if teacher is None:
        teacher = _random_teachers(
            teacher_width, integer("teachers", teachers), d_in, d_out, activation, scheme,
            scale, bias, seed,
        )  # fmt: skip
    else:
        if not isinstance(teacher, Ensemble):
            raise TypeError(f"teacher must be an edt.Ensemble, got {type(teacher).__name__}")
        described = {
            "teacher_width": teacher_width != 4,
            "d_out": d_out not in (1, teacher.d_out),
            "d_in": d_in not in (2, teacher.d_in),
            "teachers": teachers not in (1, teacher.B),
            "activation": activation not in ("tanh", teacher.activation),
            "scheme": scheme != "normal",
            "scale": scale != 1.0,
        }
        for argument, clash in described.items():
            if clash:
                raise ValueError(f"teacher is given, so {argument} must not be: it makes new ones")
        teacher = teacher.to(torch.float64)
    x = make_inputs(inputs, n, teacher.d_in, seed)
    asked = teacher.B * n * teacher.d_out
    insist(f"the targets of teachers={teacher.B:,} at n={n:,} points", 2 * 8 * asked)
    y = outputs(teacher, x)
    if flag("normalise", normalise):
        teacher = _normalised(teacher, y)
        y = outputs(teacher, x)
    if noise > 0.0:
        y = y + noise * standard_normal(seed, tuple(y.shape))
    if teacher.B == 1:
        y = y[0]
    hidden = "x".join(str(int(h)) for h in teacher.layer_widths[0, 1:-1])
    info = {"teacher": teacher, "noise": noise, "inputs": inputs, "seed": seed}
    return Task(x.to(dtype), y.to(dtype), "mse", name=f"teacher {hidden}", info=info)


def outputs(ens: Ensemble, x: torch.Tensor) -> torch.Tensor:
    """Outputs of all networks at the same inputs, computed by the compiled core.

    Args:
        ens: B networks.
        x: ``[N, d_in]``, the networks' dtype.

    Returns:
        ``[B, N, d_out]``.
    """
    out = torch.empty(ens.B, x.shape[0], ens.d_out, dtype=x.dtype)
    CpuCalls(inputs_only(ens, x.contiguous())).predict(ens.theta.detach(), out)
    return out


def hidden_widths(width: Any) -> tuple[int, ...]:
    """``teacher_width`` as a tuple, one width for each hidden layer.

    Raises:
        TypeError, ValueError: no positive integer or tuple of them.
    """
    if not isinstance(width, (tuple, list)):
        return (integer("teacher_width", width),)
    if not width:
        raise ValueError("teacher_width must have at least one hidden layer, got ()")
    return tuple(integer(f"teacher_width[{k}]", w) for k, w in enumerate(width))


def _random_teachers(
    width: Any,
    count: int,
    d_in: int,
    d_out: int,
    activation: str,
    scheme: str,
    scale: float,
    bias: bool,
    seed: int,
) -> Ensemble:
    if not isinstance(scheme, str) or scheme not in TEACHER_SCHEMES:
        raise unknown_choice("scheme", scheme, TEACHER_SCHEMES)
    row = hidden_widths(width)
    scale = number("scale", scale)
    ens = Ensemble.init(
        [row] * count,
        seed,
        d_in=d_in,
        d_out=d_out,
        activation=activation,
        scheme="normal" if scheme == "orthogonal" else scheme,
        scale=1.0 if scheme == "orthogonal" else scale,
        bias=bias,
        # Negative: never the id of a student unless asked for.
        ids=[-1 - t for t in range(count)],
    )
    if scheme == "orthogonal":
        for b in range(ens.B):
            for layer in range(ens.depth + 1):
                weight = ens.weight(b, layer)
                weight.copy_(torch.from_numpy(scale * orthonormal(weight.numpy())))
                if ens.has_bias:
                    ens.bias(b, layer).zero_()
    return ens


def _normalised(teacher: Ensemble, y: torch.Tensor) -> Ensemble:
    """The teachers with their last layer shifted and scaled; y ``[T, n, d_out]``."""
    out = teacher.with_theta(teacher.theta)
    for b in range(out.B):
        weight = out.weight(b, -1)
        for o in range(out.d_out):
            column = y[b, :, o].numpy()
            mean = math.fsum(column) / column.size
            centred = column - mean
            spread = math.sqrt(math.fsum(centred * centred) / column.size)
            if spread == 0.0:
                raise ValueError(
                    f"normalise=True needs outputs that vary, but output {o} of teacher {b} is "
                    "constant over the samples"
                )
            weight[o] /= spread
            if out.has_bias:
                shift = out.bias(b, -1)
                shift[o] = (shift[o] - mean) / spread
    return out
