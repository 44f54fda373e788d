"""The package in forked and in spawned processes: the same bits, and no hanging."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time

import pytest
import torch

import edt

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
#: A child that takes longer hangs.
PATIENCE = 120


@pytest.fixture(scope="module")
def task():
    return edt.tasks.teacher_student(teacher_width=3, d_in=3, n=600)


@pytest.fixture(scope="module")
def networks():
    return edt.Ensemble.init([3, 6, 9], range(2), d_in=3, d_out=1)


def everything(ens, task):
    value, grad = edt.loss_and_grad(ens, task)
    trained = edt.masked_train(task, ens, steps=20, lr=0.02, progress=False)
    ended = edt.converge(task, ens, lbfgs_steps=30, newton_steps=4, progress=False)
    return [
        value, grad, *edt.hessian(ens, task), trained.networks.theta, ended.networks.theta,
        ended.loss,
    ]  # fmt: skip


def in_fork(function):
    """What the function returns in a forked child.

    The child ends without clean-up, as forked workers do, so that nothing of the tests runs twice.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(function(), pipe)
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(write)
    watch = threading.Timer(PATIENCE, os.kill, (child, signal.SIGKILL))
    watch.start()
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    _, code = os.waitpid(child, 0)
    watch.cancel()
    assert code == 0, f"the child ended with {code}"
    return pickle.loads(data)


def test_forked_child_gets_the_same_bits(networks, task):
    """The parent has used its pool of threads, and torch its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    alone = everything(networks, task)
    _ = torch.ones(300, 300) @ torch.ones(300, 300)

    def child():
        torch.set_num_threads(1)  # torch's threads do not survive a fork
        return everything(networks, task)

    found = in_fork(child)
    torch.set_num_threads(threads)
    assert len(found) == len(alone) and all(map(torch.equal, found, alone))


def test_forked_child_uses_a_pool_of_its_own(networks, task):
    """Several threads of the core in the child, which torch's own count need not limit."""
    edt.loss_and_grad(networks, task)

    def child():
        from edt import _core
        from edt.ops import ACTIVATION_CODES
        from edt.ops.compiled import dataset, structure

        torch.set_num_threads(1)
        data, problem = edt.loss(networks, task), task.objective(networks).problem
        _core.set_num_threads(3)
        size = _core.get_num_threads()
        # Straight into the core: the operators would set its count to torch's again.
        out = torch.empty(networks.B, dtype=torch.float64)
        index = torch.zeros(networks.B, dtype=torch.int64)
        code = ACTIVATION_CODES[networks.activation]
        _core.loss(
            structure(problem).plan, dataset(problem), index.data_ptr(), code,
            networks.theta.data_ptr(), 0, out.data_ptr(),
        )  # fmt: skip
        return size, torch.equal(out, data)

    assert in_fork(child) == (3, True)


def test_fork_while_another_thread_trains(networks, task):
    """The child has neither that thread nor the pool it uses; the parent's run goes on."""
    found = []
    options = {"steps": 3000, "lr": 0.01, "progress": False}
    expected = edt.masked_train(task, networks, **options).networks.theta
    run = threading.Thread(target=lambda: found.append(edt.masked_train(task, networks, **options)))
    run.start()
    time.sleep(0.05)

    def child():
        torch.set_num_threads(1)
        return edt.loss(networks, task)

    inside = in_fork(child)
    run.join()
    assert torch.equal(inside, edt.loss(networks, task))
    assert torch.equal(found[0].networks.theta, expected)


def test_spawned_worker_gets_the_same_bits(networks, task):
    """Ensembles and tasks travel by pickle; what is compiled is compiled again there."""
    value, grad = edt.loss_and_grad(networks, task)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        found = pool.apply_async(edt.loss_and_grad, (networks, task)).get(PATIENCE)
    assert torch.equal(found[0], value) and torch.equal(found[1], grad)
