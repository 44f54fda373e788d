"""Rates by parameter, clipped gradients, momentum and batch size by network: as torch.optim."""

from __future__ import annotations

import pytest
import torch
from small_trainings import KINDS, same, small_training, threads
from torch import nn

import edt
from edt.training import Milestones, masked_train
from edt.training.epochs import epoch_order
from edt.training.lr_scale import lr_scales

FACTORS = {"weight": 0.5, "0.bias": 3.0, "2.bias": 0.0}
RULES = {
    "gd": ({"optimizer": "gd"}, lambda p, lr: torch.optim.SGD(p, lr, weight_decay=0.01)),
    "sgd": (
        {"optimizer": "sgd", "momentum": [0.9, 0.0, 0.5, 0.9], "dampening": 0.1},
        lambda p, lr, mu: torch.optim.SGD(p, lr, mu, dampening=0.1, weight_decay=0.01),
    ),
    "adam": ({"optimizer": "adam"}, lambda p, lr: torch.optim.Adam(p, lr, weight_decay=0.01)),
    "adamw": ({"optimizer": "adamw"}, lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.01)),
}
#: 40 steps of other orders of sums.
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


@pytest.fixture(params=KINDS)
def call(request, cases):
    """A function that trains, on every kind of engine there is on the CPU."""
    return small_training(request.param, cases)


def twin(call, b, make, lr, factors, clip, sizes, heavy):
    """Network b by torch.optim: its flat parameters after 40 steps."""
    module = call.networks.to_module(b)
    task, groups = call.task, []
    for name, parameter in module.named_parameters():
        role = name.split(".")[1]
        scale = factors.get(name, factors.get(role, 1.0))
        groups.append({"params": [parameter], "lr": lr * scale})
    given = (heavy[b],) if heavy else ()
    optimizer = make(groups, lr, *given)
    n, size = task.N, sizes[b]
    every = -(-n // size)
    for step in range(40):
        order = epoch_order(0, step // every, n)[step % every * size :][:size]
        if size == n:
            order = torch.arange(n)
        optimizer.zero_grad()
        (module(task.x[order]) - task.y[order]).square().sum(-1).mean().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])


@pytest.mark.parametrize("kind", ["chains", "modules"])
@pytest.mark.parametrize("rule", RULES)
def test_torch_takes_the_same_steps(cases, kind, rule):
    call = small_training(kind, cases)
    options, make = RULES[rule]
    sizes = [5, 23, 5, 8]
    found = call(
        lr=0.02, weight_decay=0.01, lr_scale=FACTORS, clip_norm=[0.3, 0.1, 2.0, 1e9],
        batch_size=sizes, **options,
    )  # fmt: skip
    clips, heavy = [0.3, 0.1, 2.0, None], options.get("momentum")
    for b in range(4):
        expected = twin(call, b, make, 0.02, FACTORS, clips[b], sizes, heavy)
        torch.testing.assert_close(cases.part(found.networks, b), expected, **CLOSE)
        # The last bias, whose rate is 0.
        assert torch.equal(cases.part(found.networks, b)[-1:], cases.part(call.networks, b)[-1:])


def options_of(call):
    draw = torch.Generator().manual_seed(3)
    scales = torch.rand(call.networks.total, generator=draw, dtype=torch.float64)
    more = {"lr_scale": scales, "clip_norm": [0.1, 0.2, 5.0, 0.3], "optimizer": "sgd", "record": 9}
    more |= {"momentum": [0.9, 0.0, 0.9, 0.5]}
    if call.kind != "chains":
        more["batch_size"] = [5, 7, 23, 5]
    return more


def test_alone_in_a_crowd_and_with_other_threads(call):
    more = options_of(call)
    with threads(1):
        whole = call(**more)
    if call.kind == "modules":  # whose bits may depend on company
        return same(whole, call(**more))
    with threads(2):
        same(whole, call(**more))
    b = 3
    span = slice(int(call.networks.offsets[b]), int(call.networks.offsets[b + 1]))
    only = {name: value[b] for name, value in more.items() if isinstance(value, list)}
    alone = call(call.networks[[b]], **{**more, **only, "lr_scale": more["lr_scale"][span]})
    assert torch.equal(alone.networks.theta, whole.networks.theta[span])
    return None


def test_cut_resumed_and_continued(call, tmp_path):
    more = options_of(call)
    whole = call(**more)
    cut = call(**more, checkpoint=tmp_path, max_seconds=0.0)
    assert cut.interrupted
    same(whole, call(**more, checkpoint=tmp_path))
    first = call(**{**more, "steps": 18})
    same(whole, call(given=None, continue_from=first, **more))


