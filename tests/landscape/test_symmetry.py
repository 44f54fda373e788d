"""The table of symmetries against the activations themselves: nothing claimed, nothing missed."""

from __future__ import annotations

import math

import pytest
import torch

from edt.landscape.layers import ACTIVATIONS
from edt.landscape.symmetry import SYMMETRIES

Z = torch.linspace(-6.0, 6.0, 2001, dtype=torch.float64)
# Values up to 216 (cube), rounded once or twice.
ROUNDING = 1e-13


def test_every_activation_has_an_entry():
    assert set(SYMMETRIES) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", SYMMETRIES)
def test_reflection(name):
    sigma, reflection = ACTIVATIONS[name], SYMMETRIES[name].reflection
    # Any relation slope z + offset + sign sigma(-z) is found by regression.
    for sign in (1.0, -1.0):
        basis = torch.stack([Z, torch.ones_like(Z)], dim=1)
        rest = (sigma(Z) - sign * sigma(-Z))[:, None]
        line = torch.linalg.lstsq(basis, rest).solution
        gap = float((basis @ line - rest).abs().max())
        claimed = reflection is not None and reflection.sign == sign
        if claimed:
            expected = torch.tensor([[reflection.slope], [reflection.offset]], dtype=torch.float64)
            torch.testing.assert_close(line, expected, rtol=0, atol=1e-12)
            assert gap < ROUNDING * 200
        elif name not in ("identity",):  # identity is odd, and a line plus its mirror image too
            assert gap > 1e-3


@pytest.mark.parametrize("name", SYMMETRIES)
def test_parity(name):
    sigma, parity = ACTIVATIONS[name], SYMMETRIES[name].parity
    odd = float((sigma(Z) + sigma(-Z)).abs().max()) < ROUNDING
    even = float((sigma(Z) - sigma(-Z)).abs().max()) < ROUNDING
    assert parity == ("odd" if odd else "even" if even else "")


@pytest.mark.parametrize("name", SYMMETRIES)
def test_scaling(name):
    sigma, degree = ACTIVATIONS[name], SYMMETRIES[name].degree
    ratios = torch.log2((sigma(2.0 * Z) / sigma(Z))[Z.abs() > 0.5].abs().clamp_min(1e-300))
    powers = ratios[torch.isfinite(ratios) & (ratios > -100)]
    homogeneous = float(powers.max() - powers.min()) < 1e-9
    assert homogeneous == (degree is not None)
    if degree is not None:
        torch.testing.assert_close(sigma(3.0 * Z), 3.0**degree * sigma(Z), rtol=1e-14, atol=0)


def test_shift():
    for name, symmetry in SYMMETRIES.items():
        gap = float((ACTIVATIONS[name](Z + math.pi) + ACTIVATIONS[name](Z)).abs().max())
        assert (gap < 1e-14) == (symmetry.half_period is not None)


def test_mixing():
    # sigma(u + v) of identity and square lies in the span of products of u and v; see `Core`.
    assert {name for name, s in SYMMETRIES.items() if s.mixing} == {"identity", "square"}
