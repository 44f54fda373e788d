"""Dropout of networks side by side, each from a key of its own.

`vmap` would draw for all networks from one stream, and a network's zeros would depend on the
company. Here element i of the k-th dropout of a call is kept where a word of Philox4x32-10 under
the network's key, at the counter ``(i // 4, k, part, 0)``, is at least ``2^32 p``.

Reference: N. Srivastava et al., "Dropout", JMLR 2014; J. K. Salmon et al., SC 2011 (Philox);
G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017 (alpha dropout).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from edt.ensemble.philox import draws

__all__ = ["KeyedDropout", "keys_of", "philox_words"]

_LOW = 0xFFFFFFFF
#: Which of a key's sequences dropout draws from; the core shuffles by the first.
_STREAM = 2**31 + 2
#: ``-lambda alpha`` of the SELU: what alpha dropout puts in place of what it drops.
_SATURATED = 1.7580993408473766


def keys_of(seeds: list[int], names: list[int], part: int = 0) -> torch.Tensor:
    """Keys of networks, int64 ``[n, 3]``: two words of 32 bits, and ``part``.

    Args:
        seeds: of the networks, any 64 bits.
        names: what else tells a draw from others (a step), >= 0.
        part: a number more.
    """
    held = np.array([seed % 2**64 for seed in seeds], dtype=np.uint64)
    count = np.ones(len(seeds), dtype=np.int64)
    bits = draws(held, np.array(names, dtype=np.uint64), _STREAM, count)
    words = np.stack([bits & np.uint64(_LOW), bits >> np.uint64(32)], 1).astype(np.int64)
    return torch.cat([torch.from_numpy(words), torch.full((len(seeds), 1), part)], 1)


def philox_words(key: torch.Tensor, call: int, count: int) -> torch.Tensor:
    """``count`` words of 32 bits, int64; `edt.ensemble.philox` in torch operations.

    Args:
        key: int64 ``[3]``, of `keys_of`.
        call: word 1 of the counter; word 0 counts blocks of four.
        count: how many.
    """
    block = torch.arange((count + 3) // 4, device=key.device)
    zero = torch.zeros_like(block)
    c0, c1, c2, c3 = block, zero + call, zero + key[2], zero
    k0, k1 = key[0], key[1]
    for _ in range(10):
        # Products wrap around 2^64; their bits are those of unsigned numbers.
        first, second = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            ((second >> 32) & _LOW) ^ c1 ^ k0,
            second & _LOW,
            ((first >> 32) & _LOW) ^ c3 ^ k1,
            first & _LOW,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return torch.stack([c0, c1, c2, c3], -1).reshape(-1)[:count]


class KeyedDropout(TorchFunctionMode):
    """While it is entered, dropout of `torch.nn.functional` draws from a key.

    Args:
        key: int64 ``[3]``, of `keys_of`; of each network inside `vmap`.
    """

    def __init__(self, key: torch.Tensor) -> None:
        super().__init__()
        self._key, self._calls = key, 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        mine = _DRAWN.get(func)
        return (
            func(*args, **(kwargs or {})) if mine is None else mine(self, *args, **(kwargs or {}))
        )

    def kept(self, shape: torch.Size | list[int], p: float, like: torch.Tensor) -> torch.Tensor:
        """1 with probability ``1 - p`` and 0 else, of a shape, in the dtype of ``like``."""
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        words = philox_words(self._key, self._calls, math.prod(shape))
        self._calls += 1
        return (words >= round(p * 2**32)).reshape(shape).to(like.dtype)

    def _elements(
        self, input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        return self._scaled(input, input.shape, p, training, inplace)

    def _scaled(
        self, input: torch.Tensor, shape: Any, p: float, training: bool, inplace: bool
    ) -> torch.Tensor:
        if not training or p == 0.0:
            return input
        factor = self.kept(shape, p, input) * (0.0 if p == 1.0 else 1.0 / (1.0 - p))
        return input.mul_(factor) if inplace else input * factor

    def _maps(self, alone: int) -> Callable[..., torch.Tensor]:
        """Whole channels; an input of ``alone`` dimensions is one sample."""

        def dropped(
            input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
        ) -> torch.Tensor:
            many = input.shape if input.dim() != alone else [1, *input.shape]
            shape = [*many[:2], *[1] * (len(many) - 2)]
            shape = shape if input.dim() != alone else shape[1:]
            return self._scaled(input, shape, p, training, inplace)

        return dropped

    def _alpha(self, shape_of: Callable[[torch.Tensor], list[int]]) -> Callable[..., torch.Tensor]:
        def dropped(
            input: torch.Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
        ) -> torch.Tensor:
            if not training or p == 0.0:
                return input
            if p == 1.0:
                return input.mul_(0.0) if inplace else input * 0.0
            scale = 1.0 / math.sqrt((_SATURATED**2 * p + 1.0) * (1.0 - p))
            kept = self.kept(shape_of(input), p, input)
            shift = (kept - 1.0) * (_SATURATED * scale) + _SATURATED * scale * p
            if inplace:
                return input.mul_(kept * scale).add_(shift)
            return input * (kept * scale) + shift

        return dropped

    def _attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if dropout_p == 0.0:
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        size = query.shape[-1]
        scores = query @ key.transpose(-2, -1) * (size**-0.5 if scale is None else scale)
        if is_causal:
            ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
            attn_mask = ones.tril()
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:
                scores = scores.masked_fill(~attn_mask, -math.inf)
            else:
                scores = scores + attn_mask
        return self._elements(scores.softmax(-1), dropout_p) @ value


def _maps(alone: int) -> Callable[..., torch.Tensor]:
    return lambda mode, *args, **kwargs: mode._maps(alone)(*args, **kwargs)


def _alpha(shape_of: Callable[[torch.Tensor], list[int]]) -> Callable[..., torch.Tensor]:
    return lambda mode, *args, **kwargs: mode._alpha(shape_of)(*args, **kwargs)


_DRAWN: dict[Any, Callable[..., torch.Tensor]] = {
    F.dropout: KeyedDropout._elements,
    F.dropout1d: _maps(2),
    # As torch: three dimensions are a batch of channels of length L.
    F.dropout2d: _maps(-1),
    F.dropout3d: _maps(4),
    F.alpha_dropout: _alpha(lambda x: list(x.shape)),
    F.feature_alpha_dropout: _alpha(lambda x: [*x.shape[:2], *[1] * (x.dim() - 2)]),
    F.scaled_dot_product_attention: KeyedDropout._attention,
}
