"""Ray: the same jobs on a cluster. The directory must be visible from every node.

Reference: https://docs.ray.io
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from edt.store import Manifest, PartFiles
from edt.sweeps.engines.base import ATTEMPTS, Failure, execute
from edt.sweeps.plan import Job


class Ray:
    """Ray tasks, one a shard.

    Args:
        address: of a cluster ("auto" finds the one this machine belongs to); None starts Ray here.
        cpus: of each task; it runs on as many threads.
        gpus: of each task, as a Ray resource.
        workers: most tasks under way at once; default twice what the cluster's cores hold.

    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        cpus: int = 1,
        gpus: float = 0.0,
        workers: int | None = None,
    ) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError:
            raise ImportError(
                "the engine 'ray' needs Ray: pip install 'edt[ray]'", name="ray"
            ) from None
        self.ray = ray
        self.cpus, self.gpus = cpus, gpus
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        total = int(ray.cluster_resources().get("CPU", 1)) // max(1, cpus)
        self.workers = workers or max(1, total)

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """See `edt.sweeps.engines.Engine`. A task whose worker dies is tried again by Ray."""
        ray = self.ray
        remote = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=ATTEMPTS - 1)(_task)
        waiting = list(reversed(jobs))
        under_way: dict[Any, Job] = {}
        try:
            while waiting or under_way:
                # Submitting everything at once would fill the object store of a large sweep.
                while waiting and len(under_way) < 2 * self.workers:
                    job = waiting.pop()
                    under_way[remote.remote(directory, job, self.cpus)] = job
                done, _ = ray.wait(list(under_way), num_returns=1)
                for reference in done:
                    yield self._outcome(reference, under_way.pop(reference), directory)
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)
            if self._started:
                ray.shutdown()

    def _outcome(self, reference: Any, job: Job, directory: str) -> Manifest | Failure:
        try:
            manifest: Manifest = self.ray.get(reference)
            return manifest
        except self.ray.exceptions.RayError as error:
            text = str(error).strip().splitlines()[-1]
            PartFiles(directory).fail(job.name, text)
            return Failure(job.name, text)


def _task(directory: str, job: Job, threads: int) -> Manifest:
    import torch

    torch.set_num_threads(max(1, threads))
    return execute(directory, job)
