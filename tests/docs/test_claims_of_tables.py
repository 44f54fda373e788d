"""Every row of the tables that set edt beside another tool has code here that shows it.

A row without an entry fails, so does an entry without a row. What is said of the other tool is read
from its documentation and not tested.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import edt
from edt import curvature, lottery, nets
from edt.lottery import controls, criteria
from edt.lottery.iterative import iterative_pruning, magnitude
from edt.lottery.prune import prune_lowest

DOCS = Path(__file__).parents[2] / "docs"


@cache
def small() -> tuple[edt.Task, edt.Ensemble]:
    """A task and four networks of two widths."""
    task = edt.tasks.teacher_student(d_in=2, teacher_width=2, n=32)
    return task, edt.Ensemble.init([2, 3], range(2), d_in=2, d_out=1)


def train(networks: edt.Ensemble) -> tuple[edt.Ensemble, torch.Tensor]:
    result = edt.masked_train(small()[0], networks, steps=5, lr=0.01, progress=False)
    return result.networks, result.loss


def parameters_of(call: Any) -> set[str]:
    return set(inspect.signature(call).parameters)


def rewinding() -> bool:
    other = small()[1].with_theta(2 * small()[1].theta)
    (_, last) = iterative_pruning(small()[1], train, rounds=1, share=0.5, rewind=other)
    live = last.start.state == 1
    return torch.equal(last.start.theta[live], other.theta[live])


def shares_and_scopes() -> bool:
    ens = small()[1]
    scores = magnitude(ens)
    states = [prune_lowest(ens, scores, share, scope) for share, scope in (
        (0.5, "global"), (0.5, "layer"), ([0.5, 0.25], "layer"), (0.5, "neuron"))]  # fmt: skip
    return all(bool((state == 0).any()) for state in states)


def pruned_cost_nothing() -> bool:
    """The compiled structure holds what is left, not a mask."""
    dense = edt.Ensemble.init([32], [0], d_in=4, d_out=1)
    sparse = dense.with_sparsity([0.9, 0.0])
    return int(sparse.coords) < int(dense.coords)


def same_bits_alone() -> bool:
    task, ens = small()
    together = edt.masked_train(task, ens, steps=5, progress=False).networks
    alone = edt.masked_train(task, ens[[2]], steps=5, progress=False).networks
    return torch.equal(together.network(2).theta, alone.theta)


def any_module() -> bool:
    modules = edt.ModuleEnsemble.build(nets.residual_mlp, [0.25], range(2), dtype=torch.float64)
    return bool(torch.isfinite(edt.loss(small()[0], modules)).all())


def exact_hessians() -> bool:
    task, ens = small()
    twin = edt.hessian(task, ens, backend="reference")
    return all(
        torch.allclose(mine, theirs, rtol=1e-9, atol=1e-11)
        for mine, theirs in zip(edt.hessian(task, ens), twin, strict=True)
    )


def flows_then_settles() -> bool:
    task, ens = small()
    flow = edt.gradient_flow(task, ens[[0]], max_time=0.1, progress=False)
    end = edt.converge(task, flow.networks, lbfgs_steps=20, newton_steps=5, progress=False)
    return bool((end.loss <= flow.loss + 1e-12).all())


def empirical_fisher() -> bool:
    (matrix, *_) = curvature.fisher(*small(), kind="empirical")
    vector = torch.ones(small()[1].total, dtype=torch.float64)
    found = curvature.fisher_product(*small(), vector, kind="empirical")[: len(matrix)]
    return torch.allclose(found, matrix.sum(1))


def fisher_of_squared_errors() -> bool:
    """A Gaussian likelihood's is the Gauss-Newton matrix, up to the scale of the loss."""
    vector = torch.ones(small()[1].total, dtype=torch.float64)
    found = curvature.fisher_product(*small(), vector)
    known = edt.ggn_vp(small()[1], small()[0], vector[None])[0]
    return bool(((found / known).max() - (found / known).min()).abs() < 1e-6)


def inverses() -> bool:
    vector = torch.ones(small()[1].total, dtype=torch.float64)
    found = curvature.inverse_product(*small(), vector, method="cg")
    return float(found.residual.max()) < 1e-6


