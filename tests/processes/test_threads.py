"""Many Python threads call the package at once: each gets the bits it gets alone."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from patience import PATIENCE

import edt
from edt import _core
from edt.ops.threads import core_threads, lend, one_blas_thread, torch_threads

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


def test_one_blas_thread_leaves_the_core_its_threads():
    """And many within one change nothing: no thread is started to look (see `set_own_threads`)."""
    started = []

    class Counted(threading.Thread):
        def start(self):
            started.append(self)
            super().start()

    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    with pytest.MonkeyPatch.context() as patch, torch_threads(3):
        patch.setattr("edt.ops.threads.threading.Thread", Counted)
        with one_blas_thread() as outside:
            assert (outside, torch.get_num_threads(), core_threads()) == (3, 1, 3)
            before = len(started)
            for _ in range(5):
                with one_blas_thread() as again:
                    assert (again, torch.get_num_threads(), core_threads()) == (3, 1, 3)
            assert len(started) == before > 0
        assert (torch.get_num_threads(), core_threads()) == (3, 3)
    over.set()
    other.join()


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


def test_threads_lent_to_a_run_under_way_change_no_bits(networks, task, monkeypatch):
    # Looks often enough at how many threads it has, however fast the machine is.
    monkeypatch.setattr("edt.training.run.CHUNK_SECONDS", 0.01)
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


# Without torch: a process takes a tenth of a second, and no bindings but the core's matter.
CORE = """
import os, signal, threading, time
from array import array
from edt import _core

networks, samples = {networks}, {samples}
at = lambda numbers: numbers.buffer_info()[0]
x, y, coef = (array("d", [0.5]) * n for n in (2 * samples, samples, samples))
widths, state = array("q", [2, 5, 1]) * networks, array("B", [1]) * (15 * networks)
theta, task = array("d", [0.1]) * (15 * networks), array("q", [0]) * networks
data = _core.Dataset(at(x), at(y), at(coef), 1, samples, 2, 1, 0, True)
plan = _core.Plan(at(widths), networks, 3, False, at(state), len(theta))
_core.set_num_threads(2)


def compute(active=None):
    loss, grad = array("d", [0]) * networks, array("d", [0]) * len(theta)
    mask = at(active) if active else 0
    _core.loss_and_grad(plan, data, at(task), 0, at(theta), mask, at(loss), at(grad))
"""
COMPUTES = (
    CORE.format(networks=4, samples=2000)
    + """
def forever(function, *arguments):
    while True:
        function(*arguments)


for call in ((compute,), (compute,), (_core.fma_peak, True, 1, 0.01)):
    threading.Thread(target=forever, args=call, daemon=True).start()
time.sleep(0.05)
print("over")
"""
)
# The exit handler registered before the core's runs after it.
LATE = (
    """
import atexit
atexit.register(lambda: late())
"""
    + CORE.format(networks=4, samples=2000)
    + """
calls, over = 0, threading.Event()


def count():
    global calls
    while not over.is_set():
        compute()
        calls += 1


def late():
    compute()
    before = calls
    time.sleep(0.1)
    held = calls == before
    over.set()
    thread.join(60)
    print(held, thread.is_alive())


thread = threading.Thread(target=count, daemon=True)
thread.start()
time.sleep(0.05)
"""
)
# One call of minutes, which only its own look at signals can end.
FORKS = (
    CORE.format(networks=100_000, samples=1_000_000)
    + """
def fork():
    child = os.fork()
    if child == 0:
        try:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            compute()
        except KeyboardInterrupt:
            os._exit(0)
        os._exit(1)
    patience = threading.Timer(300, os.kill, (child, signal.SIGKILL))
    patience.start()
    print(os.waitpid(child, 0)[1])
    patience.cancel()


