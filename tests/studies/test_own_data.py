"""Studies and sweeps on data of one's own, from a file, a function or a task: the same bits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import edt
from edt.cli import main as program
from edt.runs.store import DirectoryError
from edt.runs.sweeps import SpecError, read_spec
from edt.studies.common.spec_parts import StudentSpec
from edt.studies.common.students_page import student_protocol
from edt.studies.kinds import resume, status
from edt.studies.lottery.page import _protocol as lottery_protocol
from edt.studies.lottery.spec import LotterySpec
from edt.studies.registry import STUDIES
from edt.studies.width.protocol import caveats, protocol
from edt.studies.width.spec import WidthSweepSpec
from edt.studies.width.story import Story
from edt.tasks.task_tables import make_task, task_name

MODULE = """
import torch, edt

def sine(n=24):
    x = torch.linspace(-1, 1, n, dtype=torch.float64)[:, None]
    return edt.Task(x, torch.sin(3 * x), name="sine")

def blobs(n=60):
    y = torch.arange(n) % 3
    x = torch.randn(n, 64, generator=torch.Generator().manual_seed(0)) + y[:, None]
    return edt.Task(x, y, loss="cross_entropy", name="blobs", info={"shape": (1, 8, 8)})
"""
#: Studies of students, made small; and those of networks with classes.
STUDENTS = {
    "width-sweep": {"reference_width": 2, "split_widths": (2,), "split_levels": 1},
    "census": {"teacher_width": 2},
    "escape": {"teacher_width": 2, "path_widths": (), "minima": 1, "random": 1},
    "failures": {"teacher_width": 2},
    "escape-count": {"teacher_width": 2, "most": 1, "each": 1},
    "barriers": {"teacher_width": 2, "pairs": 1, "ends": 1, "pushes": 1},
}
SHORT = {
    "widths": (2, 3), "seeds": 2, "steps": 60, "lbfgs_rounds": 1, "newton_steps": 20,
    "certify_steps": 20, "activation": "g",
}  # fmt: skip
NETS = {
    "lottery": {"seeds": 2, "rounds": 1, "steps": 10, "hidden": (6,), "batch": 16},
    "multi-start-net": {"seeds": 2, "steps": 10, "batch": 16, "milestones": (), "net": "lenet5"},
    "width-net": {"seeds": 2, "steps": 10, "batch": 16, "milestones": (), "net": "lenet5"},
    "perturb-rest-net": {"steps": 10, "batch": 16, "milestones": (), "candidates": 4},
}


@pytest.fixture
def module(tmp_path):
    """A file with functions that give data."""
    file = tmp_path / "mine.py"
    file.write_text(MODULE)
    return file


@pytest.mark.parametrize("kind", [*STUDENTS, *NETS])
def test_every_study_of_a_task_takes_data_of_ones_own(module, tmp_path, kind):
    """Its tables are whole, and its page names the data."""
    net = kind in NETS
    small = NETS[kind] if net else {**SHORT, **STUDENTS[kind]}
    address = f"{module}:{'blobs' if net else 'sine'}"
    study = STUDIES[kind]
    spec = study.spec(quick=True, task=address, **small)
    assert spec.outside() == (address,) and spec == type(spec).from_dict(spec.to_dict())
    done = study.experiment.run(spec, tmp_path / "run", progress=False)
    assert all(set(table) for table in done.tables.values())
    assert spec.task["sha256"][:16] in json.dumps(words(done))


def words(done):
    """What a page says of data and training."""
    spec = done.spec
    if isinstance(spec, WidthSweepSpec):
        story = Story(done)
        assert "learned sine" in story.lead and "real data" in story.title
        return [*protocol(story), *caveats(story)]
    if isinstance(spec, StudentSpec):
        return student_protocol(spec)
    return lottery_protocol(done) if isinstance(spec, LotterySpec) else spec.method


def test_a_page_names_data_of_ones_own(module, tmp_path):
    study = STUDIES["failures"]
    spec = study.spec(quick=True, task=f"{module}:sine", **{**SHORT, "widths": (2,)})
    done = study.experiment.run(spec, tmp_path / "run", progress=False)
    study.of("page", study.page)(done, tmp_path / "run")
    assert spec.task["sha256"][:16] in (tmp_path / "run" / "report.html").read_text()


def test_a_file_a_function_and_a_task_give_the_same_bits(module, tmp_path):
    """In a study on workers, in this process, and after an interruption."""
    imported = f"{module}:sine"
    task = make_task(STUDIES["census"].spec(task=imported).task)
    np.savez(tmp_path / "sine.npz", x=task.x.numpy(), y=task.y.numpy())
    small = {**SHORT, **STUDENTS["census"], "widths": (2,)}
    tables = {}
    for name, given in {
        "file": str(tmp_path / "sine.npz"),
        "import": imported,
        "data": task,
    }.items():
        spec = STUDIES["census"].spec(quick=True, task=given, **small)
        folder = tmp_path / name
        done = STUDIES["census"].experiment.run(
            spec, folder, workers=2 if name == "data" else 0, progress=False
        )
        tables[name] = {key: (folder / f"{key}.parquet").read_bytes() for key in done.tables}
        part = min((folder / "parts").glob("*.manifest.json"))
        part.unlink()
        (folder / "runs.parquet").unlink()
        assert status(folder).parts_done < status(folder).parts
        resume(folder, progress=False)
        again = {key: (folder / f"{key}.parquet").read_bytes() for key in done.tables}
        assert again == tables[name]
    assert tables["file"] == tables["import"] == tables["data"]
    assert task_name(spec.task) == "sine"


def test_changed_data_are_an_error_on_resume(module, tmp_path):
    spec = STUDIES["failures"].spec(quick=True, task=f"{module}:sine", **{**SHORT, "widths": (2,)})
    folder = tmp_path / "run"
    STUDIES["failures"].experiment.run(spec, folder, progress=False)
    module.write_text(MODULE.replace("3 * x", "4 * x"))
    with pytest.raises(ValueError, match=r"sine' changed: now returns data with SHA-256"):
        resume(folder, progress=False)
    module.unlink()
    with pytest.raises(ValueError, match="FileNotFoundError"):
        resume(folder, progress=False)


TRAP = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
"""


