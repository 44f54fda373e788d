"""Checkpoints of `converge`: groups of networks, each written down when it is done.

A network's result does not depend on the others, so that a finished group is final: a run is
resumed by reading the groups that are there and running the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from edt.files import readable_copy
from edt.training.checkpoint import (
    CheckpointError,
    checkpoint_folder,
    differences,
    make_writable,
    parsing,
    read,
    write,
)
from edt.training.converge_result import ConvergeResult
from edt.training.progress import Meter

__all__ = ["Checkpoint", "cost_groups", "in_groups"]

KIND = "converge-group"
#: Multiplications of a group: some ten seconds of one core.
GROUP_WORK = 2e11
#: Iterations a typical network takes, by kind.
FIRST_ORDER, SECOND_ORDER = 500, 60
#: Networks that go together whatever they cost (they share the cores), unless they cost this many
#: times `GROUP_WORK`.
TOGETHER, MOST = 16, 8


def cost_groups(coords: torch.Tensor, dense: torch.Tensor, samples: int) -> list[torch.Tensor]:
    """Consecutive networks of bounded predicted cost.

    Args:
        coords: int64 ``[B]``.
        dense: bool ``[B]``, networks whose Hessians are formed.
        samples: N.

    Returns:
        int64 indices of each group; a function of the arguments alone, not of the machine.
    """
    size = coords.to(torch.float64)
    gradient = 6.0 * samples * size
    # A Gauss-Newton product and an eigensystem, or conjugate gradients.
    newton = torch.where(dense, samples * size**2 + 10.0 * size**3, 100.0 * gradient)
    work = (FIRST_ORDER * gradient + SECOND_ORDER * newton).tolist()
    out: list[torch.Tensor] = []
    start, held = 0, 0.0
    for b, cost in enumerate(work):
        full = held >= GROUP_WORK and (b - start >= TOGETHER or held >= MOST * GROUP_WORK)
        if b > start and full:
            out.append(torch.arange(start, b))
            start, held = b, 0.0
        held += cost
    out.append(torch.arange(start, len(work)))
    return out


class Checkpoint:
    """The directory of finished groups of one run.

    Args:
        folder: directory; made if it is not there.
        resume: as in `edt.converge`, checked.
        specification: identifies the run.

    Raises:
        TypeError, ValueError: ``folder`` is not the path of a directory.
        CheckpointError: a group is unreadable or of another run (unless ``resume`` is False),
            there is none although ``resume`` is True, or the folder cannot be written to.
    """

    def __init__(
        self, folder: str | os.PathLike[str], resume: Any, specification: dict[str, Any]
    ) -> None:
        self.folder = checkpoint_folder(folder)
        self.specification = specification
        found = sorted(self.folder.glob("converge-*.safetensors"))
        if resume is True and not found:
            raise CheckpointError(
                f"{self.folder}: no checkpoint to resume from (resume=True)"
            )  # fmt: skip
        self._done: dict[str, ConvergeResult] = {}
        for file in found:
            if resume is False:
                file.unlink()
                with suppress(FileNotFoundError):
                    readable_copy(file).unlink()
            else:
                self._done[file.name] = self._read(file)
        make_writable(self.folder)

    def _read(self, file: Path) -> ConvergeResult:
        tensors, header = read(file, KIND)
        with parsing(file):
            wrong = differences(header.get("specification", {}), self.specification)
            if wrong:
                raise CheckpointError(
                    f"{file}: belongs to another run ({'; '.join(wrong)}); give another "
                    "checkpoint directory, or resume=False to remove it"
                )
            return ConvergeResult.from_payload(tensors, header)

    def get(self, group: torch.Tensor) -> ConvergeResult | None:
        """The result of a finished group."""
        return self._done.get(self._name(group))

    def put(self, group: torch.Tensor, result: ConvergeResult) -> None:
        """Write the result of a group, whole."""
        tensors, header = result.payload()
        header = {**header, "specification": self.specification}
        write(self.folder / self._name(group), KIND, tensors, header)

    @staticmethod
    def _name(group: torch.Tensor) -> str:
        return f"converge-{int(group[0]):06d}-{int(group[-1]):06d}.safetensors"


def in_groups(
    checkpoint: Checkpoint,
    groups: list[torch.Tensor],
    run: Callable[[torch.Tensor, float | None], ConvergeResult],
    max_seconds: float | None,
    progress: bool,
) -> ConvergeResult:
    """Run the groups that are not done yet, writing each; returns all networks' results.

    Args:
        checkpoint: where finished groups are.
        groups: consecutive networks each.
        run: takes networks and the seconds left to the end of them; a result that was interrupted
            is not written, and with 0 seconds it says where networks stand that were not begun.
        max_seconds: for all groups together.
        progress: show a progress bar on a terminal.
    """
    started = time.monotonic()
    count = int(groups[-1][-1]) + 1
    parts: list[ConvergeResult] = []
    interrupted = False
    with Meter(progress, "converge", count) as meter:
        for group in groups:
            part = checkpoint.get(group)
            try:
                if part is None:
                    left = None
                    if interrupted:
                        left = 0.0
                    elif max_seconds is not None:
                        left = max(max_seconds - (time.monotonic() - started), 0.0)
                    part = run(group, left)
                    if not part.interrupted:
                        checkpoint.put(group, part)
            except KeyboardInterrupt:
                interrupted = True
                part = run(group, 0.0) if part is None else part
            interrupted |= part.interrupted
            parts.append(part)
            done = int(group[-1]) + 1
            meter.update(done, count - done, part.loss, " ")
    result = ConvergeResult.concat(parts)
    result.interrupted = interrupted
    result.seconds = time.monotonic() - started
    return result
