"""Fisher matrices, inverses, influence and Kronecker factors against torch.func in float64."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.curvature import (
    fisher,
    fisher_product,
    hessian_diagonal,
    hessian_trace,
    influence,
    inverse_product,
    kfac,
    sample_gradients,
    submatrix,
)
from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.ops.losses import LOSSES

#: Sums of some thousand terms in another order.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
KINDS = ["mse", "cross_entropy", "bce", "logistic", "huber"]


def setting(loss, d_out=2, n=11, pruned=True):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(n, 2, generator=draw, dtype=torch.float64)
    y = {
        "mse": torch.randn(n, d_out, generator=draw, dtype=torch.float64),
        "huber": 2.0 * torch.randn(n, d_out, generator=draw, dtype=torch.float64),
        "cross_entropy": torch.arange(n) % d_out,
        "bce": torch.rand(n, d_out, generator=draw, dtype=torch.float64),
        "logistic": torch.randn(n, d_out, generator=draw, dtype=torch.float64).sign(),
    }[loss]
    weight = torch.rand(n, generator=draw, dtype=torch.float64)
    task = edt.Task(x, y, loss=loss, weights=weight)
    ens = Ensemble.init([3, 4], range(2), d_in=2, d_out=d_out, scheme="normal")
    if pruned:
        state = ens.state.clone()
        state[1], state[5] = 0, 2
        ens = ens.with_state(state)
    return task, ens


def by_samples(cases, task, ens, b):
    """Gradients ``[N, P]`` of l_n by autograd, over coordinates."""
    row = ens.layer_widths[b].tolist()
    loss, theta = LOSSES[task.loss], cases.part(ens, b).clone()
    live = cases.part(ens, b, ens.state) == 1

    def each(p):
        return loss.sample(cases.forward(p, row, task.x), task.y)

    return torch.func.jacrev(each)(theta)[:, live]


@pytest.mark.parametrize("loss", KINDS)
def test_empirical(cases, loss):
    task, ens = setting(loss)
    found, weights = sample_gradients(task, ens)
    matrices = fisher(task, ens, kind="empirical")
    for b in range(ens.B):
        g, c = by_samples(cases, task, ens, b), task.coef[0]
        torch.testing.assert_close(found[b], g, **CLOSE)
        assert torch.equal(weights[b], c)
        torch.testing.assert_close(matrices[b], g.T @ torch.diag(c) @ g, **CLOSE)
    vectors = torch.randn(3, ens.total, dtype=torch.float64)
    product = fisher_product(task, ens, vectors, kind="empirical")
    check_products(ens, matrices, vectors, product)


def check_products(ens, matrices, vectors, product):
    live = ens.state == 1
    assert not product[:, ~live].any()
    for b in range(ens.B):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        own = live[span]
        expected = vectors[:, span][:, own] @ matrices[b]
        torch.testing.assert_close(product[:, span][:, own], expected, **CLOSE)


@pytest.mark.parametrize("loss", KINDS[:4])
def test_true_is_the_mean_over_targets_of_the_network(cases, loss):
    """Targets that can be counted: every class, both labels, two points for a normal law."""
    task, ens = setting(loss, d_out=1 if loss != "cross_entropy" else 3)
    matrices = fisher(task, ens)
    outputs = edt.predict(task, ens)
    for b in range(ens.B):
        f, c = outputs[b], task.coef[0]
        if loss == "cross_entropy":
            chances = torch.softmax(f, -1).T
            targets = [torch.full((len(f),), k) for k in range(3)]
        elif loss == "mse":  # variance 1/2: two points with its second moment
            chances = torch.full((2, len(f)), 0.5, dtype=torch.float64)
            targets = [f + 0.5**0.5, f - 0.5**0.5]
        else:
            share = torch.sigmoid(f[:, 0])
            chances = torch.stack([share, 1.0 - share])
            low = 0.0 if loss == "bce" else -1.0
            targets = [torch.full_like(f, 1.0), torch.full_like(f, low)]
        expected = 0.0
        for chance, target in zip(chances, targets, strict=True):
            many = {"n_classes": 3} if loss == "cross_entropy" else {}
            drawn = edt.Task(task.x, target, loss=loss, **many)
            g = by_samples(cases, drawn, ens, b)
            expected = expected + g.T @ ((c * chance)[:, None] * g)
        torch.testing.assert_close(matrices[b], expected, **CLOSE)
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    check_products(ens, matrices, vectors, fisher_product(task, ens, vectors))


@pytest.mark.parametrize("loss", [*KINDS[:4], "soft_cross_entropy"])
def test_drawn_targets(cases, loss):
    """The empirical Fisher matrix of targets that are drawn, and the right law of these."""
    task, ens = setting(
        "cross_entropy" if "soft" in loss else loss, d_out=3 if "soft" in loss else 2
    )
    if "soft" in loss:
        task = edt.Task(task.x, torch.softmax(edt.predict(task, ens)[0], -1), loss=loss)
    found = fisher(task, ens, kind="mc", draws=2, seed=7)
    outputs = edt.predict(task, ens)
    for b in range(ens.B):
        draw, expected = torch.Generator().manual_seed(7), 0.0
        for _ in range(2):
            drawn = LOSSES[loss].draw(outputs[b], draw)
            many = {"n_classes": 2} if loss == "cross_entropy" else {}
            theirs = edt.Task(task.x, drawn, loss=loss, **many)
            g = by_samples(cases, theirs, ens, b)
            expected = expected + 0.5 * g.T @ torch.diag(task.coef[0]) @ g
        torch.testing.assert_close(found[b], expected, **CLOSE)
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    product = fisher_product(task, ens, vectors, kind="mc", draws=2, seed=7)
    check_products(ens, found, vectors, product)
    # The mean over draws is l'': 40,000 of them, errors of 1/200 of slopes of size 2 at most.
    f = outputs[0][:2].repeat(40_000, 1)
    each = LOSSES[loss].draw(f, torch.Generator().manual_seed(0))
    point = f.clone().requires_grad_()
    slope = torch.autograd.grad(LOSSES[loss].sample(point, each).sum(), point)[0]
    outer = torch.einsum("no,np->nop", slope, slope).reshape(40_000, 2, *[f.shape[1]] * 2).mean(0)
    exact = LOSSES[loss].curvature(f[:2], each[:2])
    torch.testing.assert_close(outer, exact, rtol=0.0, atol=0.05)


@pytest.mark.parametrize("kind", ["true", "empirical", "mc"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "bce"])
def test_modules_are_as_the_chains_they_hold(loss, kind):
    task, ens = setting(loss)
    nets = edt.ModuleEnsemble([ens.to_module(b) for b in range(ens.B)])
    nets, chains = nets.with_state(ens.state), ens
    draws = {"draws": 3} if kind == "mc" else {}
    mine = fisher(task, nets, kind=kind, **draws)
    for one, other in zip(mine, fisher(task, chains, kind=kind, **draws), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    product = fisher_product(task, nets, vectors, kind=kind, **draws)
    check_products(nets, mine, vectors, product)
    if kind == "empirical":
        for part, other in zip(
            sample_gradients(task, nets), sample_gradients(task, chains), strict=True
        ):
            for one, two in zip(part, other, strict=True):
                torch.testing.assert_close(one, two, **CLOSE)
        asked = (task.x[:3], task.y[:3])
        for one, two in zip(
            influence(task, nets, edt.ModuleTask(asked, loss), damping=0.1),
            influence(task, chains, edt.Task(*asked, loss=loss, **(
                {"n_classes": 2} if loss == "cross_entropy" else {}
            )), damping=0.1),
            strict=True,
        ):  # fmt: skip
            torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)


class Refuses(torch.nn.Module):
    """Looks at numbers, which vmap does not allow; outputs are two at each of two places."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 4)

    def forward(self, x):
        scale = 2.0 if float(x.detach()[0, 0]) > 1e9 else 1.0
        return scale * self.line(x).reshape(-1, 2, 2)


