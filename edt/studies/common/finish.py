"""Take changed networks to the bottom and say what their ends are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edt import functional
from edt.curvature import hessian_spectrum
from edt.curvature.verdicts import inertia, zero_threshold
from edt.ensemble import Ensemble
from edt.landscape import certify, outcomes
from edt.landscape.outcome import UNCERTIFIED
from edt.lottery.crossed import joined
from edt.tasks import Task
from edt.training import converge
from edt.training.escape import LENGTHS


@dataclass(frozen=True)
class Finished:
    """Ends with their labels.

    Attributes:
        networks: at the bottom, those that were certified where that left them.
        loss: float64 ``[B]``.
        label: of `edt.certify`; "uncertified" where the loss was good before.
        outcome: of `edt.landscape.outcomes`.
    """

    networks: Ensemble
    loss: npt.NDArray[np.float64]
    label: list[str]
    outcome: list[str]


def finish(
    task: Task,
    start: Ensemble,
    index: torch.Tensor,
    threshold: npt.ArrayLike,
    *,
    tol: float = 1e-10,
    lbfgs_steps: int,
    newton_steps: int,
    certify_steps: int,
) -> Finished:
    """To the bottom, then a certificate for every network that is not good there.

    Args:
        task: data.
        start: B networks.
        index: int64 ``[B]``, targets.
        threshold: ``[B]`` or one; good at or below.
        tol, lbfgs_steps, newton_steps: of `edt.converge`.
        certify_steps: of `edt.certify`; 0: take `edt.converge`'s word.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    ended = converge(
        task, start, task_index=index, tol=tol, lbfgs_steps=lbfgs_steps, newton_steps=newton_steps,
        progress=False,
    )  # fmt: skip
    if ended.interrupted:
        raise KeyboardInterrupt
    loss, label = ended.loss.numpy().copy(), [UNCERTIFIED] * start.B
    theta = ended.networks.theta.clone()
    limit = np.broadcast_to(np.asarray(threshold, dtype=np.float64), loss.shape)
    open_ = torch.from_numpy(np.flatnonzero(loss > limit))
    if open_.numel() and certify_steps:
        found = certify(
            task, ended.networks.select(open_), task_index=index[open_], steps=certify_steps
        )
        theta[start.positions(open_)] = found.networks.theta
        for place, b in enumerate(open_.tolist()):
            loss[b], label[b] = float(found.loss[place]), found.label[place]
    words = outcomes(loss.tolist(), limit.tolist(), ended.verdict, ended.status, label)
    return Finished(ended.networks.with_theta(theta), loss, label, words)


def leave(
    task: Task,
    ens: Ensemble,
    index: torch.Tensor,
    kicked: npt.NDArray[np.bool_],
    generator: torch.Generator,
) -> tuple[Ensemble, list[int], list[float]]:
    """Networks moved along their most negative direction, or by a random step where there is none
    or a kick is asked for, to the lowest loss found; the index, and the share of the loss taken.

    Args:
        task: data.
        ens: B networks.
        index: int64 ``[B]``, targets.
        kicked: bool ``[B]``: by a random step whatever the Hessian says; it steps even where no
            point of it is lower.
        generator: of the random steps.
    """
    spectra, vectors = hessian_spectrum(ens, task, task_index=index, vectors=True)
    negative = [inertia(values, zero_threshold(values))[0] for values in spectra]
    free = ens.state == 1
    ways = torch.zeros(ens.total, dtype=torch.float64)
    sizes = []
    for b in range(ens.B):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        down = vectors[b][:, 0] if negative[b] and not kicked[b] else None
        if down is None:
            down = torch.randn(int(ens.coords[b]), generator=generator, dtype=torch.float64)
            down = down / down.norm()
        ways[span][free[span]] = down
        sizes.append(max(1.0, float(ens.theta[span].norm())))
    before = functional.loss(ens, task, task_index=index)
    best, theta = before.clone(), ens.theta.clone()
    owner = torch.arange(ens.B).repeat_interleave(ens.offsets[1:] - ens.offsets[:-1])
    reach = torch.tensor(sizes, dtype=torch.float64)[owner]
    for length in LENGTHS:
        for sign in (1.0, -1.0):
            trial = ens.theta + sign * length * reach * ways
            loss = functional.loss(ens.with_theta(trial), task, task_index=index)
            better = loss < best
            theta = torch.where(better[owner], trial, theta)
            best = torch.where(better, loss, best)
    # A kick that finds no lower point still kicks.
    stuck = torch.tensor(kicked.tolist()) & (best >= before)
    theta = torch.where(stuck[owner], ens.theta + 1e-2 * reach * ways, theta)
    drop = (1.0 - best / before.clamp_min(1e-300)).tolist()
    return ens.with_theta(theta), negative, drop


def with_fresh(end: Ensemble, count: int, seed: int, scheme: str) -> Ensemble:
    """One network with a fresh neuron of output weight 0, ``count`` times over.

    Args:
        end: a single network of one hidden layer.
        count: fresh neurons, each in a network of its own.
        seed: of the network: its neurons depend on it and on ``count``'s place alone.
        scheme: of `edt.Ensemble.init`.
    """
    first = 700_000_000 + 1_000 * (seed % 1_000_000)
    new = Ensemble.init(
        [1], range(first, first + count), d_in=end.d_in, d_out=end.d_out,
        activation=end.activation, scheme=scheme, bias=end.has_bias, dtype=torch.float64,
    )  # fmt: skip
    theta = new.theta.reshape(new.B, -1).clone()
    theta[:, end.d_in + int(end.has_bias) :] = 0.0
    return joined(end.select([0] * count), new.with_theta(theta.flatten()))
