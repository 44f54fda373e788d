"""Slurm by submitit: every job of the queue computes a share of the shards.

The directory must be visible from every node.

Reference: https://github.com/facebookincubator/submitit
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edt.runs.engines.base import ATTEMPTS, Failure, Job, attempt
from edt.runs.store import DirectoryError, Manifest, PartFiles

#: Seconds between looks at the queue.
POLL = 0.5
#: Seconds that jobs without work may take to end.
PATIENCE = 10.0


class Slurm:
    """Jobs of a Slurm queue.

    Args:
        workers: jobs in the queue at once; each computes one shard after another.
        cluster: "slurm", or "local" for processes on this machine.
        cpus: of each job; it runs on as many threads.
        minutes: time limit of a job. One that is cut off loses the shard it was at.
        options: more of submitit's ``update_parameters``, ``slurm_partition`` say.

    Raises:
        ImportError: submitit is not installed.
    """

    def __init__(
        self,
        workers: int = 8,
        *,
        cluster: str = "slurm",
        cpus: int = 1,
        minutes: int = 60,
        options: dict[str, Any] | None = None,
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise ImportError(
                "the engine 'slurm' needs submitit: pip install 'edt[slurm]'", name="submitit"
            ) from None
        self.submitit: Any = submitit
        self.workers = workers
        self.cluster, self.cpus, self.minutes = cluster, cpus, minutes
        self.options = dict(options or {})

    def run(self, directory: str, jobs: Sequence[Job]) -> Iterator[Manifest | Failure]:
        """See `edt.runs.engines.Engine`. What a lost job left undone goes to a new one."""
        executor = self.submitit.AutoExecutor(folder=_desk(directory), cluster=self.cluster)
        executor.update_parameters(
            timeout_min=self.minutes, cpus_per_task=self.cpus, name="edt", **self.options
        )
        shards = PartFiles(directory)
        left = {job.name: job for job in jobs}
        for number in range(1, ATTEMPTS + 1):
            # Dealt in turn, dearest first: every job of the queue gets about the same work.
            hands = [list(left.values())[k :: self.workers] for k in range(self.workers)]
            before = {note["name"]: note for note in shards.failures()}
            queued = [
                executor.submit(_hand, directory, list(hand), self.cpus) for hand in hands if hand
            ]
            try:
                while left:
                    ended = all(job.done() for job in queued)
                    looks = (
                        [shards.manifest(name) for name in list(left)]
                        if ended
                        else [found for hand in hands for found in _ahead(shards, hand, before)]
                    )
                    for manifest in looks:
                        if manifest is not None:
                            del left[manifest.name]
                            yield manifest
                    if ended:
                        break
                    time.sleep(POLL)
            finally:
                # With every shard there, jobs are about to end by themselves.
                end = time.monotonic() + (0.0 if left else PATIENCE)
                while time.monotonic() < end and not all(job.done() for job in queued):
                    time.sleep(POLL)
                for job in queued:
                    if not job.done():
                        job.cancel()
            if not left:
                return
            if number == ATTEMPTS:
                notes = {note["name"]: note["error"] for note in shards.failures()}
                for name in left:
                    yield Failure(name, notes.get(name, "the queue's job ended before it"))


def _ahead(
    shards: PartFiles, hand: list[Job], before: dict[str, dict[str, Any]]
) -> Iterator[Manifest]:
    """What a job of the queue has done since the last look; it is taken from the job's hand.

    It goes through its hand in order, so that the first shard without a manifest is the last to
    look at, unless there is a new note of its failure.

    Args:
        shards: of the run.
        hand: what is left of the job's.
        before: notes of failures that there were when it was queued, by name.
    """
    while hand:
        manifest = shards.manifest(hand[0].name)
        if manifest is None and shards.failure(hand[0].name) in (None, before.get(hand[0].name)):
            return
        hand.pop(0)
        if manifest is not None:
            yield manifest


def _desk(directory: str) -> str:
    """A new folder for submitit, which unpickles what it finds in its own.

    Raises:
        DirectoryError: ``.submitit`` leads out of the directory.
    """
    folder = Path(directory) / ".submitit"
    folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise DirectoryError(f"{folder} is a symbolic link; nothing is run from there")
    return tempfile.mkdtemp(dir=folder)


def _hand(directory: str, jobs: list[Job], threads: int) -> None:
    """Compute shards one after another; one that fails does not stop the others."""
    import torch

    torch.set_num_threads(max(1, threads))
    for job in jobs:
        attempt(directory, job)
