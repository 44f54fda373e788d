"""What is trained, the same numbers for edt and every peer: workload W, and LeNet-300-100.

W: 192 networks 4 -> width -> 1 of widths 2, 4, 8, 16, 32 and 64, 32 seeds each, with biases, half
of the first-layer weights pruned; 1,024 samples, mse, full-batch Adam with learning rate 1e-3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks import settings
from edt import Ensemble, Task

WIDTHS = (2, 4) if settings.SMOKE else (2, 4, 8, 16, 32, 64)
SEEDS = 2 if settings.SMOKE else 32
SAMPLES = 40 if settings.SMOKE else 1024
INPUTS = 4
#: Half of the first layer pruned, nothing behind it.
HALF_OF_FIRST = (0.5, 0.0)

LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def task(dtype: torch.dtype, samples: int = SAMPLES, inputs: int = INPUTS) -> Task:
    """Gaussian inputs and a smooth target no network of W fits exactly."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, inputs))
    y = np.sin(x.sum(1, keepdims=True)) + 0.1 * rng.standard_normal((samples, 1))
    return Task(torch.from_numpy(x), torch.from_numpy(y)).to(dtype)


def networks(
    activation: str,
    dtype: torch.dtype,
    *,
    widths: tuple[int, ...] = WIDTHS,
    seeds: int = SEEDS,
    sparsity: tuple[float, float] | float | None = HALF_OF_FIRST,
    inputs: int = INPUTS,
) -> Ensemble:
    """The networks of W, or of one of its variations."""
    return Ensemble.init(
        widths=list(widths),
        seeds=range(seeds),
        d_in=inputs,
        d_out=1,
        activation=activation,
        dtype=dtype,
        sparsity=sparsity,
    )


@dataclass(frozen=True)
class Stack:
    """Networks of one width, stacked for batched code. float64; peers convert.

    Attributes:
        rows: positions in the ensemble, int ``[B]``.
        w, b: first layer, ``[B, width, d_in]`` and ``[B, width]``.
        v, c: output layer, ``[B, width]`` and ``[B]``.
        mask: of w, 0 where pruned.
        mask_v: of v, 0 at padded neurons; None without padding.
    """

    rows: np.ndarray
    w: np.ndarray
    b: np.ndarray
    v: np.ndarray
    c: np.ndarray
    mask: np.ndarray
    mask_v: np.ndarray | None = None

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The four arrays by name."""
        return {"w": self.w, "b": self.b, "v": self.v, "c": self.c}

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """0/1 factors of the gradients that need one.

        A pruned weight starts at 0; with a zero gradient Adam leaves it there. So peers multiply
        gradients, not weights: one operation less.
        """
        masks = {"w": self.mask}
        return masks if self.mask_v is None else {**masks, "v": self.mask_v}


def stacks(ens: Ensemble) -> list[Stack]:
    """The networks of an ensemble with one hidden layer and one output, by width."""
    widths = ens.layer_widths[:, 1].numpy()
    return [_stack(ens, np.flatnonzero(widths == width)) for width in np.unique(widths)]


def padded_stack(ens: Ensemble) -> Stack:
    """All networks in one stack, padded with neurons of zero weights to the largest width."""
    width = int(ens.layer_widths[:, 1].max())
    B, d_in = ens.B, ens.d_in
    out = Stack(
        rows=np.arange(B),
        w=np.zeros((B, width, d_in)),
        b=np.zeros((B, width)),
        v=np.zeros((B, width)),
        c=np.zeros(B),
        mask=np.zeros((B, width, d_in)),
        mask_v=np.zeros((B, width)),
    )
    assert out.mask_v is not None
    for part in stacks(ens):
        m = part.w.shape[1]
        out.w[part.rows, :m], out.mask[part.rows, :m] = part.w, part.mask
        out.b[part.rows, :m], out.v[part.rows, :m] = part.b, part.v
        out.c[part.rows], out.mask_v[part.rows, :m] = part.c, 1.0
    return out


def _stack(ens: Ensemble, rows: np.ndarray) -> Stack:
    def gather(read: object, layer: int) -> np.ndarray:
        parts = [read(int(b), layer) for b in rows]  # type: ignore[operator]
        return np.asarray(torch.stack(parts).to(torch.float64).numpy())

    return Stack(
        rows=rows,
        w=gather(ens.weight, 0),
        b=gather(ens.bias, 0),
        v=gather(ens.weight, 1)[:, 0],
        c=gather(ens.bias, 1)[:, 0],
        mask=gather(ens.weight_mask, 0),
    )


def flat(ens: Ensemble, parts: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> np.ndarray:
    """Stacked arrays ``[B, ..., *shape]`` back in edt's flat order, float64 ``[..., total]``.

    Args:
        ens: the networks.
        parts: (rows, arrays named as in `Stack.parameters`), any axes between B and the shape of
            the parameter (for example one of vectors).
    """
    between = parts[0][1]["c"].shape[1:]
    out = np.zeros((*between, ens.total))
    for rows, arrays in parts:
        count = len(rows)
        columns = [
            np.asarray(arrays[name]).reshape(count, *between, -1) for name in ("w", "b", "v", "c")
        ]
        joined = np.concatenate(columns, axis=-1)
        for at, row in enumerate(rows):
            first, last = ens.offsets[row : row + 2].tolist()
            out[..., first:last] = joined[at]
    return out


def lenets(
    share: float | None,
    dtype: torch.dtype,
    samples: int,
    count: int,
    hidden: tuple[int, int] = (300, 100),
) -> tuple[Ensemble, Task]:
    """LeNet-300-100, or another of two hidden layers, on random pictures."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(samples, 784, generator=draw, dtype=dtype)
    y = torch.randint(0, 10, (samples,), generator=draw)
    ens = Ensemble.init(
        [(30, 10) if settings.SMOKE else hidden],
        range(count),
        d_in=784,
        d_out=10,
        activation="relu" if dtype == torch.float32 else "tanh",
        dtype=dtype,
        sparsity=share,
    )
    return ens, Task(x, y, "cross_entropy", n_classes=10)
