"""What works where nothing but torch and numpy is installed: networks, data, operators."""

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
back = edt.Ensemble.from_modules([ens.to_module(b) for b in range(ens.B)])
assert torch.equal(back.theta, ens.theta) and len(ens.to_numpy()) == 5
try:
    ens.save("never")
except ModuleNotFoundError as error:
    assert error.name == "safetensors"
else:
    raise AssertionError("safetensors was found")
print("bare")
"""


def test_networks_and_operators_need_torch_and_numpy_alone(tmp_path):
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
