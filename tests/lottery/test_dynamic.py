"""Masks that move during training against small implementations in torch, and their bits."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from small_trainings import KINDS, same, small_training, threads

import edt
from edt.ensemble import Ensemble
from edt.lottery.criteria import grasp, synflow, synflow_prune
from edt.lottery.dynamic import SET, GradualPruning, RigL
from edt.lottery.prune import density, keep_highest
from edt.training import masked_train

#: 60 steps of sums in other orders, of Adam, which divides by roots of small numbers.
CLOSE = {"rtol": 1e-7, "atol": 1e-9}
STEPS = 60


def gradual(step, weights, gradients, masks):
    """Zhu and Gupta's law in their words, magnitudes layer by layer."""
    share = 0.6 * (1.0 - (1.0 - min(step / 45, 1.0)) ** 3)
    for weight, mask in zip(weights, masks, strict=True):
        keep = max(int((1.0 - share) * weight.numel() + 0.5), 1)
        score = torch.where(mask, weight.abs(), -1.0).flatten()
        chosen = score.topk(min(keep, int(mask.sum()))).indices
        mask.fill_(False).view(-1)[chosen] = True


def rigl(step, weights, gradients, masks):
    """Algorithm 1 of Evci et al."""
    share = 0.3 / 2 * (1 + math.cos(step * math.pi / 45))
    for weight, gradient, mask in zip(weights, gradients, masks, strict=True):
        count = int(share * int(mask.sum()))
        size = torch.where(mask, weight.abs(), math.inf).flatten()
        mask.view(-1)[size.topk(count, largest=False).indices] = False
        slope = torch.where(mask, -1.0, gradient.abs()).flatten()
        mask.view(-1)[slope.topk(count).indices] = True


def plain(ens, b):
    """Network b without the hooks of its masks, its pruned weights 0."""
    rows = ens.layer_widths[b].tolist()
    layers = [torch.nn.Linear(i, o, dtype=torch.float64) for i, o in pairwise(rows)]
    for layer, linear in enumerate(layers):
        linear.weight.data.copy_(ens.weight(b, layer))
        linear.bias.data.copy_(ens.bias(b, layer))
    between = [part for linear in layers for part in (linear, torch.nn.Tanh())]
    return torch.nn.Sequential(*between[:-1])


