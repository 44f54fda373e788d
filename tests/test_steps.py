"""`.ci/steps.py`: order, lanes, failures, and that no folder of tests is left out."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

import pytest
from patience import PATIENCE, alive, linux, wait_for

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def ci(tmp_path, monkeypatch):
    """The script, writing to a folder of the test."""
    spec = importlib.util.spec_from_file_location("ci_steps", ROOT / ".ci" / "steps.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ci_steps", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "OUT", tmp_path)
    return module


def test_so_many_at_a_time_and_none_before_what_it_needs(ci, tmp_path):
    """Each step writes when it began and ended; at no moment are there more than lanes."""
    note = "date +%s%N >> {0}/{1}; sleep 0.4; date +%s%N >> {0}/{1}"
    names = ["a", "b", "c", "d", "e", "f"]
    todo = [ci.Step(n, note.format(tmp_path, n), ("d",) if n == "a" else ()) for n in names]
    done = ci.run(todo)
    assert [one.status for one in done] == [0] * 6
    spans = {n: [int(t) for t in (tmp_path / n).read_text().split()] for n in names}
    assert spans["a"][0] >= spans["d"][1]
    for begin, _ in spans.values():
        assert sum(first <= begin < last for first, last in spans.values()) <= ci.LANES


def test_a_failure_starts_nothing_new_and_is_shown(ci, capsys):
    steps = [ci.Step("bad", "echo so sorry; exit 3"), ci.Step("next", "echo no", ("bad",))]
    done = ci.run(steps)
    assert [(one.name, one.status) for one in done] == [("bad", 3)]
    assert "so sorry" in capsys.readouterr().out
    assert "FAILED" in ci.table(done, 1.0)


def test_processors_are_counted_through_children(ci):
    """A second of work in a grandchild, whatever the clock says."""
    work = f"{sys.executable} -c 'import time\nwhile time.process_time() < 1: pass' && true"
    (one,) = ci.run([ci.Step("work", work)])
    assert 0.9 < one.processor < 3


def test_waiting_threads_sleep_and_python_keeps_what_it_compiles(ci, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    (one,) = ci.run([ci.Step("says", "env")])
    said = (ci.OUT / "says.log").read_text().splitlines()
    assert one.status == 0 and {"OMP_WAIT_POLICY=passive", "EDT_KEEP_PTX=1"} <= set(said)
    assert not [line for line in said if line.startswith("PYTHONDONTWRITEBYTECODE=")]
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert ci.environment(ci.Step("says", "env"))["OMP_WAIT_POLICY"] == "active"


@linux
def test_nothing_is_left_running(ci):
    """An interrupted run takes its steps along."""
    running = ci.start(ci.Step("long", f"sleep {2 * PATIENCE} & echo $!; wait"))
    log = ci.OUT / "long.log"
    wait_for(lambda: log.read_text().endswith("\n"))
    ci.end([running])
    running.process.wait()
    wait_for(lambda: not alive(int(log.read_text())))


def test_every_folder_of_tests_is_run_once_by_the_readmes_command(ci):
    commands = [shlex.split(s.command) for s in ci.steps() if s.name.startswith("tests-")]
    assert all(words[:2] == ["make", "test"] and len(words) == 3 for words in commands)
    *named, rest = (words[2].removeprefix("ARGS=").split() for words in commands)
    folders = [folder for part in named for folder in part]
    assert folders and all((ROOT / folder).is_dir() for folder in folders)
    assert len(set(folders)) == len(folders)
    assert sorted(rest) == sorted(f"--ignore={folder}" for folder in folders)


def test_every_step_waits_only_for_others(ci):
    names = [step.name for step in ci.steps()]
    assert len(set(names)) == len(names)
    assert all(need in names for step in ci.steps() for need in step.after)
    assert [step.name for step in ci.chosen(["docs"])] == ["setup", "docs"]
    with pytest.raises(SystemExit, match="no step nothing"):
        ci.chosen(["nothing"])


def test_compilers_go_through_ccache_where_there_is_one(ci, tmp_path, monkeypatch):
    """What is set by hand stays."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CMAKE_CXX_COMPILER_LAUNCHER", raising=False)
    monkeypatch.delenv("CCACHE_BASEDIR", raising=False)
    step = ci.Step("a", "true")
    assert "CMAKE_CXX_COMPILER_LAUNCHER" not in ci.environment(step)
    (tmp_path / "ccache").touch(0o755)
    seen = ci.environment(step)
    assert seen["CMAKE_CXX_COMPILER_LAUNCHER"] == "ccache" and seen["CCACHE_BASEDIR"] == str(ROOT)
    monkeypatch.setenv("CMAKE_CXX_COMPILER_LAUNCHER", "sccache")
    assert ci.environment(step)["CMAKE_CXX_COMPILER_LAUNCHER"] == "sccache"