def test_what_changes_nothing_changes_no_bit(call):
    plain = call(record=9)
    ones = torch.ones(call.networks.total)
    same(plain, call(record=9, lr_scale=ones, clip_norm=1e9, momentum=[0.0] * 4))


def forward(x, matrices, biases, activation=torch.tanh):
    for layer, (w, b) in enumerate(zip(matrices, biases, strict=True)):
        x = x @ w.T + b
        if layer < len(matrices) - 1:
            x = activation(x)
    return x


#: name -> (factors of the weights, of the biases, of the rate) by width n, of three layers or two.
WRITTEN = {
    "ntk": lambda n: ([2**-0.5, n**-0.5, n**-0.5], [0.1] * 3, [1.0] * 3),
    "mup": lambda n: ([n**0.5, 1.0, n**-0.5], [n**0.5, n**0.5, 1.0], [1.0] * 3),
    "mean_field": lambda n: ([1.0, 1.0 / n], [1.0, 1.0], [n, n]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_parametrisations_are_what_they_say(cases, name):
    """The network written with its factors and trained by plain gradient descent."""
    n, task = 6, cases.task(n=11, seed=1)
    deep = name != "mean_field"
    ens = edt.Ensemble.init([(n, n) if deep else n], 3, d_in=2, d_out=1, scheme=name)
    weights, biases, rates = WRITTEN[name](n)
    layers = range(len(weights))
    small = [(ens.weight(0, k) / weights[k]).requires_grad_() for k in layers]
    shift = [(ens.bias(0, k) / biases[k]).requires_grad_() for k in layers]
    lr = 0.05
    for _ in range(20):
        out = forward(
            task.x,
            [w * c for w, c in zip(small, weights, strict=True)],
            [b * c for b, c in zip(shift, biases, strict=True)],
        )
        loss = (out - task.y).square().sum(-1).mean()
        grads = torch.autograd.grad(loss, [*small, *shift])
        with torch.no_grad():
            for k in layers:
                # The output's bias has no width: its rate is not multiplied.
                last = rates[k] if name != "mean_field" or k == 0 else 1.0
                small[k] -= lr * rates[k] * grads[k]
                shift[k] -= lr * last * grads[len(weights) + k]
    found = masked_train(
        task, ens, optimizer="gd", lr=lr, steps=20, lr_scale=name, progress=False
    ).networks
    for k in layers:
        torch.testing.assert_close(found.weight(0, k), (small[k] * weights[k]).detach(), **CLOSE)
        torch.testing.assert_close(found.bias(0, k), (shift[k] * biases[k]).detach(), **CLOSE)


def test_adam_moves_by_the_roots_of_these():
    ens = edt.Ensemble.init([(4, 9)], 0, d_in=3, d_out=2)
    for name in ("ntk",):
        slow, fast = lr_scales(name, ens, "sgd"), lr_scales(name, ens, "adam")
        torch.testing.assert_close(fast * fast, slow)
    found = lr_scales("mup", ens, "adam")
    sizes = [12, 4, 36, 9, 18, 2]
    expected = [1.0, 1.0, 1 / 4, 1.0, 1 / 9, 1.0]
    values = torch.cat([torch.full((k,), v) for k, v in zip(sizes, expected, strict=True)])
    torch.testing.assert_close(found, values.double())


def test_initial_values():
    options = {"d_in": 4, "d_out": 3, "dtype": torch.float64}
    ens = edt.Ensemble.init([(3, 7)], [1, 2], scheme="orthogonal", scale=2.0, **options)
    for layer in range(3):
        matrix = ens.weight(1, layer)
        few = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        # Gram-Schmidt twice: orthonormal to rounding.
        expected = 4.0 * torch.eye(few.shape[0], dtype=torch.float64)
        torch.testing.assert_close(few @ few.T, expected, rtol=0, atol=1e-14)
        assert not ens.bias(0, layer).any()
    alone = edt.Ensemble.init([(3, 7)], [2], scheme="orthogonal", scale=2.0, **options)
    assert torch.equal(alone.theta, ens.network(1).theta)

    seen = []

    def scheme(name, normals):
        seen.append((name, tuple(normals.shape)))
        return normals * (normals.shape[1] ** -0.5 if normals.ndim == 2 else 0.1)

    made = edt.Ensemble.init([(3, 7)], [1, 2], scheme=scheme, **options)
    ntk = edt.Ensemble.init([(3, 7)], [1, 2], scheme="ntk", **options)
    torch.testing.assert_close(
        made.theta, ntk.theta, rtol=1e-15, atol=0.0
    )  # roots by two libraries
    assert seen[0] == seen[1] == ("0.weight", (3, 4)) and seen[-1] == ("4.bias", (3,))
    mup = edt.Ensemble.init([64], range(30), scheme="mup", **options)
    last = torch.stack([mup.weight(b, 1) for b in range(30)])
    # 5,760 draws: their standard deviation is known to 1%, four of which are allowed.
    assert abs(float(last.std()) * 64 - 1.0) < 0.04


def test_milestones_are_those_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], 0.2)
    for step in range(10):
        assert Milestones((7, 3), 0.2)(step, 10) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"lr_scale": "muup"}, ValueError, "lr_scale must be one of 'ntk', 'mean_field', 'mup'"),
        ({"lr_scale": 2.0}, TypeError, "lr_scale must be one of .*got 2.0"),
        ({"lr_scale": [1.0]}, ValueError, r"lr_scale must have shape \[76\]"),
        ({"lr_scale": {"wieght": 1.0}}, ValueError, "lr_scale's keys must be one of .*'wieght'"),
        ({"lr_scale": {"weight": -1.0}}, ValueError, "lr_scale.'weight'. must be"),
        ({"lr_scale": -torch.ones(76)}, ValueError, r"lr_scale\[0\] must be a finite number >= 0"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be > 0, got 0.0"),
        ({"clip_norm": [1.0]}, ValueError, "clip_norm must be a number or have shape"),
        ({"batch_size": [5, 5]}, ValueError, r"batch_size must be an integer or have shape \[4\]"),
        ({"batch_size": [5, 0, 5, 5]}, ValueError, r"batch_size\[1\] must be >= 1, got 0"),
        ({"momentum": [0.1, 0, 0, 0]}, ValueError, "momentum, dampening and nesterov need"),
        (
            {"optimizer": "sgd", "momentum": [0.9, 0, 0, 0], "nesterov": True},
            ValueError,
            "nesterov=True needs momentum > 0",
        ),
        ({"lr_scale": "ntk", "device": "cuda"}, ValueError, "cuda|GPU"),
    ],
)
def test_bad_input(cases, wrong, error, words):
    with pytest.raises(error, match=words):
        small_training("chains", cases)(**wrong)