def by_hand(ens, b, task, rule, start):
    """Network b under Adam with masks that ``rule`` changes every 15 steps from ``start`` on."""
    module = plain(ens, b)
    weights = [p for p in module.parameters() if p.ndim == 2]
    masks = [ens.weight_mask(b, layer).clone() for layer in range(ens.depth + 1)]
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for step in range(STEPS):
        loss = (module(task.x) - task.y).square().sum(-1).mean()
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        dense = [g for g in gradients if g.ndim == 2]
        if step % 15 == 0 and start <= step <= 45 and not (rule is rigl and step == 45):
            before = [mask.clone() for mask in masks]
            with torch.no_grad():
                rule(step, weights, dense, masks)
                for weight, old, new in zip(weights, before, masks, strict=True):
                    weight[old != new] = 0.0
                    for moment in ("exp_avg", "exp_avg_sq"):
                        if weight in optimizer.state:
                            optimizer.state[weight][moment][old != new] = 0.0
            loss = (module(task.x) - task.y).square().sum(-1).mean()
            gradients = torch.autograd.grad(loss, list(module.parameters()))
        for parameter, gradient in zip(module.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        for weight, mask in zip(weights, masks, strict=True):
            weight.grad *= mask
        optimizer.step()
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    return flat, torch.cat([mask.reshape(-1) for mask in masks])


@pytest.mark.parametrize("kind", ["chains", "modules"])
@pytest.mark.parametrize(
    "update, rule, start, sparsity",
    [
        (GradualPruning(0.6, end=45, every=15), gradual, 0, 0.0),
        (RigL(every=15, end=45), rigl, 15, 0.3),
    ],
)
def test_small_implementations_take_the_same_steps(cases, kind, update, rule, start, sparsity):
    task = cases.task(n=19, seed=1)
    ens = Ensemble.init([(7, 6), (9, 5)], range(2), d_in=2, d_out=1, sparsity=sparsity)
    given = ens
    if kind == "modules":
        modules = [plain(ens, b) for b in range(4)]
        given = edt.ModuleEnsemble(modules).with_state(ens.state)
    found = masked_train(
        task, given, steps=STEPS, lr=0.02, mask_updates=update, progress=False, device="cpu"
    ).networks
    for b in range(4):
        theta, mask = by_hand(ens, b, task, rule, start)
        torch.testing.assert_close(cases.part(found, b), theta, **CLOSE)
        at = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        weights = torch.cat(
            [torch.full((n,), w) for layer in range(3) for n, w in sizes(ens, b, layer)]
        )
        assert torch.equal(found.state[at][weights].bool(), mask)


def sizes(ens, b, layer):
    return (ens.weight(b, layer).numel(), True), (ens.bias(b, layer).numel(), False)


def test_set_exchanges_by_sign_and_at_random():
    ens = Ensemble.init([30, 30], range(2), d_in=4, d_out=2, sparsity=0.5)
    update = SET(every=10, fraction=0.3, seed=(1, 2, 3, 4))
    task = edt.Task(torch.randn(5, 4).double(), torch.randn(5, 2).double())
    index = torch.zeros(4, dtype=torch.int64)
    found = update(10, 100, ens, task, index)
    for b in range(4):
        at = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        fresh = ens.network(b).with_state(found[at])
        for layer in range(2):
            before, after = ens.weight_mask(b, layer), fresh.weight_mask(0, layer)
            assert int(before.sum()) == int(after.sum())
            gone, weight = before & ~after, ens.weight(b, layer)
            for sign in (1.0, -1.0):
                live = before & (weight * sign > 0)
                most = int(0.3 * int(live.sum()))
                lost = weight[gone & live].abs()
                # Of these some have grown again, by chance.
                assert lost.numel() <= most
                assert (lost <= weight[live].abs().sort().values[most - 1]).all()
        assert torch.equal(ens.bias_mask(b, 0), fresh.bias_mask(0, 0))
    assert not torch.equal(found, update(20, 100, ens, task, index))
    # Equal networks and seeds grow alike, others do not.
    alone = SET(every=10, seed=3)(10, 100, ens[[2]], task, index[:1])
    at = slice(int(ens.offsets[2]), int(ens.offsets[3]))
    assert torch.equal(alone, found[at])
    grown = torch.stack([SET(seed=k)(10, 100, ens[[0]], task, index[:1]) for k in range(40)])
    absent = ens[[0]].state == 0
    share = (grown[:, absent] == 1).double().mean()
    count = int((ens[[0]].state == 1).sum()) - 32
    # A binomial proportion of 40 draws for each of 120 places: standard deviation below 0.006.
    assert abs(float(share) - 0.3 * count / (count + 0.3 * count)) < 0.05


def test_set_as_in_its_code_drops_every_zero():
    ens = Ensemble.init([30], [0], d_in=4, d_out=2, sparsity=0.5)
    theta = ens.theta.clone()
    live = torch.nonzero((ens.state == 1) & (theta != 0.0)).flatten()
    theta[live[::5]] = 0.0
    ens = ens.with_theta(theta)
    task = edt.Task(torch.randn(5, 4).double(), torch.randn(5, 2).double())
    index = torch.zeros(1, dtype=torch.int64)
    for zeros in (True, False):
        rule = SET(every=10, fraction=0.3, zeros=zeros)
        fresh = ens.with_state(rule(10, 100, ens, task, index))
        counts = []
        for layer in range(2):
            before, after = ens.weight_mask(0, layer), fresh.weight_mask(0, layer)
            weight = ens.weight(0, layer)
            assert int(before.sum()) == int(after.sum())
            positive, zero = before & (weight > 0), before & (weight == 0)
            negative = before & (weight < 0)
            gone = int(0.3 * int(positive.sum())) + (
                int(zero.sum()) + int(0.3 * int(negative.sum()))
                if zeros
                else int(0.3 * int((negative | zero).sum()))
            )
            # What grew again, by chance, has come and gone.
            counts.append((int((before & ~after).sum()), gone))
            if zeros:
                moved = positive | negative
                kept = weight[moved & after].abs().min()
                assert kept > 0 and int(zero.sum()) > 0
        assert all(lost <= most for lost, most in counts)
        assert sum(lost for lost, _ in counts) > 0.5 * sum(most for _, most in counts)


@pytest.fixture(params=KINDS)
def call(request, cases):
    """A function that trains, on every kind of engine there is on the CPU."""
    return small_training(request.param, cases)


UPDATES = [GradualPruning(0.7, end=30, every=7), SET(every=6), RigL(every=8)]


@pytest.mark.parametrize("update", UPDATES, ids=lambda update: type(update).__name__)
def test_bits_do_not_depend_on_company_threads_or_cuts(call, update, tmp_path):
    state = call.networks.state.clone()
    state[::5] = 0
    sparse = call.networks.with_state(state)
    options = {"mask_updates": update, "record": 8, "record_params": True}
    with threads(1):
        whole = call(given=sparse, **options)
    assert not torch.equal(whole.networks.state, sparse.state)
    assert not whole.networks.theta[whole.networks.state == 0].any()
    cut = call(given=sparse, **options, checkpoint=tmp_path, max_seconds=0.0)
    assert cut.interrupted
    with threads(2):
        same(whole, call(given=sparse, **options, checkpoint=tmp_path))
    heard = []

    def interrupt(step, networks, losses):
        heard.append(networks.state.clone())
        if step == 24 and len(heard) == 4:
            raise KeyboardInterrupt

    first = call(given=sparse, **options, on_record=interrupt)
    assert first.steps.tolist() == [24] * 4
    same(whole, call(given=None, continue_from=first, **options))
    if call.kind != "modules":
        with threads(2):
            alone = call(given=sparse[[3]], **options)
        at = slice(int(sparse.offsets[3]), int(sparse.offsets[4]))
        assert torch.equal(alone.networks.theta, whole.networks.theta[at])
        assert torch.equal(alone.networks.state, whole.networks.state[at])


def test_the_best_parameters_keep_their_masks(cases):
    task, other = cases.task(n=12, seed=1), cases.task(n=30, seed=2)
    ens = Ensemble.init([12], range(3), d_in=2, d_out=1)
    result = masked_train(
        task, ens, steps=200, lr=0.05, mask_updates=GradualPruning(0.9, end=150, every=10),
        validation=other, validate_every=10, progress=False, device="cpu",
    )  # fmt: skip
    assert int(result.validation.step.min()) < 150
    torch.testing.assert_close(
        edt.loss(other, result.validation.best), result.validation.loss, rtol=0, atol=0
    )
    assert (density(result.validation.best) >= density(result.networks)).all()
    assert density(result.networks).tolist() == [3 / 36] * 3


def test_networks_keep_a_path():
    ens = Ensemble.init([3], range(20), d_in=2, d_out=1)
    state = keep_highest(ens, ens.theta.abs(), 0.01)
    from edt.lottery.connectivity import connected

    assert connected(ens.with_state(state)).all()


def test_synflow_is_the_gradient_of_its_sum():
    ens = Ensemble.init([(5, 4)], range(3), d_in=3, d_out=2, sparsity=0.3)
    found = synflow(ens)
    for b in range(3):
        weights = [ens.weight(b, k).detach().abs().requires_grad_() for k in range(3)]
        flow = torch.ones(3, dtype=torch.float64)
        for weight in weights:
            flow = weight @ flow
        grads = torch.autograd.grad(flow.sum(), weights)
        expected = torch.cat(
            [(g * w).detach().flatten() for g, w in zip(grads, weights, strict=True)]
        )
        mine = torch.cat([found_of(ens, found, b, k) for k in range(3)])
        torch.testing.assert_close(mine / mine.sum(), expected / expected.sum())
        # Conserved: every layer carries the whole flow.
        sums = [float(found_of(ens, found, b, k).sum()) for k in range(3)]
        assert sums == pytest.approx([sums[0]] * 3)


def found_of(ens, scores, b, layer):
    at = int(ens.layout.weight_at[b, layer])
    return scores[at : at + ens.weight(b, layer).numel()]


def test_synflow_in_rounds_cuts_no_layer():
    """100 weights of 6 layers of width 100, where one round cuts a layer altogether."""
    ens = Ensemble.init([(20,) * 5], range(3), d_in=20, d_out=2)
    rounds, once = synflow_prune(ens, 0.01), synflow_prune(ens, 0.01, rounds=1)
    for networks in (rounds, once):
        assert density(networks).tolist() == pytest.approx([20 / 2040] * 3, abs=1e-3)
    assert all(rounds.weight_mask(b, k).any() for b in range(3) for k in range(6))


def test_synflow_of_modules():
    """Of chains of ReLUs as of chains; of a residual, normed one as torch's own gradient."""
    ens = Ensemble.init([(5, 4)], range(2), d_in=3, d_out=2, sparsity=0.3, activation="relu")
    modules = edt.ModuleEnsemble([ens.to_module(b) for b in range(2)], input_shape=(3,))
    modules = modules.with_state(ens.state)
    one, two = (
        [part / part.max() for part in found.split(ens.offsets.diff().tolist())]
        for found in (synflow(modules), synflow(ens))
    )
    torch.testing.assert_close(one, two)
    half, other = synflow_prune(modules, 0.5, rounds=10), synflow_prune(ens, 0.5, rounds=10)
    assert torch.equal(half.state, other.state)
    net = edt.nets.resnet20(0.25, 3, shape=(1, 8, 8), blocks=1)
    images = edt.ModuleEnsemble([net], input_shape=(1, 8, 8))
    found = synflow(images)
    twin = images.to_module(0).double().eval()
    with torch.no_grad():
        for name, value in [*twin.named_parameters(), *twin.named_buffers()]:
            if name.endswith(("bias", "running_mean")):
                value.zero_()
            elif value.is_floating_point():
                value.abs_()
    twin(torch.ones(1, 1, 8, 8).double()).sum().backward()
    for name, value in twin.named_parameters():
        block = next(block for block in images.blocks(0) if block.name == name)
        mine, theirs = found[block.span], (value * value.grad).detach().flatten()
        if name.endswith("bias"):
            assert not mine.any()
        else:
            scale = (found.max() / found[images.blocks(0)[0].span].max()).clamp_min(1e-300)
            torch.testing.assert_close(
                mine / found[images.blocks(0)[0].span].sum(),
                theirs / (twin[0].weight * twin[0].weight.grad).sum().detach(),
            )
            assert float(scale) > 0
    assert int(density(synflow_prune(images, 0.1, rounds=5))[0] * 100) in (9, 10)
    with pytest.raises(ValueError, match="needs the shape of an input"):
        synflow(edt.ModuleEnsemble([net]))


def test_grasp_of_modules_divides_outputs_by_the_temperature():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(30, 3, generator=draw).double()
    task = edt.Task(x, torch.arange(30) % 4, loss="cross_entropy")
    ens = Ensemble.init([(5, 4)], range(2), d_in=3, d_out=4, scheme="he", activation="relu")
    modules = edt.ModuleEnsemble([ens.to_module(b) for b in range(2)])
    for temperature in (None, 1.0, 7.0):
        wanted = grasp(task, ens, temperature=temperature)
        for given in (task, edt.ModuleTask((x, task.y), "cross_entropy", at_once=7)):
            found = grasp(given, modules, temperature=temperature)
            torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-12)
    own = edt.ModuleTask((x, task.y), lambda f, y: f.square().mean())
    assert torch.isfinite(grasp(own, modules)).all()
    with pytest.raises(TypeError, match="loss of outputs by name"):
        grasp(own, modules, temperature=3.0)


