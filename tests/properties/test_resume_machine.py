"""Runs cut at any points and resumed, against uninterrupted ones: the same bits."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import edt
from edt.flow import run as flow_loop
from edt.training import run as train_loop
from edt.training.state import CONVERGED, RUNNING

#: Calls of the kernel until everything is over, at most.
ENOUGH = 400

OPTIMIZERS = st.sampled_from(
    [
        {"optimizer": "gd", "lr": 0.1},
        {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"optimizer": "adam", "lr": [0.03, 0.01, 0.1], "weight_decay": 1e-3},
        {"optimizer": "adamw", "lr": 0.03, "weight_decay": [0.0, 0.1, 0.2]},
    ]
)
TRAINING = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 40),
        "batch_size": st.sampled_from([None, 5, 16]),
        "data_seed": st.integers(0, 99),
        "schedule": st.sampled_from([None, "cosine", "step"]),
        "record": st.sampled_from(["log", 7, None]),
        "record_params": st.booleans(),
    }
)


def problem(seed, dtype):
    """Three networks of unlike widths and masks, and 23 samples."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(23, 2, dtype=torch.float64, generator=draw)
    task = edt.Task(x, torch.sin(x[:, :1] * 2) + x[:, 1:]).to(dtype)
    ens = edt.Ensemble.init(
        [2, 5, 9], [seed], d_in=2, d_out=1, sparsity=0.2, dtype=dtype, scheme="glorot"
    )
    return task, ens


def same(one, two):
    """Whether two results agree bit for bit (NaN equals NaN)."""
    assert torch.equal(one.networks.theta, two.networks.theta)
    assert torch.equal(one.loss, two.loss) and torch.equal(one.steps, two.steps)
    assert one.status == two.status
    assert one.history.equals(two.history)


class Cutter:
    """Replaces a function of the loop; raises Ctrl-C in its n-th call, after doing part of it."""

    def __init__(self, function, at, partly):
        self.function, self.left, self.partly = function, at, partly

    def __call__(self, *arguments):
        self.left -= 1
        if self.left == 0:
            self.partly(self.function, *arguments)
            raise KeyboardInterrupt
        return self.function(*arguments)


class Resumes(RuleBasedStateMachine):
    """A run that is cut by anything; when the machine stops, it is finished and compared."""

    #: Module and function whose calls are counted.
    loop, step = train_loop, "_advance"

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edt-machine-"))
        self.done = False
        self.reached = None
        self.threads = torch.get_num_threads()

    def call(self, **more):
        raise NotImplementedError

    def partly(self, function, *arguments):
        """Do the call, or a part of it."""

    def go_on(self, **more):
        result = self.call(checkpoint=self.folder, **more)
        # A run never goes back.
        assert self.reached is None or bool((result.steps >= self.reached).all())
        self.reached = result.steps
        if not result.interrupted:
            self.done = True
            same(result, self.expected)
        return result

    @precondition(lambda self: not self.done)
    @rule(at=st.integers(1, 12), partly=st.booleans())
    def control_c(self, at, partly):
        part = self.partly if partly else lambda *arguments: None
        cutter = Cutter(getattr(self.loop, self.step), at, part)
        with mock.patch.object(self.loop, self.step, cutter):
            self.go_on()

    @precondition(lambda self: not self.done)
    @rule()
    def out_of_time(self):
        self.go_on(max_seconds=0.0)

    @precondition(lambda self: not self.done)
    @rule(at=st.integers(1, 6))
    def killed(self, at):
        """Whatever happens after the last checkpoint is lost, as with kill -9."""
        files = {p: p.read_bytes() for p in self.folder.iterdir()}
        cutter = Cutter(getattr(self.loop, self.step), at, lambda *arguments: None)
        with mock.patch.object(self.loop, self.step, cutter):
            self.call(checkpoint=self.folder)
        for file in self.folder.iterdir():
            file.unlink()
        for file, data in files.items():
            file.write_bytes(data)

    @rule(threads=st.integers(1, 2))
    def other_threads(self, threads):
        torch.set_num_threads(threads)

    def teardown(self):
        try:
            if hasattr(self, "expected"):
                for _ in range(ENOUGH):
                    if self.done:
                        break
                    self.go_on()
                assert self.done
                # Once more: it is over, and says the same.
                same(self.call(checkpoint=self.folder, resume=True), self.expected)
        finally:
            torch.set_num_threads(self.threads)
            shutil.rmtree(self.folder)


class TrainingResumes(Resumes):
    @initialize(
        seed=st.integers(0, 5),
        dtype=st.sampled_from([torch.float32, torch.float64]),
        optimizer=OPTIMIZERS,
        options=TRAINING,
    )
    def begin(self, seed, dtype, optimizer, options):
        self.task, self.ens = problem(seed, dtype)
        self.options = {**optimizer, **options, "progress": False}
        self.expected = edt.masked_train(self.task, self.ens, **self.options)

    def call(self, **more):
        # A chunk as short as can be: many places to be cut at.
        with mock.patch.object(train_loop, "CHUNK_SECONDS", 1e-12):
            return edt.masked_train(self.task, self.ens, **self.options, **more)

    def partly(self, function, engine, state, *rest):
        """As when Ctrl-C reaches the kernel: some networks have done the chunk, one has not."""
        late = int(state.steps.argmax()) if bool((state.status == RUNNING).all()) else None
        if late is not None:
            state.status[late] = CONVERGED
        function(engine, state, *rest)
        if late is not None:
            state.status[late] = RUNNING


class FlowResumes(Resumes):
    loop, step = flow_loop, "_sweep"

    @initialize(
        seed=st.integers(0, 5),
        method=st.sampled_from(["auto", "chebyshev"]),
        record_params=st.booleans(),
    )
    def begin(self, seed, method, record_params):
        self.task, self.ens = problem(seed, torch.float64)
        self.options = {
            "method": method, "record_params": record_params, "max_time": 2.0, "rtol": 1e-3,
            "progress": False,
        }  # fmt: skip
        self.expected = edt.gradient_flow(self.task, self.ens, **self.options)

    def call(self, **more):
        return edt.gradient_flow(self.task, self.ens, **self.options, **more)

    def partly(self, function, *arguments):
        """A sweep whose result is lost, after it has written to the history."""
        function(*arguments)


def test_cases_differ():
    """What is compared depends on the seed: a constant would prove nothing."""
    tasks = [problem(seed, torch.float64) for seed in (0, 1)]
    found = [edt.masked_train(*pair, steps=5, progress=False).loss for pair in tasks]
    assert not np.array_equal(*found)


BUDGET = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
TestTraining = TrainingResumes.TestCase
TestTraining.settings = settings(max_examples=30, stateful_step_count=8, **BUDGET)
TestFlow = FlowResumes.TestCase
TestFlow.settings = settings(max_examples=10, stateful_step_count=5, **BUDGET)
