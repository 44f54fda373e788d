"""Rests chosen to make a ticket fail, inside a ball around the rest it won with.

Two searches, both over all tickets at once. By gradient: the loss after T steps of gradient
descent is a function of the initial rest; its gradient follows from T Hessian-vector products, run
backwards along the trajectory. By evolution: rests are trained to the end, and the worst breed.

Reference: J. Domke, "Generic methods for optimization-based modeling", AISTATS 2012 (gradients
through unrolled descent); H.-G. Beyer, H.-P. Schwefel, "Evolution strategies", Natural Computing 1
(2002) 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from edt.arguments import checked
from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.functional import hvp, loss_and_grad
from edt.lottery.membership import group_sum, membership
from edt.lottery.random_numbers import EVOLVE_STREAM, normals, rest_ids
from edt.lottery.tickets import Tickets
from edt.scalars import integer
from edt.tasks import Task

#: Trains networks to the end and returns float64 ``[B]``: the higher, the worse the ticket fares.
Judge = Callable[[Ensemble, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Adversaries:
    """The worst rest found for each ticket.

    Attributes:
        networks: K whole networks with that rest.
        value: float64 ``[K]``, what was maximised.
        distance: float64 ``[K]``, ``|rest' - rest| / |rest|``.
        trials: networks trained (or unrolled) per ticket.
    """

    networks: Ensemble
    value: torch.Tensor
    distance: torch.Tensor
    trials: int


def unrolled_gradient(
    task: Task, networks: Ensemble, task_index: torch.Tensor, *, steps: int, lr: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss after T steps of gradient descent, and its gradient with respect to the start.

    ``theta_{t+1} = theta_t - lr g(theta_t)``; with ``v_T = g(theta_T)`` and
    ``v_t = v_{t+1} - lr H(theta_t) v_{t+1}`` the gradient is ``v_0``. The trajectory is kept: T
    copies of the parameters.

    Args:
        task: all targets.
        networks: B networks at their start.
        task_index: int64 ``[B]``.
        steps: T.
        lr: learning rate.

    Returns:
        loss float64 ``[B]`` at ``theta_T``, gradient ``[total]``.
    """
    path = [networks.theta]
    for _ in range(steps):
        _, grad = loss_and_grad(networks, task, path[-1], task_index)
        path.append(path[-1] - lr * grad)
    loss, adjoint = loss_and_grad(networks, task, path[-1], task_index)
    for theta in reversed(path[:-1]):
        adjoint = adjoint - lr * hvp(networks, task, adjoint, theta, task_index)
    return loss, adjoint


def gradient_adversary(
    task: Task,
    tickets: Tickets,
    radius: float,
    *,
    ascents: int = 10,
    unroll: int = 100,
    lr: float = 0.1,
) -> Adversaries:
    """Ascend the loss after a short training, projected on the ball of the given radius.

    Each step moves the rest by a quarter of the radius along the gradient of the unrolled loss
    and back into the ball. What is found is a bad start for T steps of gradient descent; whether
    the ticket fails in full training is for the caller to try.

    Args:
        task: all targets.
        tickets: K tickets.
        radius: relative to the length of each rest.
        ascents: gradient steps.
        unroll: T, steps of descent looked through.
        lr: of the descent.

    Returns:
        `Adversaries`; ``value`` is the loss after T steps.
    """
    networks = tickets.inside()
    base = networks.theta.clone()
    at = membership(networks)
    rest = tickets.rest
    length = _length(base, rest, at.network, networks.B)
    theta = base.clone()
    best, value = base.clone(), torch.full((networks.B,), -torch.inf, dtype=torch.float64)
    for step in range(ascents + 1):
        loss, grad = unrolled_gradient(
            task, networks.with_theta(theta), tickets.task_index, steps=unroll, lr=lr
        )
        loss = torch.nan_to_num(loss.double(), nan=-torch.inf)
        better = (loss > value)[at.network]
        best = torch.where(better, theta, best)
        value = torch.maximum(value, loss)
        if step == ascents:
            break
        grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        size = _length(grad, rest, at.network, networks.B).clamp_min(1e-300)
        move = (0.25 * radius * length / size)[at.network] * grad
        theta = torch.where(rest, theta + move.to(theta.dtype), theta)
        theta = into_ball(theta, base, rest, at.network, radius * length)
    gap = _length(best - base, rest, at.network, networks.B) / length.clamp_min(1e-300)
    return Adversaries(networks.with_theta(best), value, gap, ascents + 1)