@pytest.mark.parametrize("kind", ["sweep", "census"])
def test_a_strangers_function_is_neither_imported_nor_called(module, tmp_path, capsys, kind):
    """Until the call confirms it; what does not need the data works without."""
    address = f"{module}:sine"
    if kind == "sweep":
        spec = edt.SweepSpec(task=address, grid={"seed": "0..1", "steps": 3})
    else:
        spec = STUDIES[kind].spec(quick=True, task=address, **SHORT, **STUDENTS[kind])
    folder = tmp_path / "run"
    folder.mkdir()
    identity = {"spec": spec.to_dict(), "edt": edt.__version__}
    marker = {"kind": kind, "format": 1, "identity": identity}
    (folder / "edt.json").write_text(json.dumps(marker))
    module.write_text(TRAP + MODULE)
    ran = tmp_path / "ran"
    for command in ("resume", "report", "status"):
        with pytest.raises(SystemExit) as stop:
            program([command, str(folder)])
        capsys.readouterr()
        assert stop.value.code in (2, 3) and not ran.exists()
    with pytest.raises(DirectoryError, match=f"--confirm {address}"):
        resume(folder, progress=False)
    # A spec without its digest would have to be looked up: that is refused, too.
    task = identity["spec"]["task"][0] if kind == "sweep" else identity["spec"]["task"]
    del task["sha256"]
    (folder / "edt.json").write_text(json.dumps(marker))
    with pytest.raises(DirectoryError, match="must have its sha256"):
        resume(folder, confirm=[address], progress=False)
    assert not ran.exists()
    if kind == "sweep":
        task["sha256"] = spec.task[0]["sha256"]
        (folder / "edt.json").write_text(json.dumps(marker))
        assert len(resume(folder, confirm=[address], workers=0, progress=False).runs) == 2
        assert ran.exists()


