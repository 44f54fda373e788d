"""A GPU that is not there: tensors that say "cuda" and behave as a GPU's towards the CPU's.

Their numbers lie in ordinary memory and are computed by PyTorch's CPU kernels, or by the CUDA
kernels over their shim. What a real GPU refuses is refused: mixing tensors of both devices (numbers
without dimensions and indices may come from the CPU), `numpy`, and addresses of one device in the
core of the other. Calls that would wait for a GPU, or that it would wait for, are counted
(`synchronisations`): reading a number, a shape that depends on numbers, copies from and to the
CPU's memory, which is not pinned. What works here may still fail on a GPU (operators PyTorch lacks
there); what fails here would fail there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from edt.ops import library

__all__ = ["GPU", "Streams", "pretend_gpu", "synchronisations"]

GPU = torch.device("cuda", 0)
_REFUSED = {"numpy", "__array__", "__dlpack__"}
#: Code that hands addresses to the GPU's engine, and its functions that read the CPU's memory.
_ADDRESSES = {"edt.ops.cuda", "edt.ops.cuda_chain"}
_READS_HOST = {"_upload", "device_plan", "train"}
#: Calls that wait for a GPU: their result is a number of Python, or its shape depends on numbers.
_WAITS = {
    *("item", "tolist", "is_nonzero", "equal", "allclose", "nonzero", "argwhere", "masked_select"),
    *("unique", "unique_consecutive", "bincount", "__bool__", "__int__", "__float__", "__index__"),
    *("__complex__", "__contains__", "_local_scalar_dense", "repeat_interleave"),
}
#: Where the pretended GPU has been waited for: "name in module.function", since someone cleared it.
synchronisations: list[str] = []
_OPS: dict[str, Callable[..., Any]] = {
    name: library.KERNELS[name]
    for name in ("predict", "predict_vjp", "loss", "loss_and_grad", "hvp", "hessian")
}


class Pretended(torch.Tensor):
    """A tensor "on the GPU"."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


def _there(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if isinstance(tensor, Pretended) else tensor.as_subclass(Pretended)


def _here(value: Any) -> Any:
    return value.as_subclass(torch.Tensor) if isinstance(value, Pretended) else value


def _is_gpu(device: Any) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.split(":")[0] == "cuda"


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func is torch.device:
        return func(*args, **kwargs)
    name = getattr(func, "__name__", str(func))
    owner = getattr(func, "__self__", None)
    if name == "__get__":
        return _attribute(getattr(owner, "__name__", ""), func, args, kwargs)
    if name.split(".")[0] in _OPS and "edt" in str(getattr(func, "_qualified_op_name", "")):
        return _operator(func, args, kwargs)
    if name == "cuda":
        return _there(_here(args[0]).clone())
    if func is torch.autograd.grad or name == "requires_grad_":
        # About these very tensors, not others of the same memory.
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
        gpu = any(isinstance(a, Pretended) for a in tree_leaves(args))
        return tree_map(_there if gpu else _here, found)
    tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
    gpu = [t for t in tensors if isinstance(t, Pretended)]
    if name == "data_ptr":
        _check_address(args[0])
    if name in _REFUSED and gpu:
        raise TypeError(f"can't convert cuda:0 device type tensor to numpy ({name})")
    target = _target(name, args, kwargs)
    if _waits(name, args, kwargs, gpu, target):
        synchronisations.append(f"{name} in {_caller()}")
    if target is None:
        _insist_on_one_device(name, args, tensors, gpu)
    plain_args = tree_map(_without_gpu, args)
    plain_kwargs = tree_map(_without_gpu, kwargs)
    with torch._C.DisableTorchFunctionSubclass():
        out = func(*plain_args, **plain_kwargs)
    if target is not None and target.type == "cpu" and name in ("to", "cpu"):
        # A copy, as between devices: what shares memory here would not there.
        return out.clone() if gpu else out
    goes = target.type == "cuda" if target is not None else _result_there(name, args, gpu)
    if not goes:
        return tree_map(_here, out)
    if name == "to" and not gpu:
        out = out.clone()
    if args and isinstance(args[0], Pretended) and out is plain_args[0]:
        return args[0]  # in place
    return tree_map(lambda o: _there(o) if isinstance(o, torch.Tensor) else o, out)


def _waits(
    name: str, args: Any, kwargs: Any, gpu: list[torch.Tensor], target: torch.device | None
) -> bool:
    """Whether the CPU would wait for the GPU in this call."""
    if name == "repeat_interleave" and "output_size" in kwargs:
        return False
    if gpu and name in _WAITS:
        return True
    if gpu and name in ("__getitem__", "__setitem__", "index_put_"):
        # A mask becomes indices, indices and values of the CPU become tensors of the GPU.
        places = [i for i in tree_leaves(args[1]) if isinstance(i, (torch.Tensor, list))]
        return any(not isinstance(i, Pretended) or i.dtype == torch.bool for i in places)
    if name == "copy_":
        return isinstance(args[0], Pretended) != isinstance(args[1], Pretended)
    if target is None or name not in ("to", "cpu", "tensor", "as_tensor"):
        return False
    there = target.type == "cuda"
    return (name in ("tensor", "as_tensor") and there and not gpu) or bool(gpu) != there


def _caller() -> str:
    """The function of the package that called."""
    frame = sys._getframe(1)
    while not frame.f_globals["__name__"].startswith("edt.") and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_globals['__name__']}.{frame.f_code.co_name}"


