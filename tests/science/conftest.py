"""Small implementations that share nothing with edt's engine: plain torch, scipy and mpmath."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize


def unpack(theta, d_in, width):
    """(W, b, a, c) of a network of one hidden layer and one output, from edt's flat order."""
    at = width * d_in
    return (
        theta[:at].reshape(width, d_in),
        theta[at : at + width],
        theta[at + width : -1],
        theta[-1],
    )


def output(theta, x, width):
    """``a . tanh(W x + b) + c`` in plain torch, ``[N]``."""
    weight, bias, out, last = unpack(theta, x.shape[1], width)
    return torch.tanh(x @ weight.T + bias) @ out + last


def loss(theta, x, y, width):
    """Mean squared error."""
    return (output(theta, x, width) - y).square().mean()


def curvature(theta, x, y, width):
    """Loss, gradient and Hessian by autograd."""
    theta = theta.detach().clone()
    grad = torch.func.grad(loss)(theta, x, y, width)
    hessian = torch.func.hessian(loss)(theta, x, y, width)
    return float(loss(theta, x, y, width)), grad, hessian


def trained(theta, x, y, width, steps=4000):
    """scipy's L-BFGS-B to the bottom; (parameters, loss)."""

    def value(t):
        at = torch.tensor(t, requires_grad=True)
        one = loss(at, x, y, width)
        one.backward()
        return float(one), at.grad.numpy()

    how = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(value, theta.numpy(), jac=True, method="L-BFGS-B", options=how)
    return torch.tensor(found.x), float(found.fun)


def closeness(theta, d_in, width):
    """Least ``1 - |cos|`` of two neurons' input weights that pull in opposite directions (tanh)."""
    weight, bias, out, _ = unpack(theta, d_in, width)
    rows = torch.cat([weight, bias[:, None]], 1)
    best = 2.0
    for i in range(width):
        for j in range(i):
            cosine = float(rows[i] @ rows[j] / (rows[i].norm() * rows[j].norm()))
            if float(out[i] * out[j]) * cosine < 0.0:
                best = min(best, 1.0 - abs(cosine))
    return best


def mp_newton(theta, x, y, width, steps=8, digits=40):
    """Newton's method in 40 digits on the same loss; (distance moved, last step, last gradient)."""
    import mpmath as mp

    with mp.workdps(digits):
        d_in, count = x.shape[1], len(theta)
        xs = [[mp.mpf(float(v)) for v in row] + [mp.mpf(1)] for row in x]
        ys = [mp.mpf(float(v)) for v in y]
        t = [mp.mpf(float(v)) for v in theta]
        start, last, slope = list(t), mp.mpf(0), mp.mpf(0)
        for _ in range(steps):
            grad, hess = mp.matrix(count, 1), mp.matrix(count, count)
            for point, target in zip(xs, ys, strict=True):
                rows = [_row(t, d_in, width, j) for j in range(width)]
                s = [mp.tanh(mp.fdot(row, point)) for row in rows]
                a = t[width * d_in + width : -1]
                r = mp.fsum(a[j] * s[j] for j in range(width)) + t[-1] - target
                first = [1 - v * v for v in s]
                out = [width * d_in + width + j for j in range(width)]
                jac = mp.matrix(count, 1)
                for j in range(width):
                    for k in range(d_in + 1):
                        jac[_place(d_in, width, j, k)] = a[j] * first[j] * point[k]
                    jac[out[j]] = s[j]
                jac[count - 1] = mp.mpf(1)
                grad += 2 * r * jac
                hess += 2 * jac * jac.T
                for j in range(width):
                    for k in range(d_in + 1):
                        p = _place(d_in, width, j, k)
                        hess[p, out[j]] += 2 * r * first[j] * point[k]
                        hess[out[j], p] += 2 * r * first[j] * point[k]
                        for m in range(d_in + 1):
                            q = _place(d_in, width, j, m)
                            bend = -2 * s[j] * first[j] * a[j] * point[k] * point[m]
                            hess[p, q] += 2 * r * bend
            grad, hess = grad / len(ys), hess / len(ys)
            step = mp.lu_solve(hess, -grad)
            t = [old + step[i] for i, old in enumerate(t)]
            last, slope = mp.norm(step), mp.norm(grad)
        moved = mp.sqrt(mp.fsum((new - old) ** 2 for new, old in zip(t, start, strict=True)))
        return float(moved), float(last), float(slope)


def _place(d_in, width, j, k):
    """Position of neuron j's input weight k (k = d_in: its bias)."""
    return j * d_in + k if k < d_in else width * d_in + j


def _row(t, d_in, width, j):
    return [t[_place(d_in, width, j, k)] for k in range(d_in + 1)]


@pytest.fixture
def own():
    """The functions above."""
    return SimpleNamespace(
        unpack=unpack, output=output, loss=loss, curvature=curvature, trained=trained,
        closeness=closeness, mp_newton=mp_newton, np=np, math=math,
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Threads cost more than they give on networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
