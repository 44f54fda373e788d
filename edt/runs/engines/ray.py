"""Ray: the same jobs on a cluster. The directory must be visible from every node.

Reference: https://docs.ray.io
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from edt.runs.engines.base import ATTEMPTS, Failure, Job, Outcome, attempt, cores
from edt.runs.store import Manifest, PartFiles


class Ray:
    """Ray tasks, one a part.

    Args:
        address: of a cluster ("auto" finds the one this machine belongs to); None starts Ray here,
            on the cores this process may use, without a dashboard and without reporting usage.
        cpus: of each task; it runs on as many threads.
        gpus: of each task that trains on one (``device = "cuda"``), as a Ray resource; default 1.
            Other tasks ask for none, and see none.
        workers: most tasks under way at once; default as many as the cluster's cores hold, with as
            many again in its queue.

    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        cpus: int = 1,
        gpus: float | None = None,
        workers: int | None = None,
    ) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError:
            raise ImportError(
                "the engine 'ray' needs Ray: pip install 'edt[ray]'", name="ray"
            ) from None
        self.ray = ray
        self.cpus, self.gpus = cpus, 1.0 if gpus is None else gpus
        self._started = not ray.is_initialized()
        self._here = self._started and address is None
        if self._started:
            quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
            if self._here:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                quiet |= {"num_cpus": cores(), "include_dashboard": False}
            ray.init(address=address, **quiet)
        total = int(ray.cluster_resources().get("CPU", 1)) // max(1, cpus)
        self.workers = workers or max(1, total)
        self._at_once = workers or 2 * self.workers

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """See `edt.runs.engines.Engine`. A task whose worker dies is tried again by Ray."""
        ray = self.ray
        waiting = list(reversed(jobs))
        under_way: dict[Any, Job] = {}
        try:
            if self._here:
                self.check_resources(jobs)
            remote = ray.remote(max_retries=ATTEMPTS - 1)(_task)
            while waiting or under_way:
                # Submitting everything at once would fill the object store of a large sweep.
                while waiting and len(under_way) < self._at_once:
                    job = waiting.pop()
                    asking = remote.options(**self.resources(job))
                    under_way[asking.remote(directory, job, self.cpus)] = job
                done, _ = ray.wait(list(under_way), num_returns=1)
                for reference in done:
                    outcome = self._outcome(reference, under_way.pop(reference), directory)
                    if isinstance(outcome, OSError):
                        raise outcome
                    yield outcome
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)
            if self._started:
                ray.shutdown()

    def resources(self, job: Job) -> dict[str, float]:
        """What Ray is asked to keep free for a job."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus if job.gpu else 0}

    def check_resources(self, jobs: Sequence[Job]) -> None:
        """Ray waits for ever for what it cannot have, as a cluster may grow.

        Raises:
            ValueError: a job needs more than there is.
        """
        there = self.ray.cluster_resources()
        for name, key in (("cpus", "CPU"), ("gpus", "GPU")):
            most = max((self.resources(job)[f"num_{name}"] for job in jobs), default=0)
            if most > there.get(key, 0):
                raise ValueError(
                    f"{name} must be at most {there.get(key, 0):g}, which Ray has here, got "
                    f"{most:g} for a part"
                )

    def _outcome(self, reference: Any, job: Job, directory: str) -> Outcome:
        try:
            outcome: Outcome = self.ray.get(reference)
            return outcome
        except self.ray.exceptions.RayError as error:  # its worker died, again and again
            text = str(error).strip().splitlines()[-1]
            PartFiles(directory).fail(job.name, text)
            return Failure(job.name, text)


def _task(directory: str, job: Job, threads: int) -> Outcome:
    import torch

    torch.set_num_threads(max(1, threads))
    return attempt(directory, job)
