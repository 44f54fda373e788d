"""Whether Hessians fit the memory of their device, asked before any work."""

from __future__ import annotations

from pathlib import Path

import torch

__all__ = ["free_bytes", "room_for_hessians"]

#: Smaller results are not asked for: asking takes longer than some of them.
_LARGE = 2**28


def free_bytes(device: torch.device) -> int | None:
    """Bytes a new tensor on the device may have, or None where nobody says.

    On the CPU what Linux counts as available; on a GPU what is free there and what torch's
    allocator holds unused.
    """
    if device.type == "cuda":
        if torch.cuda.is_current_stream_capturing():
            return None
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    info = Path("/proc/meminfo")
    if device.type != "cpu" or not info.is_file():
        return None
    for line in info.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return None


def room_for_hessians(size: int, coords: torch.Tensor, theta: torch.Tensor) -> None:
    """Raise if the Hessians of some networks are certain not to fit.

    Args:
        size: entries of all matrices together.
        coords: int64 ``[B]``, sides of the matrices.
        theta: the parameters, for dtype and device.

    Raises:
        MemoryError: more is needed than is free; names both in bytes.
    """
    needed = size * theta.element_size()
    if needed < _LARGE:
        return
    free = free_bytes(theta.device)
    if free is not None and needed > free:
        raise MemoryError(
            f"the Hessians of {coords.numel()} networks of up to {int(coords.max()):,} coordinates "
            f"need {needed:,} bytes ({needed / 2**30:,.1f} GiB), but {theta.device} has {free:,} "
            "free; ask for fewer networks at once, for edt.hvp, edt.lanczos or "
            "edt.HessianOperator, which need no matrix, or prune or freeze more parameters"
        )
