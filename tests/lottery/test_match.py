"""Matching students with teachers."""

from __future__ import annotations

import pytest
import torch

from edt import tasks
from edt.ensemble import Ensemble
from edt.errors import ShapeError
from edt.lottery import match_teacher, neuron_distance


def hidden_teacher(teacher, width, places, seed=0):
    """Students that hold each teacher's neurons at the given places, mirrored, and small others."""
    count, r = teacher.B, int(teacher.layer_widths[0, 1])
    ens = Ensemble.init([width] * count, [seed], d_in=2, d_out=1, scale=0.01)
    for b in range(count):
        for i in range(r):
            j = places[b][i]
            sign = -1.0 if i % 2 else 1.0
            ens.weight(b, 0)[j] = sign * teacher.weight(b, 0)[i]
            ens.bias(b, 0)[j] = sign * teacher.bias(b, 0)[i]
            ens.weight(b, 1)[:, j] = sign * teacher.weight(b, 1)[:, i]
    return ens


def test_hidden_teachers_are_found():
    task = tasks.teacher_student(d_in=2, teacher_width=3, teachers=2, n=60, scale=2.0)
    teacher = task.info["teacher"]
    places = [[4, 0, 2], [1, 3, 5]]
    ens = hidden_teacher(teacher, 6, places)
    match = match_teacher(task, ens, teacher, torch.arange(2))
    assert match.neurons.tolist() == places
    # The same tanh of the same numbers up to sign.
    assert float(match.error.max()) < 1e-12
    assert match.mask.sum(1).tolist() == [3, 3]
    swapped = match_teacher(task, ens, teacher, torch.tensor([1, 0]))
    assert float(swapped.error.max()) > 1e-3


def test_neuron_distance_ignores_order_and_signs():
    ens = Ensemble.init([5], range(3), d_in=2, d_out=2, scheme="normal")
    other = ens.with_theta(ens.theta)
    swap = torch.tensor([1, 0])
    for b in range(3):
        other.weight(b, 0)[:2] = -ens.weight(b, 0)[swap]
        other.bias(b, 0)[:2] = -ens.bias(b, 0)[swap]
        other.weight(b, 1)[:, :2] = -ens.weight(b, 1)[:, swap]
    neurons = torch.tensor([[0, 1]]).expand(3, -1)
    assert float(neuron_distance(other, ens, neurons).max()) == 0.0
    assert float(neuron_distance(other, ens, neurons + 2).max()) == 0.0
    other.weight(0, 0)[0] += 1.0
    assert float(neuron_distance(other, ens, neurons)[0]) > 0.1


def test_bad_input():
    task = tasks.teacher_student(d_in=2, teacher_width=3, n=20)
    deep = Ensemble.init([(4, 4)], [0], d_in=2, d_out=1)
    index = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ShapeError, match="one hidden layer"):
        match_teacher(task, deep, task.info["teacher"], index)
    with pytest.raises(ShapeError, match="as wide as"):
        match_teacher(Ensemble.init([2], [0], d_in=2, d_out=1), task, task.info["teacher"], index)
