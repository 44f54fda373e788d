"""The ops on the CUDA engine: tensors in, launches on torch's current stream, tensors out.

Python owns all memory, through torch's allocator: the structure and the work list of a call are
blocks of bytes that the core writes once and that are then copied to the device and kept with the
tensors they came from (`edt.ops.kept`); workspaces are taken per call. Nothing here waits for the
device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from edt import _core
from edt.errors import ShapeError, unknown_choice
from edt.ops.activations import ACTIVATION_CODES
from edt.ops.cache import TensorCache, versions
from edt.ops.kept import Kept, current_stream, on_device, outside_graphs
from edt.ops.losses import LOSSES, loss_code
from edt.ops.problem import Problem
from edt.ops.training import Rule, Run, train_arguments

__all__ = [
    "CudaCalls",
    "activation",
    "device_data",
    "device_plan",
    "engine",
    "plan_of",
    "unusable",
    "usable",
]

#: Samples are stored in multiples of this.
_SAMPLES = 32


def engine() -> Any:
    """The compiled CUDA engine, `edt._core.cuda`.

    Raises:
        RuntimeError: edt was built without it.
    """
    found = getattr(_core, "cuda", None)
    if found is None:
        raise RuntimeError(
            "this build of edt has no CUDA engine: install nvcc and rebuild with EDT_CUDA=1, or "
            "use device='cpu'"
        )
    return found


def usable() -> bool:
    """Whether the CUDA engine is built and can run on torch's current device."""
    return unusable() is None


def unusable() -> str | None:
    """Why the CUDA engine cannot run on torch's current device, in one sentence; None: it can."""
    if getattr(_core, "cuda", None) is None:
        return "this build of edt has no CUDA engine"
    if not torch.cuda.is_available():
        return "PyTorch sees no GPU"
    return _refused(torch.cuda.current_device())


@lru_cache
def _refused(device: int) -> str | None:
    """What the engine's own runtime has against a device."""
    found = engine().runtime()
    if device >= found["devices"]:
        if found["driver"] // 1000 < found["runtime"] // 1000:
            return (
                f"edt was built with CUDA {_version(found['runtime'])}, and this driver knows CUDA "
                f"{_version(found['driver'])} at most: update the driver, or rebuild edt with an "
                "older nvcc (EDT_NVCC)"
            )
        return f"CUDA finds no device {device}: {found['error'] or 'torch may count others'}"
    capability, least = engine().capability(device), engine().least_capability
    if capability < least:
        return (
            f"edt's kernels need compute capability {least // 10}.{least % 10}, and this GPU has "
            f"{capability // 10}.{capability % 10}"
        )
    return None