def kronecker() -> bool:
    vector = torch.ones(small()[1].total, dtype=torch.float64)
    factors = [curvature.kfac(*small(), corrected=corrected) for corrected in (False, True)]
    layers = curvature.kfac(*a_module(), sharing="reduce").layers[0]
    return all(bool(f.inverse_product(f.product(vector)).isfinite().all()) for f in factors) and (
        len(layers) == 5
    )


def a_module() -> tuple[edt.ModuleTask, edt.ModuleEnsemble]:
    networks = edt.ModuleEnsemble.build(
        lambda width, seed: nets.lenet5(width, seed, shape=(1, 8, 8)), [0.25], [0],
        input_shape=(1, 8, 8),
    )  # fmt: skip
    return edt.ModuleTask((torch.ones(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))), networks


def refused(call: Callable[[], Any], words: str) -> bool:
    with pytest.raises((TypeError, ValueError), match=words):
        call()
    return True


#: How verbs say that they need neurons.
CHAINS = "defined for chains of one activation"


def plain_modules() -> tuple[edt.ModuleTask, edt.ModuleEnsemble]:
    """A task of modules and two of them."""
    x, y = torch.zeros(3, 2), torch.zeros(3, 1)
    return edt.ModuleTask((x, y)), edt.ModuleEnsemble([nn.Linear(2, 1), nn.Linear(2, 1)])


def splits_of_modules() -> bool:
    """A channel is split and the function stays; ends are sorted; a norm among stages is named."""
    parts = [nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1)]
    networks = edt.ModuleEnsemble([nn.Sequential(*parts)], input_shape=(1, 3, 3))
    blank = (torch.ones(2, 9), torch.zeros(2, 1))
    wide = edt.embed.split(networks, neuron=0, mu=0.4).networks
    same = torch.allclose(edt.predict(wide, blank), edt.predict(networks, blank), atol=1e-6)
    ends = edt.landscape.find_minima(
        edt.Task(*blank), networks.to(torch.float64), steps=1, lbfgs_steps=1, newton_steps=0,
        progress=False,
    )  # fmt: skip
    same = same and len(edt.landscape.census(edt.Task(*blank), ends).runs) == 1
    parts[1] = nn.BatchNorm2d(2)
    other = edt.ModuleEnsemble([nn.Sequential(*parts)], input_shape=(1, 3, 3))
    return same and refused(lambda: edt.embed.split(other), "stage '1' is BatchNorm2d")


def aligned_paths() -> bool:
    """Channels in another order are the same network; a norm among stages is named."""
    parts = [nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1)]
    one = edt.ModuleEnsemble([nn.Sequential(*parts)], input_shape=(1, 3, 3)).to(torch.float64)
    other = copy.deepcopy(nn.Sequential(*parts))
    with torch.no_grad():
        for each in (other[0].weight, other[0].bias):
            each.copy_(each.flip(0))
        last = other[3].weight
        last.copy_(last.view(1, 2, 4).flip(1).view(1, 8))
    data = edt.Task(torch.rand(4, 9), torch.ones(4, 1))
    moved = edt.ModuleEnsemble([other], input_shape=(1, 3, 3)).to(torch.float64)
    found = edt.landscape.connect(data, one, moved, curve=None, points=3, progress=False)
    parts[1] = nn.BatchNorm2d(2)
    norm = edt.ModuleEnsemble([nn.Sequential(*parts)], input_shape=(1, 3, 3))
    return float(found.distance_after) < 1e-12 < float(found.distance_before) and refused(
        lambda: edt.landscape.connect(data, norm, norm), "stage '1' is BatchNorm2d.*align=False"
    )


def refused_for_modules(call: Callable[[Any, Any], Any]) -> Callable[[], bool]:
    return lambda: refused(lambda: call(*plain_modules()), CHAINS)


