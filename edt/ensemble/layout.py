"""Where every parameter of a ragged ensemble lies in the flat vector.

Network after network; inside a network layer by layer: weight ``[out, in]`` row-major, then bias
``[out]`` (torch's convention). Layers are numbered 0 (from the inputs) to D (to the outputs).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from edt.errors import ShapeError
from edt.limits import insist
from edt.scalars import index, integer

__all__ = ["Layout", "hidden_table"]

#: The compiled core numbers a network's parameters with 32-bit integers.
MAX_PARAMETERS = 2**31 - 1


def hidden_table(widths: Any) -> np.ndarray:
    """Hidden widths as int64 ``[B, D]`` from a list of ints (D = 1) or of D-tuples.

    Raises:
        TypeError: not integers. ValueError: empty, not positive, or networks of unequal depth.
    """
    if isinstance(widths, (torch.Tensor, np.ndarray)):
        widths = widths.tolist()
    if isinstance(widths, (str, bytes, dict)) or not isinstance(widths, Iterable):
        raise TypeError(
            f"widths must be a list of ints (one hidden layer) or of tuples, got {widths!r}"
        )
    rows: list[tuple[int, ...]] = []
    for b, item in enumerate(widths):
        if isinstance(item, (torch.Tensor, np.ndarray)):
            item = item.tolist()
        if isinstance(item, (tuple, list)):
            row = tuple(integer(f"widths[{b}][{k}]", w) for k, w in enumerate(item))
        else:
            row = (integer(f"widths[{b}]", item),)
        if not row:
            raise ValueError(f"widths[{b}] must have at least one hidden layer, got {item!r}")
        if rows and len(row) != len(rows[0]):
            raise ValueError(
                "widths must all have the same depth: "
                f"widths[0] has {len(rows[0])} hidden layer{'s' if len(rows[0]) > 1 else ''}, "
                f"widths[{b}] has {len(row)}"
            )
        rows.append(row)
    if not rows:
        raise ValueError("widths must name at least one network, got none")
    if max(map(max, rows)) > MAX_PARAMETERS:
        raise ValueError(f"widths must be at most {MAX_PARAMETERS}, got {max(map(max, rows))}")
    return np.array(rows, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Layout:
    """Widths and offsets of B networks of one depth.

    Attributes:
        table: int64 ``[B, D + 2]``, a row is ``d_in, h_1..h_D, d_out``.
        has_bias: whether every layer has a bias.
        offsets: int64 ``[B + 1]``; network b owns ``flat[offsets[b]:offsets[b + 1]]``.
        weight_at, bias_at: int64 ``[B, D + 1]``, first entry of each weight and bias.
    """

    table: np.ndarray
    has_bias: bool
    offsets: np.ndarray = field(init=False)
    weight_at: np.ndarray = field(init=False)
    bias_at: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        fan_in, fan_out = self.fan_in, self.fan_out
        area = fan_in * fan_out
        layer = area + (fan_out if self.has_bias else 0)
        # In floating point first: the integer sums must not overflow unnoticed.
        largest = (fan_in.astype(float) * fan_out).sum(1).max()
        if largest > MAX_PARAMETERS:
            raise ValueError(
                f"widths must give each network at most {MAX_PARAMETERS} parameters, "
                f"the largest would have {largest:.4g}"
            )
        total = float(layer.astype(float).sum())
        insist(f"an ensemble of {total:,.0f} parameters", int(2 * 8 * total))
        end = np.cumsum(layer, axis=1)
        offsets = np.concatenate([[0], np.cumsum(end[:, -1])]).astype(np.int64)
        start = offsets[:-1, None] + end - layer
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "weight_at", start)
        object.__setattr__(self, "bias_at", start + area)

    @classmethod
    def of(cls, widths: Any, d_in: Any, d_out: Any, has_bias: bool) -> Layout:
        """Layout from user input; see `hidden_table` for what is refused."""
        inputs, outputs = integer("d_in", d_in), integer("d_out", d_out)
        hidden = hidden_table(widths)
        count = hidden.shape[0]
        ends = np.full((count, 1), inputs), np.full((count, 1), outputs)
        return cls(np.concatenate([ends[0], hidden, ends[1]], axis=1).astype(np.int64), has_bias)

    @property
    def fan_in(self) -> np.ndarray:
        """int64 ``[B, D + 1]``, inputs of each layer."""
        return self.table[:, :-1]

    @property
    def fan_out(self) -> np.ndarray:
        """int64 ``[B, D + 1]``, outputs of each layer."""
        return self.table[:, 1:]

    @property
    def B(self) -> int:
        """Number of networks."""
        return int(self.table.shape[0])

    @property
    def depth(self) -> int:
        """Number of hidden layers D."""
        return int(self.table.shape[1]) - 2

    @property
    def total(self) -> int:
        """Length of the flat vector."""
        return int(self.offsets[-1])

    def network(self, b: Any) -> int:
        """Check the index of a network (negative counts from the end).

        Raises:
            TypeError: not an integer. IndexError: out of range.
        """
        return _index("network", b, self.B)

    def layer(self, layer: Any) -> int:
        """Check the index of a layer, 0..D (negative counts from the end).

        Raises:
            TypeError: not an integer. IndexError: out of range.
        """
        return _index("layer", layer, self.depth + 1)

    def weight(self, flat: torch.Tensor, b: Any, layer: Any) -> torch.Tensor:
        """View ``[out, in]`` of one weight in a flat tensor ``[total]``."""
        b, layer = self.network(b), self.layer(layer)
        at, rows, columns = self._place(b, layer)
        return flat[at : at + rows * columns].view(rows, columns)

    def bias(self, flat: torch.Tensor, b: Any, layer: Any) -> torch.Tensor:
        """View ``[out]`` of one bias in a flat tensor ``[total]``.

        Raises:
            ValueError: the networks have no biases.
        """
        b, layer = self.network(b), self.layer(layer)
        if not self.has_bias:
            raise ValueError("these networks have no biases (has_bias is False)")
        at, rows, columns = self._place(b, layer)
        return flat[at + rows * columns : at + rows * columns + rows]

    def entries(self) -> dict[str, np.ndarray]:
        """Where every entry of a flat vector belongs, int64 ``[total]`` each.

        Returns:
            ``network``; ``layer``, 0..D; ``out``, neuron of the layer; ``in``, neuron below, -1
            for a bias.
        """
        sizes = self.fan_out * (self.fan_in + int(self.has_bias))
        flat = sizes.reshape(-1)
        owner = np.repeat(np.arange(flat.size), flat)
        entry = np.arange(self.total) - self.weight_at.reshape(-1)[owner]
        below = self.fan_in.reshape(-1)[owner]
        area = below * self.fan_out.reshape(-1)[owner]
        is_bias = entry >= area
        return {
            "network": owner // sizes.shape[1],
            "layer": owner % sizes.shape[1],
            "out": np.where(is_bias, entry - area, entry // below),
            "in": np.where(is_bias, -1, entry % below),
        }

    def select(self, indices: np.ndarray) -> tuple[Layout, np.ndarray]:
        """Layout of the chosen networks, and where their parameters lie in this one's vector."""
        chosen = Layout(self.table[indices], self.has_bias)
        sizes = np.diff(chosen.offsets)
        shift = np.repeat(self.offsets[indices] - chosen.offsets[:-1], sizes)
        return chosen, np.arange(chosen.total) + shift

    def check_flat(self, name: str, tensor: torch.Tensor) -> None:
        """Insist on shape ``[total]``.

        Raises:
            ShapeError: any other shape.
        """
        if tuple(tensor.shape) != (self.total,):
            raise ShapeError(
                f"{name} must have shape [{self.total}] (all parameters of the {self.B} networks), "
                f"got {list(tensor.shape)}"
            )

    def _place(self, b: int, layer: int) -> tuple[int, int, int]:
        return (
            int(self.weight_at[b, layer]),
            int(self.table[b, layer + 1]),
            int(self.table[b, layer]),
        )


def _index(name: str, value: Any, count: int) -> int:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    below = isinstance(value, (int, np.integer)) and -count <= value < 0
    return index(name, value + count if below else value, count)