def test_samples_of_modules_that_vmap_refuses_and_of_losses_of_ones_own():
    torch.manual_seed(0)
    nets = edt.ModuleEnsemble([Refuses().double()])
    x = torch.randn(7, 2, dtype=torch.float64)
    classes = torch.arange(14).reshape(7, 2) % 2
    for loss, y in (
        ("cross_entropy", classes),
        (lambda f, y: (f - y).abs().pow(3).mean(), torch.randn(7, 2, 2, dtype=torch.float64)),
    ):
        task = edt.ModuleTask((x, y), loss, at_once=4)
        gradients, weights = sample_gradients(task, nets)
        module = nets.to_module(0)
        for n in range(7):
            one = edt.ModuleTask((x[n : n + 1], y[n : n + 1]), loss)
            _, expected = edt.loss_and_grad(one, edt.ModuleEnsemble([module]))
            torch.testing.assert_close(gradients[0][n], expected, **CLOSE)
        whole = edt.loss_and_grad(task, nets)[1]
        torch.testing.assert_close(weights[0] @ gradients[0], whole, **CLOSE)
        vectors = torch.randn(2, nets.total, dtype=torch.float64)
        (matrix,) = fisher(task, nets, kind="empirical")
        product = fisher_product(task, nets, vectors, kind="empirical")
        check_products(nets, [matrix], vectors, product)