def _without_gpu(value: Any) -> Any:
    if _is_gpu(value):
        return torch.device("cpu") if isinstance(value, torch.device) else "cpu"
    return _here(value)


def _target(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device | None:
    """The device a call names, if it names one."""
    if name == "cpu":
        return torch.device("cpu")
    device = kwargs.get("device")
    if device is None and name == "to":
        for value in args[1:]:
            if isinstance(value, torch.Tensor):
                device = GPU if isinstance(value, Pretended) else torch.device("cpu")
            elif isinstance(value, (str, torch.device)):
                device = value
    if device is None:
        return None
    return torch.device(device)


def _check_address(tensor: torch.Tensor) -> None:
    """Addresses of a GPU are for its engine only, and its engine reads no others."""
    frame = sys._getframe(1)
    while (
        frame.f_globals["__name__"] in (__name__, "torch._tensor", "edt.ops.training")
        and frame.f_back is not None
    ):
        frame = frame.f_back
    module, function = frame.f_globals["__name__"], frame.f_code.co_name
    if isinstance(tensor, Pretended):
        if module.startswith("edt.") and module not in _ADDRESSES:
            raise RuntimeError(f"{module}.{function} reads the GPU's memory on the CPU")
    elif module in _ADDRESSES and function not in _READS_HOST:
        raise RuntimeError(f"{module}.{function} hands memory of the CPU to the GPU")


def _insist_on_one_device(
    name: str, args: tuple[Any, ...], tensors: list[torch.Tensor], gpu: list[torch.Tensor]
) -> None:
    if not gpu or name == "copy_":
        return
    cpu = [t for t in tensors if not isinstance(t, Pretended) and t.dim() > 0]
    if name in ("__getitem__", "__setitem__", "index_put_"):
        values = args[2] if len(args) > 2 else None
        indices = [i for i in tree_leaves(args[1]) if isinstance(i, torch.Tensor)]
        if not isinstance(args[0], Pretended) and indices:
            raise RuntimeError(f"{name}: a tensor of the CPU with indices or values of the GPU")
        if not indices or not isinstance(values, torch.Tensor):
            return
        cpu = [values] if values.dim() > 0 and not isinstance(values, Pretended) else []
    if cpu:
        shapes = [list(t.shape) for t in cpu]
        raise RuntimeError(f"{name}: tensors of the CPU, of shapes {shapes}, beside the GPU's")


def _result_there(name: str, args: tuple[Any, ...], gpu: list[torch.Tensor]) -> bool:
    if name in ("__getitem__",):
        return isinstance(args[0], Pretended)
    return bool(gpu)


def _attribute(name: str, func: Any, args: Any, kwargs: Any) -> Any:
    tensor = args[0]
    known = {"device": GPU, "is_cuda": True, "is_cpu": False}
    if isinstance(tensor, Pretended) and name in known:
        return known[name]
    # A tensor of the same memory has another place in autograd's graph.
    itself = name in ("grad_fn", "is_leaf")
    with torch._C.DisableTorchFunctionSubclass():
        out = func(tensor if itself else _here(tensor), *args[1:], **kwargs)
    is_tensor = isinstance(tensor, Pretended) and isinstance(out, torch.Tensor)
    return _there(out) if is_tensor else out


def _operator(func: Any, args: Any, kwargs: Any) -> Any:
    """One of the package's own operators: the GPU's kernel if parameters are there."""
    name = func._qualified_op_name.split("::")[1]
    if isinstance(args[0], Pretended):
        with _Factories():  # the mode is off while it answers
            return _OPS[name](*args, **kwargs)
    if any(isinstance(a, Pretended) for a in tree_leaves((args, kwargs))):
        raise RuntimeError(f"edt::{name}: parameters on the CPU, other tensors on the GPU")
    with torch._C.DisableTorchFunctionSubclass():
        return func(*args, **kwargs)


class Streams:
    """Torch's streams on the pretended GPU: which is current, and what waited for what.

    Attributes:
        current: number of the current stream; tests change it.
        capturing: whether it is being captured in a graph.
        waits: (stream that waits, stream that recorded the event).
        uses: (address of the tensor, stream) of every `record_stream`.
    """

    def __init__(self) -> None:
        self.current, self.capturing = 0, False
        self.waits: list[tuple[int, int]] = []
        self.uses: list[tuple[int, int]] = []

    def install(self, monkeypatch: Any) -> None:
        """In place of `torch.cuda`'s."""
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _=None: _Stream(self))
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: self.capturing)
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda *a: self._use(*a))

    def _use(self, tensor: torch.Tensor, stream: _Stream) -> None:
        with torch._C.DisableTorchFunctionSubclass():
            self.uses.append((_here(tensor).data_ptr(), stream.cuda_stream))


class _Stream:
    def __init__(self, owner: Streams) -> None:
        self._owner, self.cuda_stream = owner, owner.current

    def synchronize(self) -> None:
        synchronisations.append(f"synchronize in {_caller()}")

    def record_event(self) -> int:
        return self.cuda_stream

    def wait_event(self, event: int) -> None:
        self._owner.waits.append((self.cuda_stream, event))


class _Factories(TorchFunctionMode):
    """Tensors made on the GPU from nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


@contextmanager
def pretend_gpu() -> Iterator[None]:
    """Within it `torch.zeros(3, device="cuda")` and the like work."""
    with _Factories():
        yield
