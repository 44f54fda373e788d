"""`ModuleEnsemble`: many networks given as torch modules, in one flat vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from edt.ensemble.architecture import Architecture, Reading, read_module
from edt.ensemble.arrays import as_tensor
from edt.ensemble.blocks import Block
from edt.ensemble.checks import check_dtype, finite_networks, network_indices
from edt.ensemble.init import check_ids, check_seeds
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE, emptied
from edt.errors import ShapeError
from edt.files import CheckpointError, parsing, read, write
from edt.frames import card
from edt.locations import Location

__all__ = ["ModuleEnsemble"]


class ModuleEnsemble:
    """B networks of any `torch.nn.Module`, of one or several architectures.

    The verbs of edt work on them as on `edt.Ensemble`: losses, gradients, curvature, training,
    minima, views, pruning. They are computed by PyTorch (`torch.func.functional_call`, `vmap` over
    networks of one architecture), not by edt's kernels.

    All parameters lie in the flat vector ``theta``, network after network; inside a network in the
    order of ``named_parameters()``, tied parameters once, then the buffers that training changes
    (running statistics), which are frozen entries. A parameter is pruned (0, no gradient, no
    coordinate), trainable or frozen, as in `edt.Ensemble`; ``requires_grad=False`` reads as
    frozen, masks of `torch.nn.utils.prune` as pruned. Modules are copied.

    Curvature and losses are those of ``module.eval()`` unless the task says otherwise. With batch
    statistics (``module.train()`` and batch norm) the outputs of a sample depend on the others of
    its batch: the loss of the whole data is then not the mean over batches of any split.

    Args:
        modules: B modules of one dtype and device.
        ids: int64 ``[B]``, names of the networks; default 0..B-1.
        labels: B values to tell networks apart in tables, e.g. widths; default: parameters.
        input_shape: of one sample; inputs of tasks ``[N, d_in]`` are reshaped to it.

    Raises:
        TypeError, ValueError: a module that cannot be read; names it.

    Example:
        >>> from torch import nn
        >>> ModuleEnsemble([nn.Sequential(nn.Linear(2, w), nn.ReLU(), nn.Linear(w, 1))
        ...                 for w in (3, 5)])
        ModuleEnsemble(2 networks, 2 architectures, Sequential, float32, 34 parameters)
    """

    #: What its files say they are.
    kind: ClassVar[str] = "module-ensemble"

    def __init__(
        self,
        modules: Sequence[nn.Module],
        *,
        ids: Any = None,
        labels: Sequence[Any] | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        if isinstance(modules, nn.Module) or not isinstance(modules, (list, tuple)):
            raise TypeError(
                f"modules must be a list of torch.nn.Module, got {type(modules).__name__}"
            )
        if not modules:
            raise ValueError("modules must hold at least one module, got none")
        read = [read_module(f"modules[{b}]", module) for b, module in enumerate(modules)]
        for b, one in enumerate(read):
            if one.theta.dtype != read[0].theta.dtype or one.theta.device != read[0].theta.device:
                raise ValueError(
                    f"modules must have one dtype and device: modules[0] has {read[0].theta.dtype}"
                    f" on {read[0].theta.device}, modules[{b}] {one.theta.dtype} on "
                    f"{one.theta.device}"
                )
        shape = None if input_shape is None else tuple(int(size) for size in input_shape)
        names = torch.arange(len(read)) if ids is None else check_ids(ids, len(read))
        tags = [None] * len(read) if labels is None else list(labels)
        if len(tags) != len(read):
            raise ShapeError(f"labels must have one entry a network ({len(read)}), got {len(tags)}")
        self._set(
            _shared(read),
            torch.cat([one.theta for one in read]),
            torch.cat([one.state for one in read]),
            names,
            tags,
            shape,
        )

    def _set(
        self,
        architectures: list[Architecture],
        theta: torch.Tensor,
        state: torch.Tensor,
        ids: torch.Tensor,
        labels: list[Any],
        input_shape: tuple[int, ...] | None,
    ) -> None:
        self._architectures = architectures
        self._state = state
        self._labels = labels
        #: int64 ``[B]``, names of the networks.
        self.network_ids = ids
        #: Shape of one sample, or None: as tasks have it.
        self.input_shape = input_shape
        sizes = torch.tensor([one.size for one in architectures])
        #: int64 ``[B + 1]``; network b owns ``theta[offsets[b]:offsets[b + 1]]``.
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
        #: Flat parameters ``[total]``.
        self.theta = theta.masked_fill(state == PRUNED, 0.0)

    def _with(self, theta: torch.Tensor, state: torch.Tensor) -> ModuleEnsemble:
        out = type(self).__new__(type(self))
        out._set(
            self._architectures, theta, state, self.network_ids, self._labels, self.input_shape
        )
        return out

    # Creation ------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        builder: Callable[[Any, int], nn.Module],
        widths: Any,
        seeds: Any = 0,
        *,
        dtype: torch.dtype | None = None,
        ids: Any = None,
        input_shape: Sequence[int] | None = None,
    ) -> ModuleEnsemble:
        """Every width with every seed, widths outermost: ``builder(width, seed)``.

        PyTorch's random numbers are set to ``seed`` before each call (and left as they were
        afterwards), so a network depends on its width and seed only.

        Args:
            builder: makes a module of a width and a seed.
            widths: list of anything the builder takes for a width; one value is a list of one.
            seeds: an integer or several, each in 0..2**64 - 1.
            dtype: convert to; default: as built.
            ids, input_shape: as in `ModuleEnsemble`.

        Raises:
            TypeError, ValueError: the builder does not return a module; says for what.

        Example:
            >>> from torch import nn
            >>> mlp = lambda width, seed: nn.Sequential(
            ...     nn.Linear(2, width), nn.GELU(), nn.Linear(width, 1))
            >>> ModuleEnsemble.build(mlp, [2, 4], range(3))
            ModuleEnsemble(6 networks, 2 architectures, Sequential, float32, 78 parameters)
        """
        if not callable(builder):
            raise TypeError(f"builder must be callable, got {type(builder).__name__}")
        if dtype is not None:
            check_dtype(dtype)
        many = list(widths) if isinstance(widths, (list, tuple, range, np.ndarray)) else [widths]
        chosen = check_seeds(seeds)
        modules = []
        for width in many:
            for seed in chosen:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(int(seed))
                    module = builder(width, int(seed))
                if not isinstance(module, nn.Module):
                    raise TypeError(
                        f"builder must return a torch.nn.Module, got {type(module).__name__} for "
                        f"width {width!r}, seed {seed}"
                    )
                modules.append(module if dtype is None else module.to(dtype))
        labels = [width for width in many for _ in chosen]
        return cls(modules, ids=ids, labels=labels, input_shape=input_shape)

    @classmethod
    def concat(cls, ensembles: Sequence[ModuleEnsemble]) -> ModuleEnsemble:
        """The networks of several ensembles, in order.

        Raises:
            TypeError: not module ensembles. ValueError: none, or unlike in dtype, device or
                input_shape.
        """
        if not isinstance(ensembles, (list, tuple)) or not ensembles:
            raise ValueError("ensembles must be a list of at least one edt.ModuleEnsemble")
        for k, other in enumerate(ensembles):
            if not isinstance(other, ModuleEnsemble):
                raise TypeError(f"ensembles[{k}] must be an edt.ModuleEnsemble, got {other!r}")
            for what in ("dtype", "device", "input_shape"):
                if getattr(other, what) != getattr(ensembles[0], what):
                    raise ValueError(
                        f"ensembles must agree in {what}: ensembles[0] has "
                        f"{getattr(ensembles[0], what)}, ensembles[{k}] {getattr(other, what)}"
                    )
        out = cls.__new__(cls)
        out._set(
            _alike([one for other in ensembles for one in other._architectures]),
            torch.cat([other.theta for other in ensembles]),
            torch.cat([other.state for other in ensembles]),
            torch.cat([other.network_ids for other in ensembles]),
            [label for other in ensembles for label in other._labels],
            ensembles[0].input_shape,
        )
        return out

    def save(self, path: Location) -> None:
        """Write one safetensors file: numbers, masks and ids, not the modules' code."""
        write(path, self.kind, *self.contents())

    def contents(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON header that hold all but the modules' code; see `of_contents`."""
        header = {
            "signatures": [one.signature for one in self._architectures],
            "labels": [_json_label(label) for label in self._labels],
            "input_shape": None if self.input_shape is None else list(self.input_shape),
        }
        tensors = {
            "theta": self.theta.detach().cpu(),
            "state": self._state.cpu(),
            "ids": self.network_ids,
        }
        return tensors, header

    @classmethod
    def load(
        cls, path: Location, modules: Sequence[nn.Module], data: bytes | None = None
    ) -> ModuleEnsemble:
        """Read a file written by `save` into modules built as those saved were.

        Args:
            path: of the file.
            modules: B modules (their numbers do not matter), one, or one an architecture in the
                order they first occur.
            data: the bytes of the file, where they have been read already.

        Raises:
            CheckpointError: missing, truncated, corrupted, or of other architectures.
        """
        tensors, header = read(path, cls.kind, data)
        with parsing(path):
            return cls.of_contents(tensors, header, modules)

    @classmethod
    def of_contents(
        cls, tensors: dict[str, torch.Tensor], header: dict[str, Any], modules: Sequence[nn.Module]
    ) -> ModuleEnsemble:
        """Inverse of `contents`.

        Raises:
            CheckpointError: of other architectures than the modules', or damaged.
        """
        wanted = list(header["signatures"])
        found = {
            one.architecture.signature: one.architecture
            for one in (read_module(f"modules[{k}]", m) for k, m in enumerate(modules))
        }
        missing = [k for k, name in enumerate(wanted) if name not in found]
        if missing:
            raise CheckpointError(
                f"network {missing[0]} has parameters of other names or shapes than any of the "
                "modules given"
            )
        theta, state, ids = tensors["theta"], tensors["state"], tensors["ids"]
        architectures = [found[name] for name in wanted]
        if theta.numel() != sum(one.size for one in architectures) or (
            state.shape != theta.shape or ids.numel() != len(wanted)
        ):
            raise CheckpointError("the lengths of its tensors do not fit; the file is damaged")
        shape = header["input_shape"]
        out = cls.__new__(cls)
        out._set(
            architectures,
            theta,
            state,
            ids,
            list(header["labels"]),
            None if shape is None else tuple(shape),
        )
        return out

    # What it is ----------------------------------------------------------------------------

    @property
    def B(self) -> int:
        """Number of networks."""
        return len(self._architectures)

    @property
    def total(self) -> int:
        """Length of ``theta``."""
        return int(self.offsets[-1])

    @property
    def dtype(self) -> torch.dtype:
        """torch.float32 or torch.float64."""
        return self.theta.dtype

    @property
    def device(self) -> torch.device:
        """Where ``theta`` and ``state`` lie."""
        return self.theta.device

    @property
    def state(self) -> torch.Tensor:
        """uint8 ``[total]``: 0 pruned, 1 trainable, 2 frozen. Not to be changed in place."""
        return self._state

    @property
    def masks(self) -> torch.Tensor:
        """bool ``[total]``, False where pruned."""
        return self._state != PRUNED

    @property
    def frozen(self) -> torch.Tensor:
        """bool ``[total]``, True where frozen."""
        return self._state == FROZEN

    @property
    def coords(self) -> torch.Tensor:
        """int64 ``[B]``, trainable parameters ``P_b`` of each network."""
        live = torch.split((self._state == TRAINABLE).cpu(), self.offsets.diff().tolist())
        return torch.stack([part.count_nonzero() for part in live])

    @property
    def finite(self) -> torch.Tensor:
        """bool ``[B]``, whether all parameters of a network are finite (False: it diverged)."""
        return finite_networks(self.theta, self.offsets)

    @property
    def layers_cut(self) -> torch.Tensor:
        """int64 ``[B]``, layers that pruning has left without a weight."""
        spans = [
            [(start + block.start, start + block.stop) for block in self.blocks(b)
             if block.role == "weight"]
            for b, start in enumerate(self.offsets[:-1].tolist())
        ]  # fmt: skip
        most = max(map(len, spans))
        # Shorter networks are filled up with nothing.
        filled = np.array([row + [(0, 0)] * (most - len(row)) for row in spans], dtype=np.int64)
        places = filled.reshape(self.B, most, 2)
        return emptied(self.state, places[..., 0], places[..., 1])

    @property
    def labels(self) -> list[Any]:
        """What tells the networks apart in tables: as given, or their numbers of parameters."""
        sizes = self.offsets.diff().tolist()
        return [
            size if label is None else label
            for label, size in zip(self._labels, sizes, strict=True)
        ]

    def blocks(self, b: int) -> tuple[Block, ...]:
        """Names, shapes, roles and places of network b's tensors."""
        return self._architectures[b].blocks

    def architecture(self, b: int) -> Architecture:
        """What network b computes."""
        return self._architectures[b]

    def groups(self) -> list[tuple[Architecture, torch.Tensor]]:
        """(architecture, int64 networks that have it), in order of first occurrence."""
        found: dict[int, tuple[Architecture, list[int]]] = {}
        for b, one in enumerate(self._architectures):
            found.setdefault(id(one), (one, []))[1].append(b)
        return [(one, torch.tensor(networks)) for one, networks in found.values()]

    def parameter(self, b: int, name: str) -> torch.Tensor:
        """View of one tensor of network b.

        Raises:
            KeyError: no such tensor; lists those there are.
        """
        for block in self.blocks(b):
            if block.name == name:
                start = int(self.offsets[b])
                return self.theta[start + block.start : start + block.stop].view(block.shape)
        names = ", ".join(block.name for block in self.blocks(b))
        raise KeyError(f"network {b} has no tensor {name!r}; it has {names}")

    def positions(self, indices: Any) -> torch.Tensor:
        """int64, where the parameters of the chosen networks lie in ``theta``, in their order."""
        spans = [(self.offsets[b], self.offsets[b + 1]) for b in network_indices(indices, self.B)]
        return torch.cat([torch.arange(int(start), int(stop)) for start, stop in spans])

    def __len__(self) -> int:
        return self.B

    def __getitem__(self, which: Any) -> ModuleEnsemble:
        """``ens[3]`` is `network`, ``ens[1:4]``, ``ens[[0, 2]]`` and ``ens[mask]`` are `select`."""
        if isinstance(which, slice):
            return self.select(range(*which.indices(self.B)))
        if isinstance(which, (int, np.integer)) and not isinstance(which, bool):
            return self.network(int(which))
        return self.select(which)

    def __iter__(self) -> Iterator[ModuleEnsemble]:
        return (self.network(b) for b in range(self.B))

    def _repr_html_(self) -> str:
        """What notebooks show: a row an architecture, with its tensors."""
        rows = []
        for one, networks in self.groups():
            names = [f"{block.name} {list(block.shape)}" for block in one.blocks]
            more = f", ... ({len(names)})" if len(names) > 4 else ""
            rows.append(
                {"module": type(one.skeleton).__name__, "networks": len(networks),
                 "parameters": one.size, "tensors": ", ".join(names[:4]) + more}
            )  # fmt: skip
        return card(repr(self), rows)

    def __repr__(self) -> str:
        groups = self.groups()
        kinds = " and ".join(dict.fromkeys(type(one.skeleton).__name__ for one, _ in groups))
        many = f", {len(groups)} architectures" if len(groups) > 1 else ""
        trainable = int(self.coords.sum())
        rest = self.total - trainable
        note = f" ({rest:,} pruned, frozen or buffers)" if rest else ""
        return (
            f"ModuleEnsemble({self.B} network{'s' if self.B > 1 else ''}{many}, {kinds}, "
            f"{str(self.dtype).removeprefix('torch.')}, {self.total:,} parameters{note})"
        )

    # Others made of it ---------------------------------------------------------------------

    def network(self, b: int) -> ModuleEnsemble:
        """Network b alone.

        Raises:
            IndexError: no such network.
        """
        return self.select([b])

    def select(self, indices: Any) -> ModuleEnsemble:
        """The chosen networks, in the given order, repeats allowed.

        Raises:
            TypeError, ValueError, IndexError: not indices of networks.
        """
        index = network_indices(indices, self.B).tolist()
        spans = [slice(int(self.offsets[b]), int(self.offsets[b + 1])) for b in index]
        out = type(self).__new__(type(self))
        out._set(
            [self._architectures[b] for b in index],
            torch.cat([self.theta[span] for span in spans]),
            torch.cat([self._state[span] for span in spans]),
            self.network_ids[torch.tensor(index)],
            [self._labels[b] for b in index],
            self.input_shape,
        )
        return out

    def with_theta(self, theta: Any) -> ModuleEnsemble:
        """The same networks with other parameters (copied; pruned ones become 0).

        Raises:
            TypeError, ShapeError: not a flat vector of this dtype and length.
        """
        given = as_tensor("theta", theta)
        self._check_flat("theta", given)
        if given.dtype != self.dtype:
            raise TypeError(f"theta must have dtype {self.dtype}, got {given.dtype}")
        return self._with(given.detach().to(self.device).clone(), self._state)

    def with_state(self, state: Any) -> ModuleEnsemble:
        """The same parameters, pruned (0), trainable (1) and frozen (2) anew; buffers stay frozen.

        Raises:
            TypeError, ShapeError, ValueError: not such a vector.
        """
        given = as_tensor("state", state)
        self._check_flat("state", given)
        if given.dtype != torch.uint8 or bool((given > FROZEN).any()):
            raise ValueError("state must be uint8 of 0 (pruned), 1 (trainable) and 2 (frozen)")
        fresh = given.to(self.device).clone()
        fresh[self.role_mask("buffer")] = FROZEN
        return self._with(self.theta.clone(), fresh)

    def with_masks(self, masks: Any) -> ModuleEnsemble:
        """The same parameters, pruned where ``masks`` (bool ``[total]``) is False.

        Raises:
            TypeError, ShapeError: not such a vector.
        """
        given = as_tensor("masks", masks)
        self._check_flat("masks", given)
        keep = given.to(self.device) != 0
        state = torch.where(keep, self._state.clamp_min(TRAINABLE), torch.zeros_like(self._state))
        return self.with_state(state)

    def with_frozen(self, frozen: Any) -> ModuleEnsemble:
        """The same networks, frozen where ``frozen`` (bool ``[total]``) is True and nowhere else.

        Raises:
            TypeError, ShapeError: not such a vector.
        """
        given = as_tensor("frozen", frozen)
        self._check_flat("frozen", given)
        fixed = given.to(self.device) != 0
        state = self._state.masked_fill(self._state == FROZEN, TRAINABLE)
        return self.with_state(state.masked_fill(fixed & (state == TRAINABLE), FROZEN))

    def to(self, dtype: torch.dtype | None = None, *, device: Any = None) -> ModuleEnsemble:
        """The same networks in another dtype or on another device (itself if nothing changes).

        Raises:
            ValueError: a dtype that is not float32 or float64.
        """
        kind = self.dtype if dtype is None else dtype
        check_dtype(kind)
        values = self.theta.to(self.device if device is None else device, kind)
        if values is self.theta:
            return self
        return self._with(values, self._state.to(values.device))

    def to_module(self, b: int) -> nn.Module:
        """Network b as a module of its own, in eval mode; masks as `torch.nn.utils.prune`'s."""
        start, stop = int(self.offsets[b]), int(self.offsets[b + 1])
        module = self._architectures[b].write(
            self.theta[start:stop].detach(), self._state[start:stop]
        )
        return module.eval()

    def role_mask(self, *roles: str) -> torch.Tensor:
        """bool ``[total]``, True in blocks of these roles (`edt.ensemble.blocks.ROLES`)."""
        parts = []
        for one in self._architectures:
            mask = torch.zeros(one.size, dtype=torch.bool)
            for block in one.blocks:
                mask[block.span] = block.role in roles
            parts.append(mask)
        return torch.cat(parts).to(self.device)

    def _check_flat(self, name: str, value: torch.Tensor) -> None:
        if tuple(value.shape) != (self.total,):
            raise ShapeError(f"{name} must have shape [{self.total}], got {list(value.shape)}")


def _shared(read: list[Reading]) -> list[Architecture]:
    return _alike([one.architecture for one in read])


def _alike(architectures: list[Architecture]) -> list[Architecture]:
    """The same, with one object for equal ones."""
    known: dict[Any, Architecture] = {}
    return [known.setdefault(one.key, one) for one in architectures]


def _json_label(label: Any) -> Any:
    if isinstance(label, (np.integer, np.floating)):
        return label.item()
    return label if isinstance(label, (int, float, str, type(None))) else str(label)
