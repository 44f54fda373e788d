"""Which samples a step takes: every epoch a fresh permutation, the compiled core's.

Reference: R. Durstenfeld, "Algorithm 235: random permutation", CACM 1964; Salmon et al., SC 2011
(Philox).
"""

from __future__ import annotations

import numpy as np
import torch

from edt.ensemble.philox import draws

__all__ = ["Epochs", "epoch_order"]

_ALL = 2**64 - 1


def epoch_order(seed: int, epoch: int, n: int) -> torch.Tensor:
    """The permutation of 0..n-1 that the core trains one epoch in (`shuffle` in math/philox.h).

    Args:
        seed: ``data_seed`` of the network, any 64 bits.
        epoch: 0, 1, ...
        n: samples.

    Returns:
        int64 ``[n]``.
    """
    key = np.array([seed & _ALL], dtype=np.uint64)
    name = np.array([epoch], dtype=np.uint64)
    bits = draws(key, name, 0, np.array([n], dtype=np.int64)).tolist()
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = bits[i] * (i + 1) >> 64
        order[i], order[j] = order[j], order[i]
    return torch.tensor(order, dtype=torch.int64)


class Epochs:
    """Minibatches of many networks, each in the order of its own seed.

    Args:
        seeds: int64 ``[B]``.
        n: samples.
        size: of a batch; the last of an epoch may be smaller.
    """

    def __init__(self, seeds: torch.Tensor, n: int, size: int) -> None:
        self._seeds = seeds.tolist()
        self._n, self.size = n, size
        self.per_epoch = (n + size - 1) // size
        self._orders: dict[int, tuple[int, torch.Tensor]] = {}

    def at(self, step: int, b: int) -> torch.Tensor:
        """Samples of one step of network b, int64, in order."""
        epoch, k = divmod(step, self.per_epoch)
        seed = self._seeds[b]
        known = self._orders.get(seed)
        if known is None or known[0] != epoch:
            known = (epoch, epoch_order(seed, epoch, self._n))
            self._orders[seed] = known
        return known[1][k * self.size : (k + 1) * self.size]