def evolve_adversary(
    tickets: Tickets,
    radius: float,
    judge: Judge,
    *,
    population: int = 24,
    generations: int = 4,
    seed: int = 0,
) -> Adversaries:
    """Evolution strategy in the ball: of each generation the worst quarter breed.

    The first generation lies on the sphere. A child is the mean of two parents plus half the
    radius in a random direction, brought back into the ball; parents live on.

    Args:
        tickets: K tickets.
        radius: relative to the length of each rest.
        judge: what is maximised, e.g. the loss after full training.
        population: rests per ticket and generation, at least 4.
        generations: after the first.
        seed: of the draws; those of a ticket depend on its name only.

    Returns:
        `Adversaries`.
    """
    population = integer("population", population, 4)
    count, size = len(tickets), population
    many = tickets.repeat(size)
    networks = many.inside()
    at, rest = membership(networks), many.rest
    base = networks.theta.clone()
    length = _length(base, rest, at.network, networks.B)
    parents = max(size // 4, 2)
    place = torch.arange(size).repeat(count)
    theta, value = base, torch.empty(0)
    for generation in range(generations + 1):
        number = generation * size + place
        step = normals(networks, seed, rest_ids(many.names, number), EVOLVE_STREAM)
        unit = step / _length(step, rest, at.network, networks.B).clamp_min(1e-300)[at.network]
        reach = (radius * length)[at.network]
        if generation == 0:
            centre, spread = base, 1.0
        else:
            # Every row of networks takes its parents from the worst of its own ticket.
            order = value.view(count, size).argsort(dim=1, descending=True, stable=True)
            first = order.gather(1, (torch.arange(size) % parents).expand(count, -1))
            second = order.gather(1, ((torch.arange(size) // parents) % parents).expand(count, -1))
            start = torch.arange(count)[:, None] * size
            pair = [_rows(networks, theta, (start + who).flatten()) for who in (first, second)]
            centre, spread = 0.5 * (pair[0] + pair[1]), 0.5
        child = torch.where(rest, centre + (spread * reach * unit).to(base.dtype), base)
        child = into_ball(child, base, rest, at.network, radius * length)
        score = judge(networks.with_theta(child), many.task_index)
        score = torch.nan_to_num(score.double(), nan=torch.inf)
        if generation == 0:
            theta, value = child, score
            continue
        # The worst of parents and children, ticket by ticket.
        both = torch.cat([value.view(count, size), score.view(count, size)], dim=1)
        top = both.argsort(dim=1, descending=True, stable=True)[:, :size]
        own = torch.arange(count)[:, None] * size + top % size
        young = (top >= size).flatten()[at.network]
        old_rows = _rows(networks, theta, own.flatten())
        new_rows = _rows(networks, child, own.flatten())
        theta = torch.where(young, new_rows, old_rows)
        value = both.gather(1, top).flatten()
    first_of = torch.arange(count) * size + value.view(count, size).argmax(dim=1)
    chosen = networks.with_theta(theta).select(first_of)
    gap = _length(theta - base, rest, at.network, networks.B) / length.clamp_min(1e-300)
    return Adversaries(chosen, value[first_of], gap[first_of], size * (generations + 1))


def into_ball(
    theta: torch.Tensor,
    centre: torch.Tensor,
    rest: torch.Tensor,
    network: torch.Tensor,
    radius: torch.Tensor,
) -> torch.Tensor:
    """Bring the rest of every network back to within ``radius`` ``[B]`` of its centre.

    Raises:
        ShapeError: the others are not of theta's shape.
    """
    for name, part in (("centre", centre), ("rest", rest), ("network", network)):
        if part.shape != theta.shape:
            raise ShapeError(
                f"{name} must have theta's shape {list(theta.shape)}, got {list(part.shape)}"
            )
    away = theta - centre
    size = _length(away, rest, network, radius.numel()).clamp_min(1e-300)
    factor = torch.clamp(radius / size, max=1.0)[network].to(theta.dtype)
    return torch.where(rest, centre + factor * away, theta)


def _length(
    values: torch.Tensor, rest: torch.Tensor, network: torch.Tensor, networks: int
) -> torch.Tensor:
    square = torch.where(rest, values, torch.zeros_like(values)).double().square()
    return group_sum(square, network, networks).sqrt()


def _rows(networks: Ensemble, theta: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Parameters of the chosen networks, which must be as wide as those they stand in for."""
    return theta[networks.positions(index)]


checked(__name__)