def test_bad_schemes(cases):
    options = {"d_in": 2, "d_out": 1, "activation": "tanh"}
    with pytest.raises(ValueError, match=r"scheme must return a tensor \[3, 2\] for '0.weight'"):
        edt.Ensemble.init([3], 0, scheme=lambda name, z: z[0], **options)
    with pytest.raises(ValueError, match="scheme must return finite numbers"):
        edt.Ensemble.init([3], 0, scheme=lambda name, z: z / 0.0, **options)
    deep = edt.Ensemble.init([(3, 3)], 0, **options)
    with pytest.raises(ValueError, match="defined for one hidden layer; 'mup'"):
        masked_train(cases.task(), deep, lr_scale="mean_field", progress=False)
    normed = edt.ModuleEnsemble([nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))])
    with pytest.raises(ValueError, match=r"lr_scale='ntk' is defined for .* '1.weight' of network"):
        lr_scales("ntk", normed, "sgd")


@pytest.mark.parametrize("name", ["ntk", "mean_field", "mup"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_parametrisations_of_modules_are_those_of_chains(name, optimizer):
    made = [nn.Sequential(nn.Linear(3, m), nn.Tanh(), nn.Linear(m, 2)).double() for m in (4, 7)]
    modules, chains = edt.ModuleEnsemble(made), edt.Ensemble.from_modules(made)
    one, other = (lr_scales(name, networks, optimizer) for networks in (modules, chains))
    # Blocks in order, however each kind lays its networks out.
    for b in range(2):
        factors = dict(modules.with_theta(one).to_module(b).named_parameters())
        for k, key in enumerate(("0", "2")):
            expected = chains.with_theta(other).weight(b, k)
            assert torch.equal(factors[f"{key}.weight"].detach(), expected)
            assert torch.equal(factors[f"{key}.bias"].detach(), chains.with_theta(other).bias(b, k))


def test_fan_in_of_a_convolution():
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(20, 2, bias=False))
    found = lr_scales("ntk", edt.ModuleEnsemble([net]), "sgd")
    expected = torch.cat(
        [torch.full((90,), 1 / 18), torch.full((5,), 0.01), torch.full((40,), 1 / 20)]
    )
    torch.testing.assert_close(found, expected.to(found.dtype))