def test_a_spec_in_a_file_asks_before_it_calls_a_function(module, tmp_path, capsys):
    """Paths are meant from where the spec lies."""
    toml = tmp_path / "own.toml"
    module.write_text(TRAP + MODULE)
    grid = '[grid]\nseed = "0..1"\nsteps = 3\n'
    for text in ('task = "mine.py:sine"\n', '[task]\nimport = "mine.py:sine"\nn = 12\n',
                 '[[task]]\nname = "xor"\n[[task]]\nimport = "mine.py:sine"\n'):  # fmt: skip
        toml.write_text(text + grid)
        with pytest.raises(SpecError, match=r"asks for the function 'mine\.py:sine'.*--confirm"):
            read_spec(toml)
        assert not (tmp_path / "ran").exists()
    toml.write_text('[task]\nimport = "mine.py:sine"\nn = 12\n' + grid)
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        program(["sweep", str(toml), "--out", str(out), "--no-progress"])
    assert stop.value.code == 2 and not out.exists()
    assert "--confirm mine.py:sine" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as stop:
        program(["sweep", str(toml), "--out", str(out), "--workers", "0", "--no-progress",
                 "--confirm", "mine.py:sine"])  # fmt: skip
    assert stop.value.code == 0
    found = edt.Sweep.load(out)
    assert len(found.runs) == 2 and found.spec.task[0]["sizes"] == [1, 12, 1, 1]
    assert len(edt.sweep(toml, workers=0, confirm=[f"{module}:sine"], progress=False).runs) == 2


def test_a_module_beside_the_script_is_found_by_workers(tmp_path, monkeypatch):
    """Local workers look where this process does."""
    (tmp_path / "beside_this_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = edt.SweepSpec(
        task={"import": "beside_this_test:sine"},
        grid={"seed": "0..1", "steps": 3, "activation": ["tanh", "relu"]},
    )
    done = edt.sweep(spec, tmp_path / "run", workers=2, progress=False)
    assert done.runs["loss"].notna().all() and len(done.runs) == 4


def test_given_data_lie_in_the_directory_of_their_run(tmp_path):
    """Deleted, that is said; with --fresh they go, too."""
    x = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
    grid = {"seed": "0..1", "steps": 3}
    spec = edt.SweepSpec(task=edt.Task(x, x * x), grid=grid)
    folder = tmp_path / "run"
    edt.sweep(spec, folder, workers=0, progress=False)
    (kept,) = (folder / "parts").glob("task-*.safetensors")
    edt.sweep(edt.SweepSpec(task="xor", grid=grid), folder, fresh=True, workers=0, progress=False)
    assert not kept.exists()
    edt.sweep(spec, folder, fresh=True, workers=0, progress=False)
    kept.unlink()
    edt.tasks.task_tables.forget_loaded()
    with pytest.raises(FileNotFoundError, match="task-"):
        resume(folder, progress=False)


def test_networks_say_what_they_need_of_data(module):
    """Classes, and shapes of images."""
    spec = STUDIES["lottery"].spec(task=f"{module}:sine", **NETS["lottery"])
    with pytest.raises(ValueError, match="must have classes"):
        STUDIES["lottery"].experiment.data(spec)
    with pytest.raises(ValueError, match=r"say shape = \[channels"):
        STUDIES["multi-start-net"].spec(task=f"{module}:sine", net="lenet5")
    with pytest.raises(ValueError, match="task shape must have 64 numbers"):
        STUDIES["multi-start-net"].experiment.data(
            STUDIES["multi-start-net"].spec(
                task={"import": f"{module}:blobs", "shape": [1, 9, 9]}, net="lenet5"
            )
        )