def unlike_chains() -> bool:
    ens = small()[1]
    deep = edt.Ensemble.init([(2, 2)], [0], d_in=2, d_out=1)
    relu = edt.Ensemble.init([2], [0], d_in=2, d_out=1, activation="relu")
    return all(
        refused(lambda other=other: edt.Ensemble.concat([ens, other]), f"agree in {word}")
        for other, word in ((deep, "depth"), (relu, "activation"))
    )


def hooks() -> bool:
    module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    module[0].register_forward_hook(lambda *_: None)
    return refused(
        lambda: edt.Ensemble.from_modules([module]), "hook.*edt.ModuleEnsemble"
    ) and bool(edt.ModuleEnsemble([module]).B)


def loader(shuffle: bool) -> edt.ModuleTask:
    data = TensorDataset(torch.zeros(4, 2), torch.zeros(4, 1))
    return edt.ModuleTask(DataLoader(data, batch_size=2, shuffle=shuffle), "mse")


def by_batches_by_name_by_task() -> bool:
    task, networks = loader(False), plain_modules()[1]
    some = edt.only(networks, "bias")
    both = edt.tasks.TaskSum([task, plain_modules()[0]], weights=[0.5, 0.5])
    return (
        edt.hessian(task, some)[0].shape == (1, 1)
        and bool(torch.isfinite(edt.loss(both, networks)).all())
        and "2 batches" in repr(task)
    )


def own_step() -> bool:
    task = edt.ModuleTask([{"x": torch.ones(3, 2)}], step=lambda m, b: m(b["x"]).square().mean())
    return bool((edt.loss_and_grad(task, plain_modules()[1])[1] != 0).any())


def own_loss() -> bool:
    data = small()[0]
    task = edt.tasks.FunctionTask(data.x, data.y, lambda f, y: (f - y).square().sum(1), d_out=1)
    return torch.allclose(edt.loss(task, small()[1]), edt.loss(*small()))


def closed_form_of_ways_down() -> bool:
    """At the minimum of one neuron, which cannot be the teacher's two."""
    task = small()[0]
    bottom = edt.converge(
        task, edt.Ensemble.init([1], [0], d_in=2, d_out=1), progress=False
    ).networks
    here = edt.count_directions(task, bottom)
    signs = (int(here.n_neg), int(here.n_zero), int(here.n_pos))
    wide = edt.embed.split_every(bottom, mu=0.5).networks
    told = [
        edt.predicted_inertia(signs, one, mu=0.5)[0] for one in edt.split_matrices(task, bottom)
    ]
    return told == edt.escape_dimensions(task, wide).tolist()


def labelled() -> bool:
    task, ens = small()
    bottom = edt.converge(task, ens, progress=False).networks
    return set(edt.certify(task, bottom).to_pandas()["label"]) <= set(edt.landscape.LABELS)


def to_the_bottom() -> bool:
    task, ens = small()
    found = edt.converge(task, ens, progress=False)
    return bool((found.grad_max < 1e-10).any()) and "index" in found.to_pandas()


def modes_of_batch_norm() -> bool:
    norm = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    networks, draw = edt.ModuleEnsemble([norm]), torch.Generator().manual_seed(0)
    data = (torch.randn(6, 2, generator=draw), torch.ones(6, 1))
    plain, train = edt.ModuleTask(data), edt.ModuleTask(data, mode="train")
    after = edt.masked_train(plain, networks, steps=1, record=None, progress=False).networks
    buffers = networks.role_mask("buffer")
    return not torch.allclose(edt.loss(plain, networks), edt.loss(train, networks)) and bool(
        (after.theta != networks.theta)[buffers].any()
    )


