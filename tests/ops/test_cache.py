"""Compiled structures and data live as long as the tensors they were made from, and no longer."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

from edt import functional
from edt.ops import compiled
from edt.ops.cache import TensorCache
from edt.ops.checks import problem_of


def test_entries_die_with_their_tensors():
    cache = TensorCache()
    one, two = torch.zeros(3), torch.zeros(3)
    cache.store("value", (one, two), 7)
    assert cache.find((one, two), 7) == "value"
    assert cache.find((two, one), 7) is None
    assert cache.find((one, two), 8) is None
    del one
    gc.collect()
    assert len(cache) == 0


def test_changed_tensors_are_noticed():
    cache = TensorCache()
    key = (torch.zeros(3),)
    cache.store("value", key)
    key[0][1] = 1.0
    assert cache.find(key) is None
    assert cache.store("another", key) == cache.find(key) == "another"
    assert len(cache) == 1


def test_inference_tensors_are_not_kept():
    """They do not count their changes, so nothing made from them can be trusted later."""
    cache = TensorCache()
    with torch.inference_mode():
        key = (torch.zeros(3),)
    assert cache.store("value", key) == "value"
    assert cache.find(key) is None


def test_ops_share_what_is_compiled(cases):
    """One plan and one copy of the data serve all relatives of an ensemble and a task."""
    ens, task, index = cases.Case().build()
    functional.loss(ens, task, task_index=index)
    problem = problem_of(ens, task, index)
    plan, data = compiled.structure(problem).plan, compiled.dataset(problem)
    other = ens.with_theta(torch.randn_like(ens.theta))
    functional.loss(other, task, task_index=index)
    again = problem_of(other, task, index)
    assert compiled.structure(again).plan is plan
    assert compiled.dataset(again) is data
    fresh = problem_of(ens.with_state(ens.state), task, index)
    assert compiled.structure(fresh).plan is not plan


def test_nothing_outlives_the_ensemble(cases):
    gc.collect()
    before = [len(c) for c in (compiled._structures, compiled._datasets, compiled._layer_states)]
    ens, task, index = cases.Case(masks="no output bias").build()
    functional.hessian_blocks(ens, task, task_index=index)
    theta = ens.theta.clone().requires_grad_(True)
    functional.predict(ens, task, theta, index).sum().backward()
    after = [len(c) for c in (compiled._structures, compiled._datasets, compiled._layer_states)]
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert after[2] > before[2]
    del ens, task, index, theta
    gc.collect()
    gone = [len(c) for c in (compiled._structures, compiled._datasets, compiled._layer_states)]
    assert gone == before


def test_threads_share_the_cache(cases):
    """Many threads that miss at once all get right results."""
    ens, task, index = cases.Case(hidden=((3,),) * 20, samples=64).build()
    expected = functional.loss(ens, task, task_index=index, backend="reference")
    start, wrong = threading.Barrier(8), []

    def work(_):
        start.wait()
        for _ in range(5):
            fresh = ens.with_state(ens.state)
            found = functional.loss(fresh, task, task_index=index)
            if not torch.allclose(found, expected, rtol=1e-12, atol=0):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_operators_check_what_they_read(cases):
    """Called directly, an operator refuses what would make the core read foreign memory."""
    ens, task, index = cases.Case().build()
    problem = problem_of(ens, task, index)
    loss = torch.ops.edt.loss
    cases_of_trouble = [
        (ens.theta[:-1], problem, "theta"),
        (ens.theta.float(), problem, "theta"),
        (ens.theta, problem._replace(state=ens.state[:-1].clone()), "state"),
        (ens.theta, problem._replace(state=ens.state.long()), "state"),
        (ens.theta, problem._replace(layer_widths=ens.layer_widths.int()), "layer_widths"),
        (ens.theta, problem._replace(x=task.x[:-1].clone()), "samples"),
        (ens.theta, problem._replace(y=task.y.float()), "y"),
        (ens.theta, problem._replace(y=task.y[:, :0].clone()), "outputs"),
        (ens.theta, problem._replace(coef=task.coef[0].clone()), "coef"),
        (ens.theta, problem._replace(task_index=index[:-1].clone()), "task_index"),
        (ens.theta, problem._replace(task_index=index + 1), "task_index"),
        (ens.theta, problem._replace(task_index=index.int()), "task_index"),
        (ens.theta, problem._replace(loss="mae"), "loss"),
        (ens.theta, problem._replace(d_out=2), "outputs"),
    ]
    for theta, given, word in cases_of_trouble:
        with pytest.raises(ValueError, match=word):
            loss(theta, *given)