def test_samples_that_depend_on_each_other_are_refused():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).double()
    nets = edt.ModuleEnsemble([module])
    x, y = torch.randn(7, 2, dtype=torch.float64), torch.arange(7) % 3
    apart = edt.ModuleTask((x, y), "cross_entropy")
    assert len(sample_gradients(apart, nets)[0][0]) == 7
    together = edt.ModuleTask((x, y), "cross_entropy", mode="train")
    with pytest.raises(ValueError, match="needs mode='eval'"):
        fisher(together, nets, kind="empirical")
    steps = edt.ModuleTask([(x, y)], step=lambda module, batch: module(batch[0]).square().mean())
    with pytest.raises(TypeError, match="loss of outputs and targets"):
        influence(steps, nets, apart)


@pytest.mark.parametrize("method", ["cg", "exact"])
@pytest.mark.parametrize("ggn", [True, False])
def test_inverses_solve(method, ggn):
    task, ens = setting("cross_entropy")
    vectors = torch.randn(3, ens.total, dtype=torch.float64)
    vectors[1] = 0.0
    damping = 1.0  # more than the Hessian's most negative eigenvalue
    found = inverse_product(task, ens, vectors, damping=damping, ggn=ggn, method=method)
    live = ens.state == 1
    assert found.definite.all() and not found.solution[:, ~live].any()
    # CG stops at 1e-10 of the right side.
    assert (found.residual < 2e-10).all()
    for b, matrix in enumerate(edt.hessian(task, ens, ggn=ggn)):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        shifted = matrix + damping * torch.eye(len(matrix), dtype=torch.float64)
        expected = torch.linalg.solve(shifted, vectors[:, span][:, live[span]].T).T
        torch.testing.assert_close(
            found.solution[:, span][:, live[span]], expected, rtol=1e-7, atol=1e-9
        )


def test_indefinite_matrices_are_told():
    task, ens = setting("cross_entropy")
    lowest = min(float(torch.linalg.eigvalsh(matrix)[0]) for matrix in edt.hessian(task, ens))
    assert lowest < -1e-3
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    for method in ("cg", "exact"):
        found = inverse_product(task, ens, vectors, damping=-0.5 * lowest, ggn=False, method=method)
        assert not found.definite.all()
        assert torch.isfinite(found.solution).all()
    assert (found.residual < 1e-8).all()


def test_a_network_alone_has_the_same_inverse():
    task, ens = setting("bce")
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    whole = inverse_product(task, ens, vectors, method="cg").solution
    for b in range(ens.B):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        alone = inverse_product(task, ens[[b]], vectors[:, span], method="cg").solution
        assert torch.equal(alone, whole[:, span])


def test_submatrices():
    task, ens = setting("bce")
    rows, columns = torch.tensor([4, 0, 2]), [torch.tensor([1, 3]), *[torch.tensor([7])] * 3]
    both = submatrix(task, ens, rows), submatrix(task, ens, rows, columns)
    for b, matrix in enumerate(edt.hessian(task, ens)):
        torch.testing.assert_close(both[0][b], matrix[rows][:, rows], **CLOSE)
        torch.testing.assert_close(both[1][b], matrix[rows][:, columns[b]], **CLOSE)