signal.signal(signal.SIGINT, signal.default_int_handler)
compute(array("B", [0]) * networks)  # the core has met the parent's main thread
forks = threading.Thread(target=fork)
forks.start()
forks.join()
"""
)
TRAINS = """
import threading, time, edt
task = edt.tasks.teacher_student(teacher_width=3, d_in=3, n=2000)
train = lambda: edt.masked_train(task, widths=[50], steps=10**7, progress=False)
threading.Thread(target=train, daemon=True).start()
time.sleep(0.5)
print("over")
"""


def run(script):
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout, ended.stderr


def test_processes_end_well_while_daemon_threads_are_in_the_core():
    """Over and over: that a thread comes back at the wrong moment is likely, not certain."""
    for _ in range(8):
        assert run(COMPUTES) == (0, "over\n", "")


def test_late_exit_handlers_find_threads_held_in_the_core_but_not_for_good():
    """For a second: a handler that did not get to look in that time may do so in another run."""
    assert any(run(LATE) == (0, "True False\n", "") for _ in range(3))


def test_a_process_ends_while_a_daemon_thread_trains():
    code, out, err = run(TRAINS)
    # On a machine too busy for a thread to reach the core within 0.05 s, it may be in torch, whose
    # bindings do not survive how Python up to 3.13 ends daemon threads (docs/howto/processes.md).
    unwound = (-signal.SIGABRT, "terminate called without an active exception\n")
    assert (code, err) in ((0, ""), unwound)
    assert out == "over\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_ctrl_c_reaches_a_child_forked_by_a_thread():
    """Its main thread, which runs the handlers of signals, is the one that forked."""
    assert run(FORKS) == (0, "0\n", "")


def overlapping(bodies):
    """Threads that are all inside `torch_threads` at one moment, and end in order."""
    inside = threading.Barrier(len(bodies))
    turns = [threading.Event() for _ in range(len(bodies) + 1)]
    turns[0].set()
    own = [None] * len(bodies)

    def carry_out(k):
        with torch_threads(1):
            inside.wait()
            turns[k].wait()
        own[k] = torch.get_num_threads()
        turns[k + 1].set()

    threads = [threading.Thread(target=carry_out, args=(k,)) for k in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return own


def in_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("count", [2, 3])
def test_overlapping_calls_leave_later_threads_their_number(count):
    """The call that ended last left one BLAS thread to every thread that started later."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        assert overlapping(range(4)) == [count] * 4
        assert torch.get_num_threads() == count and in_a_new_thread() == count
        with torch_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == count and in_a_new_thread() == count
    finally:
        torch.set_num_threads(before)


def test_a_thread_that_starts_inside_another_keeps_the_number():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    other = threading.Event()
    idle = threading.Thread(target=other.wait)
    idle.start()
    try:
        with torch_threads(1):
            assert in_a_new_thread() == 3
    finally:
        other.set()
        idle.join()
        torch.set_num_threads(before)


def test_lenders_do_not_take_back_what_others_lend():
    first, second = object(), object()
    before = core_threads()
    lend(before + 1, first)
    lend(before + 3, second)
    assert core_threads() == before + 3
    lend(0, second)
    assert core_threads() == before + 1
    lend(0, first)
    assert core_threads() == before


NESTED = """
import signal
import time
import torch
import edt
from edt import _core

_core.set_num_threads(2)
task = edt.tasks.teacher_student(teacher_width=3, d_in=3, n=600)
ens = edt.Ensemble.init([9], range(20), d_in=3, d_out=1)
vectors = torch.ones(8, ens.total, dtype=ens.dtype)
known, found, spent = edt.hvp(ens, task, vectors), [], 0.0

signal.signal(signal.SIGALRM, lambda *_: found.append(edt.hvp(ens, task, vectors)))
many = vectors
while spent < 1:  # a call so long that the handler runs in it, not before and not after
    many = torch.cat([many, many])
    clock = time.perf_counter()
    edt.hvp(ens, task, many)
    spent = time.perf_counter() - clock
signal.setitimer(signal.ITIMER_REAL, 0.2)
edt.hvp(ens, task, many)
assert len(found) == 1 and (found[0] == known).all()
print("done")
"""


def test_a_handler_of_signals_may_call_the_core_inside_a_call():
    """The thread that waits for the pool runs it; a second turn of the pool never came."""
    done = subprocess.run(
        [sys.executable, "-c", NESTED], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "done\n", done.stderr
