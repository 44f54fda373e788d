"""Checks of single numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edt.scalars import flag, index, integer, number


@pytest.mark.parametrize(
    ("check", "value", "out"),
    [
        (integer, 3, 3),
        (integer, np.int32(2), 2),
        (number, 0, 0.0),
        (number, np.float32(0.5), 0.5),
        (flag, np.bool_(True), True),
        (lambda name, value: index(name, value, 4), np.int64(3), 3),
        (lambda name, value: integer(name, value, 0, 2**64 - 1), 2**64 - 1, 2**64 - 1),
    ],
)
def test_accepts(check, value, out):
    found = check("n", value)
    assert found == out and type(found) is type(out)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: integer("n", 0), ValueError, "n must be >= 1, got 0"),
        (lambda: integer("n", 5, 0, 4), ValueError, "n must be in 0..4, got 5"),
        (
            lambda: integer("n", 2**64, 0, 2**64 - 1),
            ValueError,
            "n must be in 0..2**64-1, got 1844",
        ),
        (lambda: integer("n", -1, -(2**63), -2), ValueError, "n must be in -2**63..-2, got -1"),
        (lambda: integer("n", True), TypeError, "n must be an integer >= 1, got True"),
        (lambda: integer("n", 2.0), TypeError, "n must be an integer >= 1, got 2.0"),
        (lambda: number("h", "a"), TypeError, "h must be a number >= 0, got 'a'"),
        (lambda: number("h", False), TypeError, "h must be a number >= 0, got False"),
        (lambda: number("h", 0, strict=True), ValueError, "h must be a finite number > 0, got 0"),
        (lambda: number("h", 1.0, below=1.0), ValueError, "number >= 0 and < 1, got 1.0"),
        (lambda: number("h", float("nan")), ValueError, "a finite number >= 0, got nan"),
        (lambda: number("h", 10**400), ValueError, "a finite number >= 0, got 1000"),
        (lambda: flag("f", 1), TypeError, "f must be True or False, got 1"),
        (lambda: index("b", 2, 2), IndexError, "b must be in 0..1, got 2"),
        (lambda: index("b", -1, 2), IndexError, "b must be in 0..1, got -1"),
        (lambda: index("b", 0.0, 2), TypeError, "b must be an integer in 0..1, got 0.0"),
    ],
)
def test_refuses(call, kind, says):
    with pytest.raises(kind, match=re.escape(says)):
        call()
