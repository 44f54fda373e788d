"""Random numbers of the lottery's experiments, keyed by (seed, ticket, rest).

Every number is a function of its address (Philox, `edt.ensemble.philox`): experiments on a ticket
are the same whatever other tickets, rests or sizes are asked for, and on any machine.
"""

from __future__ import annotations

import numpy as np
import torch

from edt.ensemble.deviates import normal, uniform
from edt.ensemble.kinds import Networks
from edt.ensemble.philox import draws

#: Streams of the generator, apart from those of networks (0-2 << 24) and tasks (3-5 << 24).
CHOICE_STREAM, VALUE_STREAM, CONTROL_STREAM, EVOLVE_STREAM = 7 << 24, 8 << 24, 9 << 24, 10 << 24
#: Seeds of modules drawn again (11 and 12 << 24 are directions and factors).
BUILD_STREAM = 13 << 24
#: Weights that grow during training (14 << 24 is free).
GROW_STREAM = 15 << 24
#: Rests one ticket can have.
MOST_RESTS = 2**24


def rest_ids(names: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """Id of each (ticket, rest), int64 ``[B]``: ``names * 2**24 + rest``."""
    if rest.numel() and not 0 <= int(rest.min()) <= int(rest.max()) < MOST_RESTS:
        raise ValueError(f"rest must be in 0..{MOST_RESTS - 1}")
    return names * MOST_RESTS + rest


def bits(ens: Networks, seed: int, ids: torch.Tensor, stream: int) -> np.ndarray:
    """64 random bits for every parameter, uint64 ``[total]``.

    Args:
        ens: B networks.
        seed: key, 0..2**64 - 1.
        ids: int64 ``[B]``, see `rest_ids`.
        stream: one of the streams above.
    """
    keys = np.full(ens.B, seed, dtype=np.uint64)
    sizes = np.diff(ens.offsets.cpu().numpy())
    return draws(keys, ids.numpy().astype(np.uint64), stream, sizes)


def uniforms(ens: Networks, seed: int, ids: torch.Tensor, stream: int) -> torch.Tensor:
    """A number in (0, 1) for every parameter, float64 ``[total]``."""
    return torch.from_numpy(uniform(bits(ens, seed, ids, stream)))


def normals(ens: Networks, seed: int, ids: torch.Tensor, stream: int) -> torch.Tensor:
    """A standard normal deviate for every parameter, float64 ``[total]``."""
    return torch.from_numpy(normal(bits(ens, seed, ids, stream)))
