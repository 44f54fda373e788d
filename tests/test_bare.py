"""What works where nothing but torch and numpy is installed: all but tables, files and pictures."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]

SCRIPT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import torch
import edt

ens = edt.Ensemble.init([2, 4], range(3), d_in=2, d_out=1, sparsity=0.2)
task = edt.tasks.teacher_student(teacher_width=2, d_in=2, n=20)
value, grad = edt.loss_and_grad(ens, task)
edt.hvp(ens, task, grad)
edt.hessian(ens, task), edt.jacobian(ens, task), edt.predict(ens, task)
edt.functional_call(ens, ens.theta, task.x)
theta = ens.theta.clone().requires_grad_(True)
edt.loss(ens, task, theta).sum().backward()
assert torch.equal(theta.grad, grad)
trained = edt.masked_train(task, widths=[2, 4], seeds=range(2), steps=50)
assert trained.recorded.loss.shape[1] == 4 and trained.status == ["max_steps"] * 4
bottom = edt.converge(task, trained.networks)
assert torch.equal(bottom.index, edt.index(bottom.networks, task))
edt.gradient_flow(task, ens, max_time=0.1)
edt.extreme_eigenpairs(ens, task), edt.spectral_density(ens, task), edt.hessian_trace(ens, task)
try:
    trained.to_pandas()
except ModuleNotFoundError as error:
    assert error.name == "pandas"
else:
    raise AssertionError("pandas was found")
back = edt.Ensemble.from_modules([ens.to_module(b) for b in range(ens.B)])
assert torch.equal(back.theta, ens.theta) and len(ens.to_numpy()) == 5
try:
    ens.save("never")
except ModuleNotFoundError as error:
    assert error.name == "safetensors"
else:
    raise AssertionError("safetensors was found")
import edt.cli
try:
    edt.cli.main()
except SystemExit as error:
    assert error.code == "edt: the command line needs typer: pip install typer", error.code
else:
    raise AssertionError("typer was found")
print("bare")
"""


def test_training_minima_and_curvature_need_torch_and_numpy_alone(tmp_path):
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = toml.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {spec.replace(">", "=").partition("=")[0].strip() for spec in project["dependencies"]}
    absent = {name.replace("scikit-learn", "sklearn") for name in names} - {"torch", "numpy"}
    assert {"safetensors", "pandas", "scipy", "sklearn"} <= absent
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(absent=absent)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert ran.stdout == "bare\n", ran.stderr
