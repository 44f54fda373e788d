"""One module network, its parameters a flat vector, by `torch.func` or plain autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, grad, grad_and_value, jvp, vjp, vmap

from edt.objectives.batches import Batch
from edt.objectives.function import output_curvature

if TYPE_CHECKING:
    from edt.ensemble.architecture import Architecture
    from edt.tasks.module_task import ModuleTask

__all__ = ["SingleModule"]

#: Vectors multiplied by `vmap` in one pass.
VECTORS = 32


@dataclass
class SingleModule:
    """What a network of one architecture does on one task; calls take its flat vector.

    Those named ``_alone`` are what `torch.func` does not take, by plain autograd.

    Attributes:
        architecture, task: whose.
        input_shape: of a sample, or None: as the data has it.
    """

    architecture: Architecture
    task: ModuleTask
    input_shape: tuple[int, ...] | None
    _kept: tuple[torch.Tensor, torch.Tensor, Batch] | None = field(
        default=None, init=False, repr=False
    )

    def module(self, device: torch.device) -> torch.nn.Module:
        """What is called."""
        return self.architecture.module_on(device)

    def jacobian(self, row: torch.Tensor, batch: Batch) -> torch.Tensor:
        """``[outputs, P]`` of one network."""
        point = row.clone().requires_grad_(True)
        out = self._outputs(point, batch).reshape(-1)
        parts = [
            torch.autograd.grad(out[k], point, retain_graph=True)[0] for k in range(out.numel())
        ]
        return torch.stack(parts).detach()

    def _call(self, flat: torch.Tensor) -> tuple[Callable[..., Any], dict[str, torch.Tensor]]:
        """(the module with these numbers, its buffers, which calls may change)."""
        parameters, buffers = self.architecture.tensors(flat)
        module = self.module(flat.device)

        def called(*args: Any, **kwargs: Any) -> Any:
            return functional_call(module, (parameters, buffers), args, kwargs)

        return called, buffers

    def _inputs(self, batch: Batch) -> Any:
        inputs = batch.content[0]
        if self.input_shape is not None and isinstance(inputs, torch.Tensor):
            return inputs.reshape(inputs.shape[0], *self.input_shape)
        return inputs

    def _outputs(self, flat: torch.Tensor, batch: Batch) -> torch.Tensor:
        called, _ = self._call(flat)
        return self.task.outputs(called, self._inputs(batch))

    def _value_and_buffers(
        self, flat: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        called, buffers = self._call(flat)
        if self.task.splits:
            outputs = self.task.outputs(called, self._inputs(batch))
            value = self.task.criterion(outputs, batch.content[1], batch)
        else:
            value = self.task.value(called, batch)
        after = [
            buffers[block.name].detach().reshape(-1).to(flat.dtype)
            for block in self.architecture.blocks
            if block.role == "buffer"
        ]
        learned = self.architecture.size - sum(part.numel() for part in after)
        kept = flat.detach()[:learned]
        return value, torch.cat([kept, *after]) if after else kept

    def _value(self, flat: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self._value_and_buffers(flat, batch)[0]

    def _gradient(
        self, flat: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        def value(point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self._value_and_buffers(point, batch)

        found = grad_and_value(value, has_aux=True)(flat)
        return found[0], found[1][0], found[1][1]

    def _step(
        self,
        flat: torch.Tensor,
        _: None,
        x: torch.Tensor,
        y: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self._gradient(flat, self._drawn(x, y, weights))

    def _step_alone(
        self,
        flat: torch.Tensor,
        _: None,
        x: torch.Tensor,
        y: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self._gradient_alone(flat, self._drawn(x, y, weights))

    @staticmethod
    def _drawn(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> Batch:
        return Batch((x, y), 1.0, weights, int(x.shape[0]))

    def _hvp(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        def value(point: torch.Tensor) -> torch.Tensor:
            return self._value(point, batch)

        pull: Any = vjp(grad(value), flat)[1]
        product: torch.Tensor = vmap(lambda v: pull(v)[0], chunk_size=VECTORS)(vectors)
        return product

    def _ggn(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        def outputs(point: torch.Tensor) -> torch.Tensor:
            return self._outputs(point, batch)

        found = vjp(outputs, flat)
        f, pull = found[0], found[1]
        slope = grad(lambda out: self.task.criterion(out, batch.content[1], batch))
        lifted = self._lifted(f, batch)

        def product(v: torch.Tensor) -> torch.Tensor:
            moved = jvp(outputs, (flat,), (v,))[1]
            if lifted is None:
                bent = jvp(slope, (f,), (moved,))[1]
            else:
                bent = (lifted @ moved[..., None])[..., 0]
            back: torch.Tensor = pull(bent)[0]
            return back

        many: torch.Tensor = vmap(product, chunk_size=VECTORS)(vectors)
        return many

    def _gradient_alone(
        self, flat: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            point = flat.clone().requires_grad_(True)
            value, after = self._value_and_buffers(point, batch)
            (slope,) = torch.autograd.grad(value, point)
        return slope, value.detach(), after

    def _lifted(self, f: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        """``w_n [l''_n]_+`` of a loss that may bend down, ``[n, o, o]``; None: it is as it is."""
        each = self.task.each
        if each is None:
            return None
        assert batch.weights is not None
        return batch.weights[:, None, None] * output_curvature(each, f, batch.content[1], lift=True)

    def _hvp_alone(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        point, slope = self._slope_of(flat, batch)
        rows = [torch.autograd.grad(slope, point, v, retain_graph=True)[0] for v in vectors]
        return torch.stack(rows)

    def _slope_of(self, flat: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(a point, the gradient there, with its graph); the last one is kept.

        So a product after the first costs one pass back instead of a pass forward and two back.
        """
        if self._kept is not None:
            point, slope, known = self._kept
            if known is batch and torch.equal(point, flat):
                return point, slope
        self._kept = None  # before another graph takes its room
        with torch.enable_grad():
            point = flat.clone().requires_grad_(True)
            value = self._value(point, batch)
            (slope,) = torch.autograd.grad(value, point, create_graph=True)
        self._kept = (point, slope, batch)
        return point, slope

    def _ggn_alone(self, flat: torch.Tensor, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            point = flat.clone().requires_grad_(True)
            f = self._outputs(point, batch)
            # J v as the derivative of u -> J^T u, which is linear in u.
            u = torch.zeros_like(f, requires_grad=True)
            (back,) = torch.autograd.grad(f, point, u, create_graph=True)
            cut = f.detach().requires_grad_(True)
            value = self.task.criterion(cut, batch.content[1], batch)
            (slope,) = torch.autograd.grad(value, cut, create_graph=True)
            rows, lifted = [], self._lifted(f.detach(), batch)
            for v in vectors:
                (moved,) = torch.autograd.grad(back, u, v, retain_graph=True)
                if lifted is None:
                    (bent,) = torch.autograd.grad(slope, cut, moved, retain_graph=True)
                else:
                    bent = (lifted @ moved[..., None])[..., 0]
                (found,) = torch.autograd.grad(f, point, bent, retain_graph=True)
                rows.append(found)
        return torch.stack(rows)
