"""Every public function and class is handed wrong objects, and says so in words about arguments.

A task where networks belong, a table where a task does, a word, nothing: what comes back is a
result (some functions take the one or the other) or an error that names an argument or says what it
must be; never an `AttributeError` or `KeyError` of the inside.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pandas as pd
import pytest
import torch

import edt
from edt.arguments import MissingColumn, checked_call

PAGES = Path(__file__).parents[1] / "docs" / "api"
PACKAGES = (
    "edt", "edt.curvature", "edt.ensemble", "edt.estimators", "edt.flow", "edt.infinite",
    "edt.landscape", "edt.landscape.embed", "edt.landscape.views", "edt.lottery",
    "edt.lottery.adversary", "edt.lottery.connectivity", "edt.lottery.controls",
    "edt.lottery.criteria", "edt.lottery.dynamic", "edt.lottery.interchange",
    "edt.lottery.iterative", "edt.lottery.bisection", "edt.lottery.multistart", "edt.lottery.prune",
    "edt.lottery.pruning_schedules", "edt.nets", "edt.nn", "edt.objectives", "edt.plots",
    "edt.runs.store", "edt.runs.sweeps", "edt.stats", "edt.studies", "edt.success", "edt.tasks",
    "edt.training", "edt.training.recorders",
)  # fmt: skip
TASK = edt.tasks.xor()
NETWORKS = edt.Ensemble([2, 3], 2, 1, activation="tanh")
WRONG: dict[str, Any] = {
    "a task": TASK,
    "networks": NETWORKS,
    "a word": "word",
    "nothing": None,
    "a number": -3,
    "a mapping": {"a": 1},
    "a table": pd.DataFrame({"a": [1.0, 2.0, 3.0]}),
    "a list of objects": [object()],
    "a tensor": torch.zeros(3),
}


def public(package: str) -> dict[str, Any]:
    """Functions and classes that a package offers; of a module without a list, its own."""
    module = import_module(package)
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", None) == package
    ]
    found = {f"{package}.{name}": getattr(module, name) for name in names}
    return {path: value for path, value in found.items() if _taken(value)}


def listed() -> dict[str, Any]:
    """What the pages of the reference list beside: functions and classes by their paths."""
    found = {}
    for page in sorted(PAGES.glob("*.md")):
        for path in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE):
            home, _, name = path.rpartition(".")
            if home and home not in PACKAGES:
                value = getattr(import_module(home), name)
                if isinstance(value, ModuleType):
                    found |= public(path)
                elif _taken(value):
                    found[path] = value
    return found


def _taken(value: Any) -> bool:
    home = getattr(value, "__module__", "") or ""
    error = isinstance(value, type) and issubclass(value, BaseException)
    named = callable(value) and not isinstance(value, TypeVar)
    return named and home.startswith("edt") and not error


def right(parameter: inspect.Parameter) -> Any:
    """Something of the kind that an argument is of, so that the wrong one is what is wrong."""
    kind = str(parameter.annotation)
    if "Ensemble" in kind or "Networks" in kind or parameter.name in ("networks", "ens", "narrow"):
        return NETWORKS
    for word, value in (
        ("DataFrame", pd.DataFrame({"a": [1.0]})), ("int", 1), ("float", 0.5), ("str", "word"),
        ("torch.Tensor", torch.zeros(NETWORKS.total, dtype=torch.float64)), ("Sequence", [1]),
    ):  # fmt: skip
        if kind.startswith(word):
            return value
    return TASK


def wrong_calls(function: Any) -> list[str]:
    """What comes of wrong objects in the first two places, if it is not in words."""
    parameters = list(inspect.signature(function).parameters.values())
    places = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    others = {
        one.name: right(one)
        for one in parameters
        if one.kind is one.KEYWORD_ONLY and one.default is one.empty
    }
    names = [one.name for one in parameters]
    needed = sum(one.default is one.empty for one in places)
    found = []
    for at in range(min(2, len(places))):
        for label, value in WRONG.items():
            args = [right(one) for one in places[: max(at + 1, needed)]]
            args[at] = value
            try:
                out = function(*args, **others)
                if hasattr(out, "__next__"):
                    next(out, None)
            except (OSError, ImportError):  # no such file; a package that is not here
                continue
            except Exception as error:
                if not in_words(error, names):
                    found.append(f"{names[at]}={label}: {error!r:.120}")
    return found


def in_words(error: Exception, names: list[str]) -> bool:
    """Whether an error is about arguments: it names one, or says what something must be."""
    words = str(error)
    clean = isinstance(error, (TypeError, ValueError, IndexError, edt.EdtError))
    named = any(re.search(rf"(?<!\w){name}(?!\w)", words) for name in names)
    return clean and (named or " must " in words or isinstance(error, edt.EdtError))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Some take a word for a folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", [*PACKAGES, "pages"])
def test_wrong_objects_are_refused_in_words(package):
    functions = listed() if package == "pages" else public(package)
    assert functions
    found = {path: wrong_calls(value) for path, value in functions.items()}
    assert not {path: calls for path, calls in found.items() if calls}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: edt.plots.plot_census(TASK), "census must be an edt.landscape.Census, got Task"),
        (lambda: edt.plots.plot_success(TASK, 2), "success must be a pandas.DataFrame, got Task"),
        (lambda: edt.landscape.census_table("runs"), "runs must be a pandas.DataFrame, got 'runs'"),
        (
            lambda: edt.landscape.basin_table(WRONG["a table"]),
            r"runs must have a column 'minimum', got the columns 'a'",
        ),
        (
            lambda: edt.channel_limits(None, NETWORKS),
            r"task must be an edt.Task or a pair .* got NoneType",
        ),
        (
            lambda: edt.landscape.aligned_distance(TASK, TASK),
            "one must be an edt.landscape.Core, got Task",
        ),
        (
            lambda: edt.predicted_inertia((0, 0, 1), NETWORKS),
            "matrices must be an edt.landscape.SplitMatrices, got Ensemble",
        ),
        (
            lambda: edt.lottery.interchange.masks_of(TASK, 0),
            "must be an edt.Ensemble",
        ),
    ],
)  # fmt: skip
def test_what_is_said(call, words):
    with pytest.raises((TypeError, MissingColumn), match=words):
        call()


def test_functions_keep_their_names_and_places():
    # Tools that read signatures, and pickles of functions, find what they did.
    import pickle

    for function in (edt.wilson, edt.landscape.census, edt.lottery.run_trial):
        assert pickle.loads(pickle.dumps(function)) is function
    assert str(inspect.signature(edt.wilson)).startswith("(k: 'int', n: 'int'")
    assert edt.wilson.__doc__


def test_words_of_the_function_come_first():
    def steps(count: int) -> int:
        if not isinstance(count, int):
            raise TypeError(f"count must be an integer >= 1, got {count!r}")
        return count + 1

    def silent(count: int) -> int:
        return count + 1

    with pytest.raises(TypeError, match="count must be an integer >= 1, got '3'"):
        checked_call(steps)("3")
    with pytest.raises(TypeError, match="count must be an integer, got '3'") as raised:
        checked_call(silent)("3")
    assert isinstance(raised.value.__cause__, TypeError)


def test_faults_inside_are_not_blamed_on_good_arguments():
    def broken(count: int) -> int:
        return {}["inside"]

    with pytest.raises(KeyError, match="inside"):
        checked_call(broken)(3)


def test_what_is_like_a_task_comes_in():
    class Mine:
        d_in, d_out, T, loss = 2, 2, 1, "mine"
        moves = True

        def objective(self, networks, task_index=None):
            return TASK.objective(networks, task_index)

    networks = edt.Ensemble([3], 2, 2, activation="tanh")
    assert torch.equal(edt.loss(Mine(), networks), edt.loss(TASK, networks))