def without_vmap() -> bool:
    class Branches(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if float(self.weight.sum()) > -1e9 else x

    made = [Branches(2, 1), nn.Linear(2, 1)]
    made[1].load_state_dict(made[0].state_dict())
    data = edt.ModuleTask((torch.ones(3, 2), torch.zeros(3, 1)))
    found = edt.loss(data, edt.ModuleEnsemble(made))
    return bool(torch.isclose(found[0], found[1]))


def same_modules_same_bits() -> bool:
    task, networks = a_module()
    return torch.equal(edt.loss_and_grad(task, networks)[1], edt.loss_and_grad(task, networks)[1])


def natural() -> bool:
    task, networks = plain_modules()
    vector = torch.ones(networks.total)
    return kronecker() and bool(
        torch.isfinite(curvature.fisher_product(task, networks, vector)).all()
    )


def tickets() -> bool:
    recipe = lottery.ModuleRecipe(
        lambda width, seed: nets.lenet5(width, seed, shape=(1, 8, 8)), (1, 8, 8)
    )
    start = recipe.start([0.25], [0])
    ticket = lottery.Tickets.of(start, prune_lowest(start, start.theta.abs(), 0.5) != 0)
    made = lottery.perturb_rest(ticket, "resample", [1.0], 1, recipe=recipe)
    kept = ticket.keep & start.role_mask("weight")
    return torch.equal(made.networks.theta[kept], start.theta[kept]) and bool(
        (made.networks.theta != start.theta)[ticket.rest].any()
    )


def kept_in_memory() -> bool:
    """A loader is read when the task is made, and never again."""
    read = []

    class Counting(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return super().__getitem__(index)

    data = Counting(torch.ones(4, 2), torch.zeros(4, 1))
    task = edt.ModuleTask(DataLoader(data, batch_size=2), "mse")
    before = len(read)
    edt.loss_and_grad(task, plain_modules()[1])
    return len(read) == before == 4


def glorot() -> bool:
    ens = edt.Ensemble.init([5], [0], d_in=2, d_out=1, scheme="glorot")
    return not ens.bias(0, 0).any() and bool(ens.weight(0, 0).any())


CLAIMS: dict[str, dict[str, Callable[[], Any]]] = {
    "migrating/open_lth.md": {
        "`--levels`": lambda: "rounds" in parameters_of(iterative_pruning),
        "`--pruning_fraction`": lambda: shares_and_scopes(),
        "`--rewinding_steps`": rewinding,
        "`--replicate`": lambda: small()[1].B == 4,
        "branches `randomly_reinitialize`, `randomly_prune`": lambda: callable(controls.control),
        "models": any_module,
        "CIFAR-10": lambda: "folder" in parameters_of(edt.tasks.cifar10),
        "ImageNet, several GPUs for one run": lambda: not hasattr(edt.tasks, "imagenet"),
    },
    "migrating/pyhessian.md": {
        "`hessian(model, criterion, data)`": lambda: edt.hessian(*small()),
        "`.eigenvalues(top_n=k)`: power iteration, largest in magnitude": lambda: all(
            hasattr(pair, "residuals") or hasattr(pair, "errors")
            for pair in edt.extreme_eigenpairs(*small(), k=1)
        ),
        "`.trace()`: Hutchinson": lambda: edt.hessian_trace(*small(), method="hutchinson")
        and edt.hessian_trace(*small()),
        "`.density()`": lambda: edt.spectral_density(*small()),
        "any module and criterion": any_module,
    },
    "migrating/hessian_eigenthings.md": {
        "`HessianOperator`": lambda: edt.HessianOperator(*small()).shape[0] > 0,
        "`GGNOperator`": lambda: edt.hessian_trace(*small(), ggn=True),
        "`EmpiricalFisherOperator`": empirical_fisher,
        "`param_filter=match_names(...)`": lambda: (
            int(edt.only(plain_modules()[1], "bias").coords[0]) < int(plain_modules()[1].coords[0])
        ),
        "`lanczos`, `deflated_power_iteration`": lambda: edt.extreme_eigenpairs(*small(), k=1),
        "`trace`, `hutchinson`, `hutch_plus_plus`": lambda: [
            edt.hessian_trace(*small(), method=name) for name in ("hutchinson", "hutch++")
        ],
        "`spectral_density`": lambda: edt.spectral_density(*small()),
        "`hf_lm_loss` and other losses of batches": own_step,
        '`HessianOperator(method="finite_difference")`, `DDPHessianOperator`': lambda: not (
            {"method", "ddp"} & parameters_of(edt.HessianOperator)
        ),
    },
    "migrating/curvlinops.md": {
        "`HessianLinearOperator`": lambda: edt.HessianOperator(*small()).shape[0] > 0,
        "`GGNLinearOperator`": lambda: edt.HessianOperator(*small(), ggn=True).shape[0] > 0,
        "`op @ torch.eye(P)` for the matrix": exact_hessians,
        "`hutchpp_trace`, `hutchinson_trace`, `xtrace`": lambda: [
            edt.hessian_trace(*small(), method=name) for name in ("hutch++", "hutchinson", "xtrace")
        ],
        "`hutchinson_diag`, `xdiag`": lambda: [
            edt.hessian_diagonal(*small(), method=name) for name in ("hutchinson", "xdiag")
        ],
        "`EFLinearOperator`": empirical_fisher,
        "`FisherMCLinearOperator`": fisher_of_squared_errors,
        "`CGInverseLinearOperator`": inverses,
        "`NeumannInverseLinearOperator`, `LSMRInverseLinearOperator`": lambda: [
            curvature.inverse_product(*small(), small()[1].theta, method=name)
            for name in ("neumann", "lsmr")
        ],
        "`KFACLinearOperator`, `EKFACLinearOperator`, `KFACInverseLinearOperator`": kronecker,
        "`SubmatrixLinearOperator`": lambda: [
            tuple(cut.shape) == (2, 2) for cut in curvature.submatrix(*small(), torch.arange(2))
        ],
        "any module": any_module,
        "`FisherType.MC`, `FisherType.FORWARD_ONLY` of K-FAC": lambda: [
            curvature.kfac(*small(), kind=kind) for kind in ("mc", "forward")
        ],
    },
    "what.md": {
        "train networks of unlike widths, seeds and masks in one call": lambda: (
            small()[1].total == int((small()[1].offsets[1:] - small()[1].offsets[:-1]).sum())
            and train(small()[1])
        ),
        "leave out what is pruned": pruned_cost_nothing,
        "form exact Hessians of chains in closed form": exact_hessians,
        "go down until the gradient is rounding": to_the_bottom,
        "tell minima from channels, saturated and drifting ends": labelled,
        "predict the ways down that a split neuron opens": closed_form_of_ways_down,
        "give the same bits alone or among others, of chains on the CPU": same_bits_alone,
        "go on after an interruption with the same bits": lambda: all(
            name in parameters_of(edt.masked_train) for name in ("checkpoint", "resume")
        ) and "fresh" in parameters_of(edt.sweep),
        "take any `torch.nn.Module`": any_module,
        "take a loss of `(module, batch)` with batches of any form": own_step,
        "measure curvature over batches, of some parameters, of several tasks": (
            by_batches_by_name_by_task
        ),
        "find tickets, and draw everything around them again": tickets,
        "Hessians of modules": lambda: [
            edt.hessian(*plain_modules()), edt.HessianOperator(*plain_modules()).shape
        ],
        "a loss of your own": own_loss,
        "batch norm and dropout": modes_of_batch_norm,
        "bits of modules": same_modules_same_bits,
        "modules that `vmap` refuses": without_vmap,
        "natural gradients": natural,
        "bad minima, splits, embeddings, escapes, censuses of units of modules": splits_of_modules,
        "channels of modules": refused_for_modules(edt.certify),
        "units of modules put in the same order before a path": aligned_paths,
        "K-FAC of norms, embeddings and grouped convolutions": lambda: refused(
            lambda: curvature.kfac(
                edt.ModuleTask((torch.ones(3, 2), torch.zeros(3, 2))),
                edt.ModuleEnsemble([nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))]),
            ),
            "freeze other parameters",
        ),
        "networks of unlike depth or activation in one `edt.Ensemble`": unlike_chains,
        "a module with hooks or layers of its own as a chain": hooks,
        "half precision": lambda: refused(
            lambda: edt.ModuleEnsemble([nn.Linear(2, 1).half()]), "float32 or float64"
        ),
        "a loader that shuffles": lambda: refused(lambda: loader(True), "data shuffles"),
        "data that do not fit in memory": kept_in_memory,
        "one network over several GPUs or machines": lambda: not (
            {"devices", "world_size", "nodes"} & parameters_of(edt.masked_train)
        ),
    },
    "migrating/vmap.md": {
        "widths in one call": lambda: len(set(small()[1].layer_widths[:, 1].tolist())) == 2,
        "pruned weights": pruned_cost_nothing,
        "architectures": any_module,
        "Hessians": exact_hessians,
        "bits of a network": same_bits_alone,
    },
    "migrating/mlpgradientflow.md": {
        "`Net(layers = ((5, softplus, true), ...))`": lambda: edt.Ensemble.init(
            [5], d_in=2, d_out=1, activation="softplus", bias=True
        ),
        "`random_params(net)`": glorot,
        "`loss`, `gradient`": lambda: torch.equal(
            edt.loss(*small()), edt.loss_and_grad(*small())[0]
        ),
        "`hessian`, `hessian_spectrum`": lambda: len(edt.hessian_spectrum(*small())) == 4,
        "`train` (ODE, then optimiser)": flows_then_settles,
        "`TeacherNet`": lambda: small()[0].N == 32,
        "`split_neuron`, `grow_net`": lambda: callable(edt.embed.split) and callable(
            edt.landscape.grow
        ),
        "`g`, `softplus`, `sigmoid2`, `gelu`, ...": lambda: (
            {"g", "softplus", "erf", "gelu"} <= set(edt.ensemble.ACTIVATIONS)
        ),
    },
    "lottery.md": {
        "iterative magnitude pruning, rewinding to step k": rewinding,
        "different task or schedule for the first k steps (pretraining)": rewinding,
        "ranking": shares_and_scopes,
        "other criteria": lambda: all(
            callable(getattr(criteria, name))
            for name in ("random_scores", "snip", "grasp", "obd", "obs_prune", "edge_popup")
        ),
        "random masks": lambda: small()[1].with_sparsity([0.5, 0.0]),
        "new weights under the mask": lambda: callable(controls.control),
        "retrain a ticket with other hyper-parameters": lambda: train(small()[1]),
        "perturbed rests, adversarial rests, smallest failing change": lambda: all(
            import_module(f"edt.lottery.{name}")
            for name in ("perturbations", "adversary", "bisection")
        ),
        "wide networks against their tickets (multi-start)": lambda: import_module(
            "edt.lottery.multistart"
        ),
        "models": lambda: any_module() and nets.vgg16 and len(edt.ensemble.ACTIVATIONS) == 15,
        "data": lambda: all(
            hasattr(edt.tasks, name)
            for name in ("mnist", "fashion_mnist", "cifar10", "cifar100", "digits", "mnist1d",
                         "breast_cancer", "teacher_student")
        ),
        "networks trained at once": lambda: train(small()[1]),
        "pruned weights": pruned_cost_nothing,
        "GPU": lambda: "measured" in (DOCS.parent / "README.md").read_text(),
        "repeats": lambda: "seeds" in parameters_of(edt.masked_train),
        "same bits on any number of threads, after interruption": same_bits_alone,
        "results": lambda: train(small()[1]),
        "resume": lambda: "resume" in parameters_of(edt.masked_train),
    },
}  # fmt: skip


def rows(page: str) -> list[str]:
    """First cells of the tables of a page that name another tool in their head."""
    text = (DOCS / page).read_text()
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *body = table.splitlines()
        if "edt" in head.split("|")[-2]:
            found += [line.split("|")[1].strip() for line in body]
    return found


@pytest.mark.parametrize("page", CLAIMS)
def test_every_row_has_its_code(page: str) -> None:
    assert rows(page) == list(CLAIMS[page])


@pytest.mark.parametrize(
    "page, row", [(page, row) for page, claims in CLAIMS.items() for row in claims]
)
def test_the_row_is_so(page: str, row: str) -> None:
    shown = CLAIMS[page][row]()
    assert shown is not None and shown is not False


def test_no_page_of_migration_is_forgotten() -> None:
    pages = {f"migrating/{path.name}" for path in (DOCS / "migrating").glob("*.md")}
    assert {page for page in pages if rows(page)} == {p for p in CLAIMS if p.startswith("migr")}
