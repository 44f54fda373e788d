"""Many Python threads call the package at once: each gets the bits it gets alone."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading

import pytest
import torch

import edt
from edt import _core
from edt.ops.threads import lend

CALLERS = 4


@pytest.fixture(scope="module")
def task():
    """Samples enough that the pool of threads does the work."""
    return edt.tasks.teacher_student(teacher_width=3, d_in=3, n=600)


@pytest.fixture(scope="module")
def networks():
    return edt.Ensemble.init([3, 6, 9], range(2), d_in=3, d_out=1, sparsity=0.2)


def operators(ens, task):
    vectors = torch.ones(2, ens.total, dtype=ens.dtype)
    value, grad = edt.loss_and_grad(ens, task)
    return [
        edt.predict(ens, task), value, grad, edt.hvp(ens, task, vectors),
        *edt.hessian(ens, task), *edt.jacobian(ens, task),
    ]  # fmt: skip


def differentiated(ens, task):
    theta = ens.theta.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(edt.loss(ens, task, theta).sum(), theta, create_graph=True)
    return [*torch.autograd.grad(slope.square().sum(), theta), slope.detach()]


def trained(ens, task):
    result = edt.masked_train(task, ens, steps=30, lr=0.02, batch_size=50, progress=False)
    return [result.networks.theta, result.loss]


def converged(ens, task):
    result = edt.converge(task, ens, lbfgs_steps=60, newton_steps=8, progress=False)
    return [result.networks.theta, result.loss, result.min_eig.nan_to_num()]


def at_once(function, *arguments):
    """Results and errors of the function called by many threads, each with its own thread count."""
    start, results, errors = threading.Barrier(CALLERS), [None] * CALLERS, []

    def work(k):
        try:
            torch.set_num_threads(1 + k % 2)
            start.wait()
            results[k] = function(*arguments)
        except BaseException as error:
            errors.append(error)

    callers = [threading.Thread(target=work, args=(k,)) for k in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return results, errors


@pytest.mark.parametrize("function", [operators, differentiated, trained, converged])
def test_callers_at_once_get_the_bits_of_one_alone(networks, task, function):
    threads = torch.get_num_threads()
    alone = function(networks, task)
    # Fresh objects: the callers also compile and cache what belongs to them at the same moment.
    fresh = networks.with_state(networks.state)
    results, errors = at_once(function, fresh, edt.Task(task.x, task.y))
    torch.set_num_threads(threads)
    assert not errors
    for found in results:
        assert all(map(torch.equal, found, alone))


def test_wrong_arguments_in_one_thread_disturb_nobody(networks, task):
    def call():
        with pytest.raises(edt.errors.ShapeError):
            edt.loss(networks, task, torch.zeros(3, dtype=torch.float64))
        return edt.loss(networks, task)

    threads = torch.get_num_threads()
    results, errors = at_once(call)
    torch.set_num_threads(threads)
    assert not errors
    assert all(torch.equal(found, edt.loss(networks, task)) for found in results)


def test_threads_lent_to_a_run_under_way_change_no_bits(networks, task):
    options = {"steps": 20_000, "lr": 0.01, "progress": False}
    alone = edt.masked_train(task, networks, **options).networks.theta
    found, threads = [], set()
    run = threading.Thread(target=lambda: found.append(edt.masked_train(task, networks, **options)))
    run.start()
    try:
        for count in itertools.cycle((3, 1, 2, 5)):
            lend(count)
            run.join(0.02)
            threads.add(_core.get_num_threads())  # what the run told the core last
            if not run.is_alive():
                break
    finally:
        lend(0)
    assert len(threads) > 1
    assert torch.equal(found[0].networks.theta, alone)


ENDS = """
import threading, time, edt
task = edt.tasks.teacher_student(teacher_width=3, d_in=3, n=2000)
train = lambda: edt.masked_train(task, widths=[50], steps=10**7, progress=False)
threading.Thread(target=train, daemon=True).start()
time.sleep(0.5)
print("over")
"""


def test_a_process_ends_while_a_daemon_thread_trains():
    ended = subprocess.run(
        [sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=120, check=False
    )
    # Python up to 3.13 unwinds a thread that comes back during shutdown, which the bindings of
    # PyTorch do not survive (docs/howto/processes.md). By then the process is over either way.
    unwound = (-signal.SIGABRT, "terminate called without an active exception\n")
    assert (ended.returncode, ended.stderr) in ((0, ""), unwound)
    assert ended.stdout == "over\n"
