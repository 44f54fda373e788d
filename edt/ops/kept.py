"""What is made once on a device and kept: ready on every stream that uses it, never in a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Kept", "current_stream", "on_device", "outside_graphs"]


def current_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Torch's current stream there; None on the CPU."""
    return torch.cuda.current_stream(device) if device.type == "cuda" else None


def on_device(device: torch.device) -> AbstractContextManager[None]:
    """Within it a GPU is the current one; afterwards the one before is, without a context there
    that nobody asked for."""
    return torch.cuda.device(device if device.type == "cuda" else -1)


def outside_graphs(device: torch.device, what: str) -> None:
    """Insist that something to be kept is not about to be made in a CUDA graph, whose memory holds
    nothing before a replay.

    Raises:
        RuntimeError: torch's current stream is capturing.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"a CUDA graph cannot hold the first call with some {what}: make the same call once "
            "before capturing it"
        )


class Kept:
    """Tensors that stay, written on torch's current stream; calls on others wait for that once.

    A graph being captured does not wait: it begins after the device has finished
    (`torch.cuda.graph` sees to that), and its replays need the tensors alive, which whoever keeps
    it must see to.
    """

    def __init__(self, *tensors: torch.Tensor) -> None:
        self._tensors = tensors
        stream = current_stream(tensors[0].device)
        self._written = None if stream is None else stream.record_event()
        self._ready = set() if stream is None else {stream.cuda_stream}

    def use(self, stream: torch.cuda.Stream | None) -> None:
        """Let a stream's next calls read the tensors; their memory is theirs until it is done."""
        if stream is None or self._written is None or stream.cuda_stream in self._ready:
            return
        for tensor in self._tensors:
            tensor.record_stream(stream)
        if not torch.cuda.is_current_stream_capturing():
            stream.wait_event(self._written)
            self._ready.add(stream.cuda_stream)
