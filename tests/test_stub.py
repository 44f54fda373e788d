"""The stub of the compiled core against the signatures that pybind11 documents."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edt import _core

STUB = ast.parse((Path(_core.__file__).parent / "_core.pyi").read_text())
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
SIGNATURE = re.compile(r"(\w+)\((.*)\) -> (.*)")


def documented(function):
    """Types of the arguments, and of the result."""
    _, arguments, result = SIGNATURE.match(function.__doc__.splitlines()[0]).groups()
    kinds = [part.partition(":")[2].strip() for part in _split(arguments)]
    return kinds, result


def _split(text):
    """At commas outside brackets."""
    parts = re.split(r",(?![^\[]*\])", text)
    return [part for part in parts if part.strip()]


def test_every_function_is_in_the_stub():
    there = {name for name, value in vars(_core).items() if callable(value)}
    assert {name for name in there if name[0].islower() and not name.startswith("_")} == set(
        FUNCTIONS
    )


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_arguments_and_result(name):
    stub = FUNCTIONS[name]
    kinds, result = documented(getattr(_core, name))
    assert ast.unparse(stub.returns).replace("Any", "object") == result.replace(
        "dict", "dict[str, object]"
    )
    if stub.args.vararg is not None:
        assert len(kinds) > 4  # those that begin with (plan, data, ...), described in a comment
        return
    arguments = [*stub.args.posonlyargs, *stub.args.args]
    assert len(arguments) == len(kinds)
    for argument, kind in zip(arguments, kinds, strict=True):
        wanted = ast.unparse(argument.annotation)
        # An int is "typing.SupportsInt | typing.SupportsIndex" there, or plainly "int".
        assert wanted == kind or f"supports{wanted}" in kind.lower()