def test_grasp_divides_outputs_by_the_temperature():
    draw = torch.Generator().manual_seed(0)
    task = edt.Task(
        torch.randn(30, 3, generator=draw).double(), torch.arange(30) % 4, loss="cross_entropy"
    )
    ens = Ensemble.init([(5, 4)], range(2), d_in=3, d_out=4, scheme="he", sparsity=0.2)
    for temperature in (None, 1.0, 7.0):
        found = grasp(task, ens, temperature=temperature)
        heat = 200.0 if temperature is None else temperature
        for b in range(2):
            module = plain(ens, b)
            parameters = list(module.parameters())
            loss = torch.nn.functional.cross_entropy(module(task.x) / heat, task.y)
            grads = torch.autograd.grad(loss, parameters, create_graph=True)
            at = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
            live = ens.state[at] == 1
            flat = torch.cat([g.reshape(-1) for g in grads])
            inner = (flat.detach() * live * flat).sum()
            product = torch.autograd.grad(inner, parameters)
            expected = torch.cat(
                [(h * p).detach().reshape(-1) for h, p in zip(product, parameters, strict=True)]
            )
            top = float(expected.abs().max())
            torch.testing.assert_close(found[at], expected * live, rtol=1e-9, atol=1e-9 * top)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: GradualPruning(1.0), "sparsity"),
        (lambda: GradualPruning(0.5, score="size"), "score must be one of"),
        (lambda: GradualPruning(0.5, scope="neuron"), "scope must be one of 'layer', 'global'"),
        (lambda: GradualPruning(0.5, begin=5, end=3), "end must be >= begin"),
        (lambda: RigL(fraction=1.5), "fraction"),
        (lambda: SET(every=0), "every"),
        (lambda: SET(seed=-1), "seeds"),
    ],
)
def test_bad_rules(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_bad_input(cases):
    call = small_training("chains", cases)
    with pytest.raises(TypeError, match="mask_updates must be a rule"):
        call(mask_updates="rigl")

    class Wrong:
        def at(self, steps):
            return [3]

        def __call__(self, step, steps, networks, task, task_index):
            return torch.ones(3)

    with pytest.raises(ValueError, match=r"mask_updates must return states of shape \[76\]"):
        call(mask_updates=Wrong())


def test_networks_that_diverged_keep_their_masks():
    # What a diverged network's weights are worth is unknown; the others are pruned as without it.
    networks = edt.Ensemble([4, 4, 4], 3, 1, activation="tanh")
    theta = networks.theta.clone()
    theta[int(networks.offsets[1])] = math.nan
    lost = networks.with_theta(theta)
    state = keep_highest(lost, lost.theta.abs(), 0.3)
    whole = keep_highest(networks, networks.theta.abs(), 0.3)
    middle = slice(int(networks.offsets[1]), int(networks.offsets[2]))
    assert torch.equal(state[middle], lost.state[middle])
    state[middle] = whole[middle]
    assert torch.equal(state, whole)


def test_scores_that_are_no_numbers_are_refused():
    networks = edt.Ensemble([4], 3, 1, activation="tanh")
    scores = networks.theta.abs()
    scores[2] = math.nan
    with pytest.raises(ValueError, match="scores must not be NaN"):
        keep_highest(networks, scores, 0.5)
    with pytest.raises(ValueError, match="density must be"):
        keep_highest(networks, networks.theta.abs(), 1.5)
