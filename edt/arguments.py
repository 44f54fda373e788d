"""What public functions and classes are given is held against their annotations, before any work.

A package says `checked(__name__)` once, below its imports; then each function and class that it
lists takes wrong objects (a task where networks belong, a table where a spec does) for what they
are, and says so: which argument, what it must be, what it got. Annotations are read at the first
call. A call costs one look at the type of each argument; what lies in arrays, ranges of numbers
and shapes are for the functions themselves to check.

Classes that are only imported for type checkers are known by their names, so that nothing is
imported to look at an argument.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from edt.errors import EdtError

__all__ = ["MissingColumn", "checked", "checked_call"]


class MissingColumn(EdtError, ValueError):
    """A table without a column that a function reads.

    Attributes:
        column: its name.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class _Named(type):
    """Classes known by name: their instances are those of any class of that name."""

    def __instancecheck__(cls, value: object) -> bool:
        return any(kind.__name__ == cls.__name__ for kind in type(value).__mro__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Named(name, (), {"__module__": cls.__name__})

    def __getitem__(cls, item: object) -> Any:
        return cls


class _Names(dict[str, Any]):
    """What annotations may name: what their module holds, and classes by name for the rest."""

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        return _Named(_ALIASES.get(name, name), (), {})


#: The mark of functions that check.
_MARK = "__edt_checked__"
#: Modules that are imported for type checkers only, by their usual short names.
_ALIASES = {"pd": "pandas", "xr": "xarray", "np": "numpy"}

#: Kinds of numbers: what an annotation takes, and its words.
_SCALARS: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int, np.integer), "an integer"),
    float: ((int, float, np.integer, np.floating), "a number"),
    bool: ((bool, np.bool_), "True or False"),
    str: ((str,), "a string"),
    type(None): ((type(None),), "None"),
}
#: Plurals of the words of elements.
_MANY = {
    "an integer": "integers",
    "a number": "numbers",
    "a string": "strings",
    "True or False": "bools",
}
#: Classes of others that functions have doors for; what is like one of them, or like a result of
#: edt, comes in, too.
_DOORS = ("Tensor", "dtype", "device")
_SINGLE = (str, int, float, np.generic)
_ANY = (Any, object, inspect.Parameter.empty)
_ARRAYS = (np.ndarray, torch.Tensor)


def _for_checkers(home: dict[str, Any]) -> dict[str, Any]:
    """What a module imports for type checkers only."""
    module = sys.modules.get(str(home.get("__name__")))
    found: dict[str, Any] = {}
    try:
        tree = ast.parse(inspect.getsource(module)) if module else ast.Module([], [])
    except (OSError, TypeError):
        return found
    for block in tree.body:
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test):
            for line in block.body:
                with suppress(ImportError):  # a package that is not here
                    exec(compile(ast.Module([line], []), "<imports>", "exec"), found)
    return found


class _Test:
    """Whether a value fits an annotation.

    Args:
        words: what fits, for messages.
        fits: of a value.
        typed: the answer depends on the value's type alone, so it is kept.
        own: functions have words of their own for what does not fit.
    """

    def __init__(
        self, words: str, fits: Callable[[Any], bool], *, typed: bool = True, own: bool = True
    ) -> None:
        self.words, self.fits, self.typed, self.own = words, fits, typed, own
        self.known: set[type] = set()

    def __call__(self, value: Any) -> bool:
        kind = type(value)
        if kind in self.known:
            return True
        good = self.fits(value)
        if good and self.typed:
            self.known.add(kind)
        return good


