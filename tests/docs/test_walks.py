"""The walks of docs/contributing.md, followed on a copy of the tree with the page's own code.

What they add to the core is compiled alone (`tests/support/walk_of_core.cpp`) and compared with
what they add in PyTorch, which is used through the public functions in a process of the copy. With
``EDT_WALKS=full`` the copy's core is built and the tests that the walks change run on it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import edt
from edt.objectives import NormPenalty

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
#: Walk -> (what it adds, the most files it may touch).
WALKS = {
    "an activation": ("relu_squared", 6),
    "a loss": ("pseudo_huber", 6),
    "an optimiser": ("rmsprop", 5),
    "a layer": ("MaskedConv1d", 3),
    "a task": ("parity", 2),
}
#: What `walk_of_core.cpp` calls them.
MACROS = {
    "WALK_ACTIVATION": "an activation",
    "WALK_LOSS": "a loss",
    "WALK_OPTIMIZER": "an optimiser",
}
COMPILER = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)


def walk(name):
    """The text of one walk."""
    start = PAGE.index(f"## Adding {name}\n")
    return PAGE[start : PAGE.index("\n## ", start)]


def changes(name):
    """(file, lines before, lines after) of every hunk."""
    for block in re.findall(r"```diff\n(.*?)```", walk(name), re.S):
        for part in re.split(r"^--- ", block, flags=re.M)[1:]:
            file, hunks = part.split("\n", 1)
            for hunk in re.split(r"^@@\n", hunks, flags=re.M):
                lines = hunk.splitlines()
                assert all(line[:1] in " +-" for line in lines), hunk
                old = [line[1:] for line in lines if not line.startswith("+")]
                new = [line[1:] for line in lines if not line.startswith("-")]
                assert old != new
                yield file, old, new


def follow(name, tree):
    """Make the changes of one walk in a tree; returns the files they touch."""
    touched = {}
    for file, old, new in changes(name):
        lines = touched.setdefault(file, (tree / file).read_text(encoding="utf-8").split("\n"))
        found = [k for k in range(len(lines)) if lines[k : k + len(old)] == old]
        assert len(found) == 1, f"{file}: {len(found)} places like\n" + "\n".join(old)
        lines[found[0] : found[0] + len(old)] = new
    for file, lines in touched.items():
        (tree / file).write_text("\n".join(lines), encoding="utf-8")
    for file, code in re.findall(r"`(edt/[\w/]+\.py)`:\n\n```python\n(.*?)```", walk(name), re.S):
        (tree / file).write_text(code, encoding="utf-8")
        touched[file] = code
    return set(touched)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy with all walks followed."""
    copy = tmp_path_factory.mktemp("walks")
    for folder in ("edt", "csrc"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("ops", "training", "support", "kernels", "cuda"):
        where = Path("tests", folder)
        shutil.copytree(ROOT / where, copy / where, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (_, most) in WALKS.items():
        files = follow(name, copy)
        assert len(files) <= most, f"{name}: {sorted(files)}"
    return copy


@pytest.fixture(scope="module")
def said(tree):
    """What the program says that has the walks' additions to the core."""
    if COMPILER is None:
        pytest.skip("needs a C++17 compiler")
    program = tree / "walk_of_core"
    subprocess.run(
        [
            COMPILER, "-std=c++17", "-O1", "-ffp-contract=off", "-Wno-psabi", "-Werror=switch",
            "-DEDT_CUDA_SHIM", "-DEDT_ISA_NS=baseline", "-DEDT_ISA_BASELINE",
            *(f"-D{macro}={WALKS[name][0]}" for macro, name in MACROS.items()),
            f"-I{tree / 'csrc'}", f"-I{ROOT / 'tests' / 'cuda' / 'shim'}",
            str(ROOT / "tests" / "support" / "walk_of_core.cpp"), "-o", str(program),
        ],
        check=True,
    )  # fmt: skip
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


#: In a process of the copy: its tables, and its additions through the public functions.
IN_COPY = """
import sys
import torch
from edt import _core
lines = [line.split() for line in open(sys.argv[1])]
_core.CODES.update({key: tuple(names) for kind, key, *names in lines if kind == "names"})
rows = {}
for kind, order, *values in lines:
    if kind != "names":
        rows.setdefault(kind, []).append([float(value) for value in values])
rows = {kind: torch.tensor(values, dtype=torch.float64) for kind, values in rows.items()}

import edt
from edt.ensemble.activations import ACTIVATIONS
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.losses import LOSSES
from edt.runs.sweeps.axes import AXES
from edt.training.optimizers import OPTIMIZERS

activation, loss, optimizer = sys.argv[2:]
assert tuple(ACTIVATION_CODES) == _core.CODES["activation"]
assert tuple(LOSSES) == _core.CODES["loss"]
assert {rule.core for rule in OPTIMIZERS.values()} == set(_core.CODES["optimizer"])
at = lambda i: ((i * 7919) % 2003 - 1001).double() / 256
count = torch.arange(rows["loss"].shape[1])
z, y = at(count), at(3 * count + 2)
near = lambda found, wanted: torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-15)

# The formulas of both engines are those of PyTorch, with their derivatives.
leaf = z.clone().requires_grad_(True)
value = ACTIVATIONS[activation].function(leaf)
for order in range(4):
    for kind in ("activation", "activation-gpu"):
        near(rows[kind][order], value.detach())
    if order < 3:
        (value,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
meant = LOSSES[loss]
leaf = z.clone().requires_grad_(True)
each = meant.each(leaf, y)
(slope,) = torch.autograd.grad(each.sum(), leaf)
for kind in ("loss", "loss-gpu"):
    near(rows[kind], torch.stack([each.detach(), slope, meant.second(z, y)]))
kept = torch.nn.Parameter(z.clone())
rule = torch.optim.RMSprop([kept], lr=0.05, weight_decay=0.1, alpha=0.999)
for step in range(3):
    kept.grad = (step + 1) * y
    rule.step()
for kind in ("optimizer", "optimizer-gpu"):
    near(rows[kind][0], kept.detach())

# Through the public functions, on the twin: this copy's core is the old one.
ens = edt.Ensemble.init([4], [0, 1], d_in=3, d_out=1, activation=activation)
draw = torch.Generator().manual_seed(0)
x, t = (torch.randn(8, n, dtype=torch.float64, generator=draw) for n in (3, 1))
task = edt.Task(x, t, loss)
module = ens.to_module(0)
f = module(x)
torch.testing.assert_close(edt.predict(task, ens, backend="reference")[0], f)
plain = ((1 + (f - t).square()).sqrt() - 1).mean()
found, grad = edt.loss_and_grad(task, ens, backend="reference")
assert abs(float(found[0] - plain)) < 1e-14
grads = torch.autograd.grad(plain, list(module.parameters()))
torch.testing.assert_close(grad[: ens.offsets[1]], torch.cat([g.flatten() for g in grads]))

# Losses without a kernel are trained by the optimiser's own rule.
net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1)).double()
trained = edt.masked_train(
    edt.ModuleTask((x, t), torch.nn.functional.mse_loss), edt.ModuleEnsemble([net]),
    optimizer=optimizer, steps=5, lr=0.01, betas=(0.0, 0.9), record=None, progress=False,
)
rule = torch.optim.RMSprop(net.parameters(), lr=0.01, alpha=0.9)
for _ in range(5):
    rule.zero_grad()
    (net(x) - t).square().sum(-1).mean().backward()
    rule.step()
flat = torch.cat([p.detach().flatten() for p in net.parameters()])
torch.testing.assert_close(trained.networks.theta, flat, rtol=1e-10, atol=1e-12)
assert AXES["optimizer"].check("optimizer", optimizer) == optimizer
assert AXES["activation"].check("activation", activation) == activation

# The layer, on the sparse kernels of this core: values and slopes of torch's own.
from edt.nn import MaskedConv1d, sparsify
for kernel, stride, pad, gap, groups in ((3, 1, 0, 1, 1), (4, 2, 3, 1, 2), (2, 3, 1, 2, 1)):
    plain = torch.nn.Conv1d(4, 6, kernel, stride, pad, gap, groups, dtype=torch.float64)
    mask = torch.rand(plain.weight.shape, generator=draw) < 0.4
    with torch.no_grad():
        plain.weight.mul_(mask)
    layer = sparsify(plain, masks={"": mask}, kernel="sparse")
    assert type(layer) is MaskedConv1d and torch.equal(layer.mask, mask)
    signal = torch.randn(3, 4, 19, dtype=torch.float64, generator=draw, requires_grad=True)
    out = layer(signal)
    assert layer.compiled == 1
    torch.testing.assert_close(out, plain(signal), rtol=1e-12, atol=1e-13)
    weight = torch.randn(out.shape, dtype=torch.float64, generator=draw)
    wanted = torch.autograd.grad(plain(signal), [signal, plain.weight], weight)
    found = torch.autograd.grad(out, [signal, layer.weight], weight)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found[1], wanted[1] * mask, rtol=1e-12, atol=1e-13)

made = edt.tasks.parity(3)
assert (made.N, made.d_in) == (8, 3) and float(made.variance) == 1.0
assert sorted(made.y.flatten().tolist()) == [-1.0] * 4 + [1.0] * 4
"""


def test_the_walks_do_what_they_say(tree, said):
    """Both engines' formulas against PyTorch, and everything through the public functions."""
    (tree / "said").write_text(said)
    wanted = [WALKS[name][0] for name in MACROS.values()]
    done = subprocess.run(
        [sys.executable, "-c", IN_COPY, tree / "said", *wanted],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_class_is_a_task():
    """The page's class in every kind of verb."""
    (code,) = re.findall(r"```python\n(class Bounded.*?)```", walk("a task"), re.S)
    scope = {"edt": edt, "torch": torch}
    exec(code, scope)
    ens = edt.Ensemble.init([2, 3], [0], d_in=3, d_out=1, scale=3.0)
    data = edt.Task(torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 1, dtype=torch.float64))
    task, bound = scope["Bounded"](data, 1e-3), torch.full((2,), 1e-3, dtype=torch.float64)
    plain = torch.zeros(2, dtype=torch.float64)
    NormPenalty(data.objective(ens), bound).loss(ens.theta, plain)
    assert torch.equal(edt.loss(task, ens), plain) and bool((plain > edt.loss(data, ens)).all())
    trained = edt.masked_train(task, ens, steps=20, lr=0.01, progress=False)
    assert bool((trained.loss < plain).all())
    ended = edt.converge(task, ens, progress=False)
    assert bool((ended.loss < trained.loss).all())
    assert len(edt.hessian_spectrum(task, ens)) == 2
    flow = edt.gradient_flow(task, ens, max_time=0.01, record=None, progress=False)
    assert bool((flow.loss < plain).all())


@pytest.mark.skipif(os.environ.get("EDT_WALKS") != "full", reason="EDT_WALKS=full: minutes")
def test_the_whole_core(tree):
    """The tests that the walks change pass on a core with their additions."""
    for name in ("setup.py", "pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copy(ROOT / "tests" / "conftest.py", tree / "tests")
    env = {**os.environ, "PYTHONPATH": str(tree), "EDT_CUDA": "0", "EDT_ISAS": "native"}
    run = {"cwd": tree, "env": env, "check": True}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], **run)
    chosen = " or ".join(WALKS[name][0] for name in WALKS)
    files = ["ops/test_activations.py", "ops/test_losses.py", "training/test_optimizers.py"]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", chosen, *(f"tests/{file}" for file in files)],
        **run,
    )