def test_influence_is_the_slope_of_retraining():
    """At a minimum, which is followed by Newton's method when one weight changes."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(12, 2, generator=draw, dtype=torch.float64)
    y = torch.sin(x[:, :1]) + 0.1 * torch.randn(12, 1, generator=draw, dtype=torch.float64)
    other = edt.Task(x[:3] + 0.3, y[:3])

    def bottom(weights, networks):
        task = edt.Task(x, y, weights=weights)
        for _ in range(6):
            _, slope = edt.loss_and_grad(task, networks)
            matrix = edt.hessian(task, networks)[0]
            networks = networks.with_theta(networks.theta - torch.linalg.solve(matrix, slope))
        assert float(edt.loss_and_grad(task, networks)[1].abs().max()) < 1e-13
        return task, networks

    near = edt.converge((x, y), Ensemble.init([1], [1], d_in=2, d_out=1), progress=False)
    assert near.verdict == ["minimum"]
    weights = torch.full((12,), 1 / 12, dtype=torch.float64)
    task, end = bottom(weights, near.networks)
    found = influence(task, end, other, damping=0.0, ggn=False)[0]
    for n in (0, 7):
        step = torch.zeros(12, dtype=torch.float64)
        step[n] = 1e-6
        losses = []
        for sign in (1.0, -1.0):
            _, moved = bottom(weights + sign * step, end)
            losses.append((edt.predict(other, moved)[0] - other.y).square().sum(1))
        # Central differences of step 1e-6: rounding of 1e-16 / 1e-6 times the condition of H.
        slope = (losses[0] - losses[1]) / 2e-6
        torch.testing.assert_close(found[:, n], slope, rtol=1e-5, atol=1e-8)


def factors_by_hand(cases, task, ens, b, kind):
    """(A, G, the layer's own Gauss-Newton block of ``sum c (gg^T) x (aa^T)``) of both layers."""
    row = ens.layer_widths[b].tolist()
    w1, b1, w2, b2 = (ens.weight(b, 0), ens.bias(b, 0), ens.weight(b, 1), ens.bias(b, 1))
    loss = LOSSES[task.loss]
    out = []
    hidden = torch.tanh(task.x @ w1.T + b1)
    for layer, (a, shape) in enumerate(((task.x, (row[1],)), (hidden, (row[2],)))):
        a = torch.cat([a, torch.ones(len(a), 1, dtype=torch.float64)], 1)
        left, right, block = 0.0, 0.0, 0.0
        for n, c in enumerate(task.coef[0]):

            def head(z, n=n, layer=layer):
                if layer == 0:
                    z = torch.tanh(z) @ w2.T + b2
                return z

            z = (task.x[n] @ w1.T + b1) if layer == 0 else hidden[n] @ w2.T + b2
            jac = torch.func.jacrev(head)(z)
            f, y = head(z), task.y[n : n + 1]
            if kind == "empirical":
                g = torch.func.grad(lambda v, y=y: loss.sample(v[None], y).sum())(f) @ jac
                outer = torch.outer(g, g)
            else:
                curve = torch.func.hessian(lambda v, y=y: loss.sample(v[None], y).sum())(f)
                outer = jac.T @ curve @ jac
            assert outer.shape == shape * 2
            left = left + c * torch.outer(a[n], a[n])
            right = right + c * outer
            block = block + c * torch.kron(outer, torch.outer(a[n], a[n]))
        out.append((left / task.coef[0].sum(), right, block))
    return out


@pytest.mark.parametrize("kind", ["true", "empirical"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "bce"])
def test_kronecker_factors(cases, loss, kind):
    task, ens = setting(loss, pruned=False)
    plain, better = (kfac(task, ens, kind=kind, corrected=corrected) for corrected in (False, True))
    vectors = torch.randn(2, ens.total, dtype=torch.float64)
    for b in range(ens.B):
        hand = factors_by_hand(cases, task, ens, b, kind)
        blocks = []
        for layer, (left, right, block) in enumerate(hand):
            one, two = plain.layers[b][layer], better.layers[b][layer]
            torch.testing.assert_close(one.inputs, left, **CLOSE)
            torch.testing.assert_close(one.outputs, right, **CLOSE)
            torch.testing.assert_close(one.matrix(), torch.kron(right, left), **CLOSE)
            basis = torch.kron(two.basis_out, two.basis_in)
            diagonal = (basis.T @ block @ basis).diagonal()
            torch.testing.assert_close(two.values.reshape(-1), diagonal, **CLOSE)
            # The best diagonal in the basis: never further from the block than K-FAC.
            assert (two.matrix() - block).norm() <= (one.matrix() - block).norm() * (
                1 + 1e-12
            ) + 1e-12
            blocks.append(block)
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        for found in (plain, better):
            matrix = found.matrix(b)
            torch.testing.assert_close(
                found.product(vectors)[:, span], vectors[:, span] @ matrix, **CLOSE
            )
            shifted = matrix + 0.1 * torch.eye(len(matrix), dtype=torch.float64)
            torch.testing.assert_close(
                found.inverse_product(vectors, 0.1)[:, span],
                torch.linalg.solve(shifted, vectors[:, span].T).T,
                rtol=1e-9,
                atol=1e-11,
            )


def test_one_sample_has_an_exact_kronecker_product(cases):
    """With one sample and one output the layers' blocks of the Gauss-Newton matrix are products."""
    task = edt.Task(torch.tensor([[0.3, -0.7]]).double(), torch.tensor([[1.0]]).double())
    ens = Ensemble.init([3], [0], d_in=2, d_out=1)
    matrix, found = edt.hessian(task, ens, ggn=True)[0], kfac(task, ens).matrix(0)
    for span in (slice(0, 9), slice(9, 13)):
        torch.testing.assert_close(found[span, span], matrix[span, span], **CLOSE)


def test_xtrace_and_xdiag():
    """Exact for low rank, unbiased, and nearer than Hutchinson where eigenvalues fall fast."""
    task, _ = setting("mse", d_out=1, n=6)
    wide = Ensemble.init([12], [0, 1], d_in=2, d_out=1, scheme="normal")
    matrices = edt.hessian(task, wide, ggn=True)
    exact = torch.stack([matrix.trace() for matrix in matrices])
    # Rank 6 < 10 vectors: nothing is left to estimate.
    found = hessian_trace(task, wide, products=20, method="xtrace", ggn=True)
    torch.testing.assert_close(found.trace, exact, rtol=1e-9, atol=0)
    assert found.products.tolist() == [20, 20]
    diagonal, _ = hessian_diagonal(task, wide, probes=20, method="xdiag", ggn=True)
    expected = torch.cat([matrix.diagonal() for matrix in matrices])
    torch.testing.assert_close(diagonal, expected, rtol=1e-7, atol=1e-9)
    # By its definition: every vector left out in turn, for a matrix of full rank.
    from edt.curvature.inputs import signs

    full = edt.hessian(task, wide)
    found = hessian_trace(task, wide, products=8, method="xtrace", seed=3)
    diagonal, _ = hessian_diagonal(task, wide, probes=8, method="xdiag", seed=3)
    for b, matrix in enumerate(full):
        size = len(matrix)
        vectors = signs(size, 4, 3).T
        traces, diagonals = [], []
        for i in range(4):
            others = [k for k in range(4) if k != i]
            q = torch.linalg.qr(matrix @ vectors[:, others]).Q
            rest = torch.eye(size, dtype=torch.float64) - q @ q.T
            v = vectors[:, i]
            traces.append((q.T @ matrix @ q).trace() + v @ rest @ matrix @ rest @ v)
            diagonals.append((q @ q.T @ matrix).diagonal() + v * (rest @ matrix @ v))
        torch.testing.assert_close(found.trace[b], torch.stack(traces).mean(), rtol=1e-9, atol=1e-9)
        span = slice(int(wide.offsets[b]), int(wide.offsets[b + 1]))
        mean = torch.stack(diagonals).mean(0)
        torch.testing.assert_close(diagonal[span], mean, rtol=1e-8, atol=1e-9)


def test_bad_input():
    task, ens = setting("huber")
    vector = torch.zeros(ens.total, dtype=torch.float64)
    for call, error, words in [
        (lambda: fisher(task, ens, kind="sampled"), ValueError, "kind must be one of 'true'"),
        (lambda: fisher(task, ens), ValueError, "true Fisher matrix needs a likelihood"),
        (lambda: fisher(task, ens, kind="mc"), ValueError, "drawing targets needs a likelihood"),
        (lambda: fisher(task, ens, kind="empirical", draws=2), ValueError, "draws needs kind='mc'"),
        (lambda: fisher(task, ens, kind="mc", draws=0), ValueError, "draws must be >= 1"),
        (lambda: fisher(*setting("mse"), kind="mc", seed=-1), ValueError, "seed must be"),
        (lambda: kfac(task, ens, kind="forward", corrected=True), ValueError, "has none"),
        (lambda: kfac(task, ens), ValueError, "nothing pruned or frozen"),
        (lambda: inverse_product(task, ens, vector[:3]), ShapeError, "vectors must have shape"),
        (lambda: inverse_product(task, ens, vector, damping=-1.0), ValueError, "damping"),
        (lambda: inverse_product(task, ens, vector, method="lu"), ValueError, "method must be one"),
        (lambda: submatrix(task, ens, [0, 1]), TypeError, "rows must be int64"),
        (lambda: submatrix(task, ens, torch.tensor([99])), ValueError, r"rows must be in 0\.\."),
        (lambda: hessian_diagonal(task, ens, method="xtrace"), ValueError, "method must be one"),
    ]:
        with pytest.raises(error, match=words):
            call()