def _test_of(kind: Any) -> _Test | None:
    """The test of an annotation, or None where everything fits or nothing can be told."""
    if kind is None:
        kind = type(None)
    origin = typing.get_origin(kind)
    if kind in _ANY or isinstance(kind, (typing.TypeVar, typing.ParamSpec, str)):
        return None
    if origin is typing.Annotated:
        return _test_of(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return _any_of([_test_of(one) for one in typing.get_args(kind)])
    if origin is typing.Literal:
        return _any_of([_test_of(type(one)) for one in typing.get_args(kind)])
    if origin is type or kind is type:
        return _Test("a class", lambda value: isinstance(value, type))
    if kind in _SCALARS:
        allowed, words = _SCALARS[kind]
        return _Test(words, lambda value: isinstance(value, allowed))
    shape = origin or kind
    if shape is collections.abc.Callable:
        return _Test("a function", callable, own=False)
    if shape is np.ndarray:
        return _Test("an array", _is_array)
    if isinstance(shape, type) and shape in _CONTAINERS:
        return _CONTAINERS[shape](*(_test_of(one) for one in typing.get_args(kind) if one != ...))
    if isinstance(shape, type):
        return _instance(shape)
    return None


def _any_of(tests: Sequence[_Test | None]) -> _Test | None:
    """A value must pass one of these tests."""
    some = [test for test in tests if test is not None]
    if len(some) < len(tests):
        return None
    words = list(dict.fromkeys(test.words for test in some))
    return _Test(
        " or ".join(words),
        lambda value: any(test(value) for test in some),
        typed=all(test.typed for test in some),
        own=any(test.own for test in some if test.words != "None"),
    )


def _instance(kind: type) -> _Test | None:
    """Instances of a class; for a protocol, of any class with its members."""
    if getattr(kind, "_is_protocol", False):
        members = [
            name
            for base in kind.__mro__
            if getattr(base, "_is_protocol", False)
            for name in {**vars(base), **inspect.get_annotations(base)}
            if not name.startswith("_") or name == "__call__"
        ]
        if not members:
            return None

        def has(value: Any) -> bool:
            return all(_has(value, name) for name in members)

        return _Test(_article(_path(kind)), has, typed=False)
    own = kind.__module__.startswith("edt.") or kind.__name__ in _DOORS
    return _Test(_article(_path(kind)), lambda value: isinstance(value, kind), own=own)


def _has(value: Any, name: str) -> bool:
    missing = object()
    return inspect.getattr_static(value, name, missing) is not missing or hasattr(value, name)


def _is_array(value: Any) -> bool:
    """Whether numpy may make an array of it."""
    return isinstance(value, (*_ARRAYS, list, tuple, range)) or (
        hasattr(value, "__array__") and not isinstance(value, type)
    )


def _elements(test: _Test | None, values: Any) -> bool:
    """Whether all elements fit; those of arrays are not looked at."""
    if test is None or not isinstance(values, (list, tuple, set, frozenset)):
        return True
    if test.typed and set(map(type, values)) <= test.known:
        return True
    return all(test(value) for value in values)


def _of(test: _Test | None) -> str:
    return f" of {_MANY.get(test.words, test.words)}" if test else ""


def _sequence(test: _Test | None = None, *_: object) -> _Test:
    strings = test is not None and test("")
    numbers = test is None or test(0) or test(0.5)

    def fits(value: Any) -> bool:
        if isinstance(value, _ARRAYS):
            return value.ndim > 0 and numbers
        if isinstance(value, str):
            return strings
        if isinstance(value, collections.abc.Sequence):
            return _elements(test, value)
        return _has(value, "__array__") and not _has(value, "columns")

    return _Test(f"a sequence{_of(test)}", fits, typed=False)


def _iterable(test: _Test | None = None, *_: object) -> _Test:
    def fits(value: Any) -> bool:
        if isinstance(value, _ARRAYS):
            return value.ndim > 0
        if isinstance(value, (str, collections.abc.Mapping)):
            return test is None or test("")
        known = isinstance(value, collections.abc.Iterable) and not _has(value, "columns")
        own = type(value).__module__.startswith("edt.")
        return known and not own and _elements(test, value)

    return _Test(f"a sequence{_of(test)}", fits, typed=False)


def _mapping(key: _Test | None = None, content: _Test | None = None, *_: object) -> _Test:
    def fits(value: Any) -> bool:
        return (
            isinstance(value, collections.abc.Mapping)
            and _elements(key, list(value))
            and _elements(content, list(value.values()))
        )

    return _Test(f"a mapping{_of(content)}", fits, typed=False, own=False)


def _tuple(*tests: _Test | None) -> _Test:
    same = len(set(map(id, tests))) <= 1

    def fits(value: Any) -> bool:
        if not isinstance(value, (tuple, list)):
            return isinstance(value, _ARRAYS) and value.ndim > 0
        if same:
            return _elements(tests[0] if tests else None, value)
        return len(value) == len(tests) and all(
            test is None or test(one) for test, one in zip(tests, value, strict=True)
        )

    return _Test(f"a tuple{_of(tests[0] if tests else None)}", fits, typed=False)


_CONTAINERS: dict[type, Callable[..., _Test]] = {
    list: _sequence,
    tuple: _tuple,
    dict: _mapping,
    collections.abc.Sequence: _sequence,
    collections.abc.Collection: _iterable,
    collections.abc.Iterable: _iterable,
    collections.abc.Iterator: _iterable,
    collections.abc.Mapping: _mapping,
    collections.abc.MutableMapping: _mapping,
}


def _path(kind: type) -> str:
    """What users call a class: ``edt.Task``, ``pandas.DataFrame``."""
    if kind in (os.PathLike, PurePath) or issubclass(kind, PurePath):
        return "path"
    home, name = kind.__module__.split("."), kind.__name__
    if home[0] != "edt":
        return name if home[0] == "builtins" else f"{home[0]}.{name}"
    for upto in range(1, len(home) + 1):
        module = ".".join(home[:upto])
        if name in getattr(sys.modules.get(module), "__all__", ()):
            return f"{module}.{name}"
    return name


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiouAEIOU' else 'a'} {words}"


def _got(value: Any) -> str:
    """What was given: numbers and words as they are, other things by their class."""
    if isinstance(value, _SINGLE) or value is None:
        return f"{value!r:.60}"
    if isinstance(value, (list, tuple)) and value:
        kinds = dict.fromkeys(type(one).__name__ for one in value)
        return f"a {type(value).__name__} of {', '.join(list(kinds)[:3])}"
    return type(value).__name__


class _Signature:
    """The tests of a function's arguments."""

    def __init__(self, function: Callable[..., Any], owner: type | None) -> None:
        self.function, self.owner = inspect.unwrap(function), owner
        self.read = self.whole = False
        self.by_place: list[tuple[str, _Test | None]] = []
        self.by_name: dict[str, _Test] = {}
        self.names: list[str] = []

    def homes(self) -> Iterator[dict[str, Any]]:
        """Where names of annotations come from: fields of a class may be from its bases."""
        for base in reversed(self.owner.__mro__ if self.owner else ()):
            if base.__module__.startswith("edt."):
                yield vars(sys.modules[base.__module__])
        yield getattr(self.function, "__globals__", {})

    def learn(self, whole: bool = False) -> None:
        """Read the annotations.

        Args:
            whole: import what is there for type checkers only: a name may stand for several types.
        """
        names = _Names()
        for home in self.homes():
            names |= home | _for_checkers(home) if whole else home
        self.by_place, self.by_name, self.whole = [], {}, whole
        parameters = list(inspect.signature(self.function).parameters.values())[
            self.owner is not None :
        ]
        self.names = [parameter.name for parameter in parameters]
        for parameter in parameters:
            kind = parameter.annotation
            try:
                kind = eval(kind, {}, names) if isinstance(kind, str) else kind
                test = _test_of(kind)
            except (NameError, TypeError, AttributeError):
                test = None
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                if test is not None:
                    self.by_name[parameter.name] = test
                if parameter.kind is not parameter.KEYWORD_ONLY:
                    self.by_place.append((parameter.name, test))
        self.read = True

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Look at all arguments.

        Returns:
            what to say of an argument that does not fit, should the function fail without a word
            about it. Of numbers and words it often knows more (a range, the words allowed); tasks,
            networks and arrays go through doors that take what is like them (`edt.tasks.given`,
            `edt.ensemble.arrays`), and what has the attributes of a result does for one.

        Raises:
            TypeError: any other object that does not fit.
        """
        if not self.read:
            self.learn()
        doubt = None
        for (name, test), value in zip(self.by_place, args, strict=False):
            if test is not None and type(value) not in test.known and not test(value):
                doubt = self.refuse(name, test, value, doubt)
        for name, value in kwargs.items():
            found = self.by_name.get(name)
            if found is not None and type(value) not in found.known and not found(value):
                doubt = self.refuse(name, found, value, doubt)
        return doubt

    def refuse(self, name: str, test: _Test, value: Any, doubt: str | None) -> str | None:
        """Say what does not fit, or keep it until the function has not said it."""
        if not self.whole:
            self.learn(whole=True)
        found = self.by_name.get(name)
        if found is None or found(value):
            return doubt
        test = found
        words = f"{name} must be {test.words}, got {_got(value)}"
        if test.own or value is None or isinstance(value, _SINGLE):
            return doubt or words
        raise TypeError(words)

    def speaks(self, error: Exception) -> bool:
        """Whether an error is the function's word about its arguments, not a fault inside it."""
        if isinstance(error, (EdtError, OSError)):
            return True
        named = any(re.search(rf"(?<!\w){name}(?!\w)", str(error)) for name in self.names)
        return named and isinstance(error, (TypeError, ValueError, IndexError))

    def binds(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether these are arguments that the function has."""
        made = inspect.signature(self.function)
        own = list(made.parameters.values())[self.owner is not None :]
        try:
            made.replace(parameters=own).bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    def words(
        self, error: Exception, doubt: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Exception | None:
        """What a function raised in words about its arguments, where it has none itself."""
        if isinstance(error, TypeError) and not self.binds(args, kwargs):
            return None  # of the call itself: an argument too many, or one that is not there
        if doubt is not None and not self.speaks(error):
            return TypeError(doubt)
        return self.lacking(args, kwargs, error)

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """The arguments with their names."""
        yield from zip((name for name, _ in self.by_place), args, strict=False)
        yield from kwargs.items()

    def lacking(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
    ) -> MissingColumn | None:
        """The error in words if it is about a column that a table among the arguments lacks."""
        missing = _missing(error)
        if missing is None:
            return None
        for name, value in self.given(args, kwargs):
            there = getattr(value, "columns", getattr(value, "data_vars", None))
            if type(value).__name__ not in ("DataFrame", "Dataset") or there is None:
                continue
            names = [str(one) for one in [*there, *getattr(value, "coords", ())]]
            if missing not in names:
                listed = ", ".join(map(repr, names[:12])) or "none"
                return MissingColumn(
                    f"{name} must have a column {missing!r}, got the columns {listed}", missing
                )
        return None


def _missing(error: Exception) -> str | None:
    """The column that a table was asked for in vain, if that is what the error is."""
    if isinstance(error, MissingColumn):
        return error.column
    words = str(error.args[0]) if error.args else ""
    if isinstance(error, AttributeError):
        found = re.search(r"'(?:DataFrame|Dataset|Pandas)' object has no attribute '(\w+)'", words)
        return found[1] if found else None
    if not isinstance(error, KeyError):
        return None
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    home = at.tb_frame.f_globals.get("__name__", "") if at is not None else ""
    if home.split(".")[0] not in ("pandas", "xarray"):
        return None
    # "['a', 'b'] not in index", "No variable named 'a'. Variables on the dataset include ..."
    found = re.search(r"'([^']*)'", words)
    return found[1] if found and " " in words else words


#: What was read of functions, not in their closures: `torch.compile` looks into those.
_SIGNATURES: dict[Callable[..., Any], _Signature] = {}


def _signature(function: Callable[..., Any], owner: type | None) -> _Signature:
    found = _SIGNATURES.get(function)
    if found is None:
        found = _SIGNATURES[function] = _Signature(function, owner)
    return found


def checked_call(function: Callable[..., Any], owner: type | None = None) -> Callable[..., Any]:
    """The function, its arguments held against their annotations first.

    Args:
        function: any.
        owner: the class that it is the ``__init__`` of.
    """
    skipped = int(owner is not None)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        signature, own = _signature(function, owner), args[skipped:]
        doubt = signature.check(own, kwargs)
        try:
            return function(*args, **kwargs)
        except Exception as error:
            words = signature.words(error, doubt, own, kwargs)
            if words is None:
                raise
            raise words from error

    @wraps(function)
    def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
        signature, own = _signature(function, owner), args[skipped:]
        doubt = signature.check(own, kwargs)
        try:
            yield from function(*args, **kwargs)
        except Exception as error:
            words = signature.words(error, doubt, own, kwargs)
            if words is None:
                raise
            raise words from error

    made: Callable[..., Any] = steps if inspect.isgeneratorfunction(function) else call
    setattr(made, _MARK, True)
    return made


def checked(module: str, names: Sequence[str] | None = None) -> None:
    """Check what the public functions and classes of a module are given.

    Functions are replaced where they are defined, too, so that there is one of each.

    Args:
        module: its name.
        names: of functions and classes in it; default what it lists in ``__all__`` and has by
            now, or else what it defines.
    """
    here = sys.modules[module]
    own = [
        name
        for name, value in vars(here).items()
        if name[0] != "_" and getattr(value, "__module__", None) == module
    ]
    for name in getattr(here, "__all__", own) if names is None else names:
        value = vars(here).get(name)
        home = getattr(value, "__module__", None) or ""
        if value is None or not home.startswith("edt.") or isinstance(value, types.ModuleType):
            continue
        if isinstance(value, type):
            _check_class(value)
        elif not hasattr(value, _MARK) and (
            inspect.isfunction(value) or hasattr(value, "__wrapped__")
        ):
            call = checked_call(value)
            defined = sys.modules[home]
            if vars(defined).get(call.__name__) is value:
                setattr(defined, call.__name__, call)
            setattr(here, name, call)


def _check_class(kind: type) -> None:
    made = vars(kind).get("__init__")
    if not isinstance(made, types.FunctionType) or hasattr(made, _MARK):
        return
    if not issubclass(kind, BaseException) and not getattr(kind, "_is_protocol", False):
        kind.__init__ = checked_call(made, kind)  # type: ignore[method-assign]
