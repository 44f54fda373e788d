"""How networks start, so that any of them (or a part) can be drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edt.ensemble import SCHEMES, Ensemble
from edt.ensemble.init import initial_theta
from edt.ensemble.kinds import chains
from edt.errors import unknown_choice


@dataclass(frozen=True)
class Recipe:
    """An initialisation: scheme, factor and, if wanted, the width whose scale all widths share.

    Attributes:
        scheme: of `edt.Ensemble.init`.
        scale: factor on all parameters.
        reference_width: None, or a width r: networks of any width start at the scale the scheme
            gives to width r (one hidden layer only), see `at_reference_scale`.
    """

    scheme: str = "glorot"
    scale: float = 1.0
    reference_width: int | None = None

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise unknown_choice("scheme", self.scheme, list(SCHEMES))

    def start(self, widths: Any, seeds: Any, **options: Any) -> Ensemble:
        """New networks, as `edt.Ensemble.init` makes them, at this recipe's scale."""
        ens = Ensemble.init(widths, seeds, scheme=self.scheme, scale=self.scale, **options)
        return self._scaled(ens)

    def redraw(self, ens: Ensemble, seed: int, ids: torch.Tensor) -> torch.Tensor:
        """Fresh initial parameters for networks of these widths.

        Args:
            ens: B networks; only their widths and dtype are used.
            seed: key, 0..2**64 - 1.
            ids: int64 ``[B]``; network b gets the numbers of the pair (seed, ids[b]), whatever the
                others.

        Returns:
            ``[total]``, the ensemble's dtype.
        """
        keys = np.full(ens.B, seed, dtype=np.uint64)
        names = ids.numpy().astype(np.uint64)
        values = initial_theta(ens.layout, keys, names, self.scheme, self.scale)
        plain = Ensemble(
            ens.layer_widths[:, 1:-1],
            ens.d_in,
            ens.d_out,
            activation=ens.activation,
            bias=ens.has_bias,
            theta=values,
        )
        return self._scaled(plain).theta.to(ens.dtype)

    def _scaled(self, ens: Ensemble) -> Ensemble:
        if self.reference_width is None:
            return ens
        return at_reference_scale(ens, self.scheme, self.reference_width)


def at_reference_scale(networks: Ensemble, scheme: str, reference_width: int) -> Ensemble:
    """Initial networks rescaled so that their neurons start as those of the reference width do.

    Schemes shrink a layer's weights with its fans, so a neuron of a wide network starts smaller
    than one of a narrow network. Rescaled, any r neurons of a wide network are distributed like a
    whole network of width r: what the lottery presumes.

    Args:
        networks: B networks with one hidden layer and one width, as initialised.
        scheme: they were initialised with.
        reference_width: r.

    Raises:
        ValueError: more than one hidden layer, or several widths.
    """
    rows = chains(networks, "at_reference_scale").layer_widths
    if rows.shape[1] != 3 or bool((rows != rows[0]).any()):
        raise ValueError("networks must have one hidden layer and one width for a reference width")
    d_in, width, d_out = (int(size) for size in rows[0])
    if scheme == "glorot":
        inputs = ((d_in + width) / (d_in + reference_width)) ** 0.5
        outputs = ((width + d_out) / (reference_width + d_out)) ** 0.5
    else:
        inputs, outputs = 1.0, (width / reference_width) ** 0.5
    theta = networks.theta.reshape(int(networks.B), -1).clone()
    hidden = width * (d_in + int(networks.has_bias))
    theta[:, :hidden] *= inputs
    theta[:, hidden:] *= outputs
    return networks.with_theta(theta.flatten())
