"""Tasks from files: every format gives the same task, and a changed file is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from edt.ops.losses import LOSSES
from edt.runs.sweeps import SweepSpec, read_spec, sweep
from edt.studies.kinds import resume
from edt.tasks import from_file

X = np.random.Generator(np.random.Philox(0)).normal(size=(12, 2))
Y = np.sin(X[:, :1])


def write(folder, ending):
    file = folder / f"data{ending}"
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y[:, 0]})
    if ending == ".npz":
        np.savez(file, x=X, y=Y)
    elif ending == ".pt":
        torch.save({"x": torch.from_numpy(X), "y": torch.from_numpy(Y)}, file)
    elif ending == ".csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file)
    return file


@pytest.mark.parametrize("ending", [".npz", ".pt", ".csv", ".parquet"])
def test_every_format_gives_the_same_task(tmp_path, ending):
    task = from_file(write(tmp_path, ending))
    assert (task.N, task.d_in, task.d_out) == (12, 2, 1)
    assert torch.equal(task.x, torch.from_numpy(X)) and torch.equal(
        task.y.reshape(12, 1), torch.from_numpy(Y)
    )


def test_every_loss_is_swept(tmp_path):
    """By name and from a file: what is trained has the loss that was asked for."""
    frame = pd.DataFrame({"a": X[:, 0], "y": (Y[:, 0] > 0).astype(int)})
    frame.to_csv(tmp_path / "some.csv", index=False)
    for task in (
        {"name": "xor", "loss": "logistic"},
        {"file": str(tmp_path / "some.csv"), "y": "y", "loss": "bce"},
    ):
        spec = SweepSpec(task=task, grid={"width": [2], "seed": [0], "steps": 3})
        runs = sweep(spec, tmp_path / task["loss"], progress=False).to_pandas()
        assert spec.task[0]["loss"] == task["loss"]
        # Two units that start small are near 0: log 2.
        assert abs(float(runs["loss"].iloc[0]) - 0.693) < 0.2


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.classes])
def test_targets_are_what_the_loss_takes(tmp_path, loss):
    """Numbers stay numbers, and 0 and 1 of a table are the shares that they look like."""
    signs = LOSSES[loss].signs
    y = {"mse": [0.5, -2.5], "huber": [0.5, -2.5]}.get(loss, [-1, 1] if signs else [0, 1])
    file = tmp_path / "some.csv"
    if loss == "soft_cross_entropy":
        pd.DataFrame({"a": [0.0, 1.0], "y": [0.25, 1.0], "z": [0.75, 0.0]}).to_csv(
            file, index=False
        )
        assert from_file(file, y=["y", "z"], loss=loss).y.tolist() == [[0.25, 0.75], [1.0, 0.0]]
    else:
        pd.DataFrame({"a": [0.0, 1.0], "y": y}).to_csv(file, index=False)
        assert from_file(file, loss=loss).y.tolist() == [[float(one)] for one in y]


def test_columns_are_chosen_by_name(tmp_path):
    task = from_file(write(tmp_path, ".csv"), x=["b"], y=["y", "a"], standardise=True)
    assert (task.d_in, task.d_out) == (1, 2)
    # Means of twelve numbers of order one: rounding is near 1e-16.
    assert float(task.x.mean().abs()) < 1e-15


@pytest.mark.parametrize(
    ("ending", "more", "says"),
    [
        (".csv", {"y": "z"}, "no column 'z'"),
        (".npz", {"y": "z"}, "no array 'z'"),
        (".csv", {"sha256": "0" * 64}, "has changed"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, ending, more, says):
    with pytest.raises(ValueError, match=says):
        from_file(write(tmp_path, ending), **more)


def test_pickles_are_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "ran").mkdir, ()

    torch.save({"x": Trap(), "y": torch.ones(3)}, tmp_path / "trap.pt")
    np.savez(tmp_path / "trap.npz", x=np.array([Trap()], dtype=object), y=Y)
    for name in ("trap.pt", "trap.npz"):
        with pytest.raises(ValueError, match=r"cannot be read|allow_pickle"):
            from_file(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ValueError, match="ending of file"):
        from_file(tmp_path / "data.pkl")


def test_a_sweep_over_a_file_refuses_another_file(tmp_path):
    file = write(tmp_path, ".npz")
    toml = tmp_path / "own.toml"
    toml.write_text(
        '[task]\nfile = "data.npz"\n[grid]\nseed = "0..3"\nsteps = 20\nwidth = [2, 3]\n'
    )
    spec = read_spec(toml)
    assert spec == SweepSpec(
        task={"file": str(file)}, grid={"seed": "0..3", "steps": 20, "width": [2, 3]}
    )
    assert len(spec.task[0]["sha256"]) == 64
    folder = tmp_path / "run"
    first = sweep(spec, folder, workers=0, progress=False)
    second = sweep(spec, workers=0, progress=False)
    pd.testing.assert_frame_equal(first.runs, second.runs)
    np.savez(file, x=X, y=Y + 1)
    with pytest.raises(ValueError, match="has changed"):
        resume(folder, progress=False)
    assert read_spec(toml).digest != spec.digest