def _version(number: int) -> str:
    """12080 -> "12.8"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _index(device: torch.device) -> int:
    return (
        torch.cuda.current_device()
        if device.type == "cuda" and device.index is None
        else (device.index or 0)
    )


def _upload(maker: Any, device: torch.device) -> torch.Tensor:
    """The block of bytes that ``maker`` writes, on the device."""
    outside_graphs(device, "structure or sizes")
    block = torch.empty(max(maker.block_bytes, 1), dtype=torch.uint8)
    maker.write(block.data_ptr())
    return block.to(device)


@dataclass
class DevicePlan:
    """A structure on a device.

    Attributes:
        plan: `_core.cuda.Plan`.
        block: its bytes on the device.
        coords: int64 ``[B]`` on the CPU, trainable parameters of each network.
        total: parameters of all networks.
        first_target: zeros, int64 ``[B]``, once needed.
        schedules: (schedule, its bytes, `Kept`) by job, sizes and options.
        kept: what `CudaCalls` makes ready.
    """

    plan: Any
    block: torch.Tensor
    coords: torch.Tensor
    total: int
    first_target: Moved | None = None
    schedules: dict[tuple[Any, ...], tuple[Any, torch.Tensor, Kept]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kept = Kept(self.block)

    @property
    def networks(self) -> int:
        """B."""
        return len(self.coords)

    def schedule(
        self,
        job: str,
        is_double: bool,
        samples: int,
        *,
        vectors: int = 1,
        moments: bool = False,
        batch_size: int = 0,
    ) -> tuple[Any, torch.Tensor, Kept]:
        """The work list of one kind of call, made once."""
        key = (job, is_double, samples, vectors, moments, batch_size)
        if key not in self.schedules:
            schedule = engine().Schedule(
                self.plan,
                job,
                is_double,
                samples,
                _index(self.block.device),
                vectors,
                moments,
                batch_size,
            )
            block = _upload(schedule, self.block.device)
            self.schedules[key] = (schedule, block, Kept(block))
        return self.schedules[key]


@dataclass
class DeviceData:
    """Samples in the kernels' layout, feature by feature and padded.

    Attributes:
        data: `_core.cuda.Data`, pointers into the tensors.
        tensors: what it points to.
        samples, d_in, d_out: sizes.
        dtype: of the numbers.
        targets: T.
        kept: what `CudaCalls` makes ready.
    """

    data: Any
    tensors: tuple[torch.Tensor, ...]
    samples: int
    d_in: int
    d_out: int
    targets: int
    dtype: torch.dtype

    def __post_init__(self) -> None:
        self.kept = Kept(*self.tensors)


class Moved:
    """A tensor's copy on a device (or itself, where it is there already).

    Attributes:
        there: the copy, contiguous.
        kept: what makes it ready; None for the tensor itself, which is its owner's business.
    """

    def __init__(self, tensor: torch.Tensor, *, own: bool) -> None:
        self.there = tensor
        self.kept = Kept(tensor) if own else None

    def address(self, stream: torch.cuda.Stream | None) -> int:
        """For the next call on a stream."""
        if self.kept is not None:
            self.kept.use(stream)
        return int(self.there.data_ptr())


_plans: TensorCache[DevicePlan] = TensorCache()
_data: TensorCache[DeviceData] = TensorCache()
_copies: TensorCache[Moved] = TensorCache()


def moved(tensor: torch.Tensor, device: torch.device) -> Moved:
    """A contiguous copy on the device, kept as long as the original lives (no copying again, which
    a CUDA graph could not hold)."""
    if tensor.device == device and tensor.is_contiguous():
        return Moved(tensor, own=False)
    found = _copies.find((tensor,), device)
    if found is None:
        outside_graphs(device, "task_index or matrices")
        found = Moved(tensor.to(device).contiguous(), own=True)
        _copies.store(found, (tensor,), device)
    return found


def device_plan(
    state: torch.Tensor, layer_widths: torch.Tensor, bias: bool, device: torch.device
) -> DevicePlan:
    """The structure on a device, from the cache if it is there.

    Raises:
        ShapeError: ``state`` does not fit the widths.
    """
    key = (state, layer_widths)
    found = _plans.find(key, bias, device)
    if found is not None:
        return found
    outside_graphs(device, "structure")
    widths = layer_widths.to("cpu", torch.int64).contiguous()
    kinds = state.to("cpu", torch.uint8).contiguous()
    sizes = ((widths[:, :-1] + int(bias)) * widths[:, 1:]).sum(1)
    if kinds.dim() != 1 or kinds.numel() != int(sizes.sum()):
        raise ShapeError(
            f"state must have shape [{int(sizes.sum())}] (all parameters of {widths.shape[0]} "
            f"networks), got {list(kinds.shape)}"
        )
    plan = engine().Plan(
        widths.data_ptr(), widths.shape[0], widths.shape[1], bias, kinds.data_ptr(), kinds.numel()
    )
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    before = torch.cat([torch.zeros(1, dtype=torch.int64), (kinds == 1).cumsum(0)])
    made = DevicePlan(plan, _upload(plan, device), before[ends].diff(), kinds.numel())
    return _plans.store(made, key, bias, device)


def plan_of(problem: Problem, device: torch.device) -> DevicePlan:
    """The structure of a problem on a device."""
    return device_plan(problem.state, problem.layer_widths, problem.bias, device)


def device_data(
    x: torch.Tensor, y: torch.Tensor, coef: torch.Tensor, loss: str, d_out: int
) -> DeviceData:
    """The samples in the kernels' layout, from the cache if they are there.

    Args:
        x: ``[N, d_in]`` or ``[T, N, d_in]``.
        y: targets ``[N, d_out]`` or ``[T, N, d_out]``, or classes ``[N]`` or ``[T, N]``.
        coef: ``[T, N]``.
        loss: name in `edt.ops.losses.LOSSES`.
        d_out: outputs.

    Raises:
        ShapeError, ValueError: the tensors do not fit each other.
    """
    key, rest = (x, y, coef), (loss, d_out)
    found = _data.find(key, *rest)
    if found is None:
        outside_graphs(x.device, "data")
        found = _data.store(_arrange(x, y, coef, loss, d_out), key, *rest)
    return found


def _arrange(
    x: torch.Tensor, y: torch.Tensor, coef: torch.Tensor, loss: str, d_out: int
) -> DeviceData:
    if loss not in LOSSES:
        raise unknown_choice("loss", loss, tuple(LOSSES))
    entropy = LOSSES[loss].classes
    if x.dtype not in (torch.float32, torch.float64) or coef.dtype != x.dtype:
        raise ValueError(f"x and coef must be float32 or float64, got {x.dtype} and {coef.dtype}")
    if not entropy and y.dtype != x.dtype:
        raise ValueError(f"y must have the dtype of x, {x.dtype}, got {y.dtype}")
    targets, samples = coef.shape
    if x.shape[-2] != samples or y.shape[-1 if entropy else -2] != samples:
        raise ShapeError(
            f"x, y and coef must agree in samples ({samples}), got shapes {list(x.shape)}, "
            f"{list(y.shape)} and {list(coef.shape)}"
        )
    padded = -(-samples // _SAMPLES) * _SAMPLES
    # Padding repeats the last sample, so it never overflows where no true sample does.
    place = torch.arange(padded, device=x.device).clamp(max=samples - 1)

    def features(tensor: torch.Tensor) -> torch.Tensor:
        whole = tensor.expand(targets, samples, tensor.shape[-1])
        return whole[:, place].transpose(1, 2).contiguous()

    inputs, weights = features(x), coef[:, place].contiguous()
    wanted = labels = None
    if entropy:
        labels = y.expand(targets, samples)[:, place].to(torch.int32).contiguous()
    else:
        wanted = features(y)
    data = engine().Data(
        inputs.data_ptr(),
        0 if wanted is None else wanted.data_ptr(),
        0 if labels is None else labels.data_ptr(),
        weights.data_ptr(),
        padded,
        samples,
        x.shape[-1],
        d_out,
        loss_code(loss),
        x.dtype == torch.float64,
    )
    kept = tuple(t for t in (inputs, wanted, labels, weights) if t is not None)
    return DeviceData(data, kept, samples, x.shape[-1], d_out, targets, x.dtype)


class CudaCalls:
    """See `edt.ops.calls.Calls`: launches on torch's current stream of the problem's device."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.device = problem.x.device
        self._plan = plan = plan_of(problem, self.device)
        self._data = device_data(problem.x, problem.y, problem.coef, problem.loss, problem.d_out)
        self.coords, self.total = plan.coords, plan.total
        self._code = ACTIVATION_CODES[problem.activation]
        task_index = problem.task_index
        if task_index is None:
            if plan.first_target is None:
                outside_graphs(self.device, "structure")
                zeros = torch.zeros(plan.networks, dtype=torch.int64, device=self.device)
                plan.first_target = Moved(zeros, own=True)
            self._index = plan.first_target
        elif task_index.shape != (plan.networks,) or task_index.dtype != torch.int64:
            raise ValueError(
                f"task_index must be int64 with shape [{plan.networks}], "
                f"got {task_index.dtype} with shape {list(task_index.shape)}"
            )
        else:
            self._index = moved(task_index, self.device)
        self._versions = versions(*problem.tensors)
        self._constants: dict[int, tuple[torch.Tensor, Moved]] = {}

    def _call(
        self,
        name: str,
        job: str,
        theta: torch.Tensor,
        *arguments: Any,
        active: torch.Tensor | None = None,
        vectors: int = 1,
        moments: bool = False,
        batch_size: int = 0,
    ) -> None:
        """Enqueue one call of the engine.

        The workspace goes back to torch's allocator at once: it is reused in stream order.
        """
        if theta.shape != (self.total,) or theta.dtype != self._data.dtype:
            raise ValueError(
                f"theta must be {self._data.dtype} with shape [{self.total}], "
                f"got {theta.dtype} with shape {list(theta.shape)}"
            )
        self.problem.insist_on(self._versions)
        schedule, block, kept = self._plan.schedule(
            job,
            self._data.dtype == torch.float64,
            self._data.samples,
            vectors=vectors,
            moments=moments,
            batch_size=batch_size,
        )
        workspace = torch.empty(
            max(schedule.workspace_bytes, 1), dtype=torch.uint8, device=self.device
        )
        stream = current_stream(self.device)
        for each in (self._plan.kept, self._data.kept, kept):
            each.use(stream)
        head = (
            self._plan.plan,
            schedule,
            self._plan.block.data_ptr(),
            block.data_ptr(),
            workspace.data_ptr(),
            self._data.data,
            self._index.address(stream),
            0 if active is None else active.data_ptr(),
            theta.data_ptr(),
            self._code,
            0 if stream is None else stream.cuda_stream,
        )
        with on_device(self.device):
            getattr(engine(), name)(head, *arguments)

    def predict(
        self, theta: torch.Tensor, out: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Outputs; see `Calls`."""
        self._call("evaluate", "forward", theta, out.data_ptr(), 0, 0, 0, active=active)

    def vjp(
        self,
        theta: torch.Tensor,
        cotangent: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """``J^T u``; see `Calls`."""
        arguments = (0, cotangent.data_ptr(), 0, out.data_ptr())
        self._call("evaluate", "gradient", theta, *arguments, active=active)

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Calls`."""
        self._call("evaluate", "forward", theta, 0, 0, loss.data_ptr(), 0, active=active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Calls`."""
        arguments = (0, 0, loss.data_ptr(), grad.data_ptr())
        self._call("evaluate", "gradient", theta, *arguments, active=active)

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors; see `Calls`."""
        count, total = vectors.shape
        if count > 0:
            arguments = (vectors.data_ptr(), out.data_ptr(), total, ggn)
            self._call("hvp", "curvature", theta, *arguments, active=active, vectors=count)

    def matrices(self, theta: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Zeros, to which `hessian` adds; see `Calls`."""
        return theta.new_zeros(int(offsets[-1]))

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Hessians; see `Calls`."""
        place = moved(offsets, self.device).address(current_stream(self.device))
        arguments = (out.data_ptr(), place, ggn)
        self._call("hessian", "curvature", theta, *arguments, active=active, vectors=0)

    def train(self, run: Run, rule: Rule, until: int) -> None:
        """First-order steps; see `Calls`.

        What stays the same during a run (rates, seeds, schedules, recorded steps) is copied to the
        device once.
        """
        moments, batch_size = run.v is not None, int(rule.hyper["batch_size"])
        schedule, _, _ = self._plan.schedule(
            "train",
            self._data.dtype == torch.float64,
            self._data.samples,
            moments=moments,
            batch_size=batch_size,
        )
        first = 0
        if schedule.counts_steps:
            # Launches for every step: the host must know them. The caller has just waited anyway.
            running = run.status == 0
            if not bool(running.any()):
                return
            first = int(run.steps[running].min())
        self._call(
            "train",
            "train",
            run.theta,
            rule.hyper,
            train_arguments(run, rule, until, self._constant),
            first,
            rule.record.data_ptr(),
            moments=moments,
            batch_size=batch_size,
        )

    def wait(self) -> None:
        """Waits for the stream."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def _constant(self, tensor: torch.Tensor) -> int:
        """Address of the device's copy of a tensor that does not change."""
        known = self._constants.get(id(tensor))
        if known is None or known[0] is not tensor:
            known = (tensor, Moved(tensor.to(self.device).contiguous(), own=True))
            self._constants[id(tensor)] = known
        return known[1].address(current_stream(self.device))


def activation(name: str, z: torch.Tensor, order: int) -> torch.Tensor:
    """The activation and its first ``order`` (0..3) derivatives at ``z``, ``[order + 1, *z]``."""
    z = z.contiguous()
    out = z.new_empty(order + 1, *z.shape)
    if z.numel() > 0:
        stream = current_stream(z.device)
        with on_device(z.device):
            engine().activation(
                ACTIVATION_CODES[name],
                order,
                z.numel(),
                z.data_ptr(),
                out.data_ptr(),
                z.dtype == torch.float64,
                0 if stream is None else stream.cuda_stream,
            )
    return out
