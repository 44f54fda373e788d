"""`Ensemble`: many networks of different widths and masks in one flat vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edt.ensemble.activations import check_activation
from edt.ensemble.arrays import as_tensor
from edt.ensemble.checks import DTYPES, check_dtype, finite_networks, network_indices
from edt.ensemble.exchange import Exchange
from edt.ensemble.init import Initializer, check_ids, check_seeds, default_ids, initial_theta
from edt.ensemble.layout import Layout
from edt.ensemble.masks import FROZEN, PRUNED, TRAINABLE, check_state, flat_mask, random_state
from edt.ensemble.modules import read_modules, state_dict, write_module
from edt.ensemble.storage import read_ensemble, write_ensemble
from edt.ensemble.structure import Structure
from edt.errors import ShapeError
from edt.files import parsing
from edt.frames import card
from edt.locations import Location
from edt.scalars import flag

__all__ = ["Ensemble"]


class Ensemble(Exchange):
    """B networks ``d_in -> h_1 -> ... -> h_D -> d_out``, each with its own widths and masks.

    ``f(x) = W_D s(... s(W_0 x + b_0) ...) + b_D`` with the hidden activation s. All networks share
    depth, activation, bias flag, dtype and device. Their parameters lie one network after another
    in the flat vector ``theta``; inside a network, layer by layer, weight ``[out, in]`` row-major,
    then bias ``[out]``. Nothing is padded.

    A parameter is pruned (exactly 0, no gradient, no coordinate of the Hessian), trainable, or
    frozen (keeps its value, no gradient, no coordinate). An ensemble owns its tensors. Its
    parameters may be changed in place; its structure is fixed (`with_state` and its siblings
    return new ensembles).

    Args:
        widths: one entry a network: an int (one hidden layer) or a tuple ``(h_1, ..., h_D)``.
        d_in, d_out: inputs and outputs.
        activation: of the hidden layers, see `edt.ensemble.ACTIVATIONS`.
        bias: whether every layer has a bias.
        dtype: torch.float32 or torch.float64; default: that of ``theta``, else float64.
        theta: flat parameters ``[total]``, a tensor or an array of any library with DLPack; copied;
            default zeros. Pruned entries are set to 0.
        state: uint8 ``[total]`` of 0 (pruned), 1 (trainable), 2 (frozen); default all 1.
        ids: int64 ``[B]``, names of the networks; default 0..B-1.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it (`ShapeError` for
            lengths).

    Example:
        >>> Ensemble([2, 3], d_in=4, d_out=1)
        Ensemble(2 networks, 4 -> {2, 3} -> 1, tanh, biases, float64, 32 parameters)
    """

    def __init__(
        self,
        widths: Any,
        d_in: int,
        d_out: int,
        *,
        activation: str = "tanh",
        bias: bool = True,
        dtype: torch.dtype | None = None,
        theta: torch.Tensor | None = None,
        state: torch.Tensor | None = None,
        ids: Any = None,
    ) -> None:
        layout = Layout.of(widths, d_in, d_out, flag("bias", bias))
        activation = check_activation(activation)
        values = _theta(layout, theta, dtype)
        states = (
            torch.full((layout.total,), TRAINABLE, dtype=torch.uint8, device=values.device)
            if state is None
            else check_state(layout, state)
        )
        if states.device != values.device:
            raise ValueError(f"state must be on {values.device} like theta, got {states.device}")
        names = torch.arange(layout.B) if ids is None else check_ids(ids, layout.B)
        self._set(Structure(layout, states, activation, names), values)

    def _set(self, structure: Structure, theta: torch.Tensor) -> None:
        self._structure = structure
        if structure.has_pruned:
            theta = theta.masked_fill(structure.state == PRUNED, 0.0)
        #: Flat parameters ``[total]``.
        self.theta = theta

    @classmethod
    def _of(cls, structure: Structure, theta: torch.Tensor) -> Ensemble:
        """An ensemble from checked parts that are its own."""
        out = cls.__new__(cls)
        out._set(structure, theta)
        return out

    # Creation ------------------------------------------------------------------------------

    @classmethod
    def init(
        cls,
        widths: Any,
        seeds: Any = 0,
        *,
        d_in: int,
        d_out: int,
        activation: str = "tanh",
        scheme: str | Initializer = "torch",
        scale: float = 1.0,
        bias: bool = True,
        dtype: torch.dtype = torch.float64,
        masks: Any = None,
        sparsity: Any = None,
        ids: Any = None,
    ) -> Ensemble:
        """Randomly initialised networks: every width with every seed, widths outermost.

        A parameter depends on (seed, id, layer, index, scheme, scale) only, hence a network's
        parameters are the same alone and in any company, bit for bit and on any machine (float32
        networks hold the rounded float64 values). Equal widths and seeds give equal networks
        unless ``ids`` tell them apart.

        Schemes, with fan_in and fan_out of the unmasked layer (n = normal, u = uniform on (-1, 1)):

        ==========  =====================================  ================
        scheme      weights                                biases
        ==========  =====================================  ================
        torch       u / sqrt(fan_in), as `nn.Linear`       u / sqrt(fan_in)
        glorot      n sqrt(2 / (fan_in + fan_out))         0
        he          n sqrt(2 / fan_in)                     0
        normal      n / sqrt(fan_in)                       n / sqrt(fan_in)
        ntk         n / sqrt(fan_in)                       n / 10
        mean_field  n / sqrt(fan_in), last n / fan_in      0
        mup         n / sqrt(fan_in), last n / fan_in      0
        orthogonal  orthonormal rows or columns            0
        ==========  =====================================  ================

        "ntk", "mean_field" and "mup" belong to ``masked_train(lr_scale=...)`` of that name.
        Orthogonal matrices are the same on machines whose LAPACK rounds alike.

        Args:
            widths: list of ints or tuples, as in `Ensemble`; a single int is a list of one.
            seeds: an integer or several, each in 0..2**64 - 1.
            d_in, d_out, activation, bias, dtype: as in `Ensemble`.
            scheme: see above, or a function of a block's name ("0.weight", "0.bias", "2.weight",
                ...) and standard normal numbers of its shape that returns its values.
            scale: factor on all initial parameters.
            masks: as in `with_masks`.
            sparsity: share of weights to prune at random, a number in [0, 1) or one per layer
                0..D. The exact count is ``round(sparsity * n)`` of a layer's n weights (never
                all); which ones depends on seed, id and layer. Biases stay.
            ids: int64, one a network; default: a hash of the network's widths.

        Returns:
            `Ensemble` of ``len(widths) * len(seeds)`` networks.

        Raises:
            TypeError, ValueError: an argument is wrong; the message names it.

        Example:
            >>> Ensemble.init([2, 4], range(3), d_in=2, d_out=1)
            Ensemble(6 networks, 2 -> {2, 4} -> 1, tanh, biases, float64, 78 parameters)

        Reference: X. Glorot, Y. Bengio, AISTATS 2010; K. He et al., ICCV 2015; Salmon et al., SC
        2011 (Philox).
        """
        if isinstance(widths, (int, np.integer)) and not isinstance(widths, bool):
            widths = [widths]
        narrow = Layout.of(widths, d_in, d_out, flag("bias", bias))
        chosen = check_seeds(seeds)
        layout = Layout(np.repeat(narrow.table, len(chosen), axis=0), narrow.has_bias)
        activation = check_activation(activation)
        check_dtype(dtype)
        names = default_ids(layout) if ids is None else check_ids(ids, layout.B)
        if masks is not None and sparsity is not None:
            raise ValueError("masks and sparsity must not both be given")
        key = np.tile(np.array(chosen, dtype=np.uint64), narrow.B)
        name = names.numpy().astype(np.uint64)
        if masks is not None:
            state = flat_mask(layout, "masks", masks).to(torch.uint8)
        elif sparsity is not None:
            state = random_state(layout, sparsity, key, name)
        else:
            state = torch.full((layout.total,), TRAINABLE, dtype=torch.uint8)
        theta = initial_theta(layout, key, name, scheme, scale).to(dtype)
        return cls._of(Structure(layout, state, activation, names), theta)

    @classmethod
    def from_modules(cls, modules: Sequence[nn.Module], *, ids: Any = None) -> Ensemble:
        """Networks from `torch.nn.Sequential` of Linear, activation, ..., Linear.

        Masks of `torch.nn.utils.prune` become pruned parameters, ``requires_grad=False`` becomes
        frozen. A Linear without a bias beside others with one gets a pruned bias.

        Args:
            modules: B modules of equal depth, activation, dtype, inputs and outputs.
            ids: as in `Ensemble`.

        Raises:
            TypeError, ValueError: a module an ensemble cannot hold; names it.

        Example:
            >>> from torch import nn
            >>> Ensemble.from_modules([nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))])
            Ensemble(1 network, 2 -> 5 -> 1, tanh, biases, float32, 21 parameters)
        """
        parts = read_modules(modules)
        return cls(
            parts.widths,
            parts.d_in,
            parts.d_out,
            activation=parts.activation,
            bias=parts.bias,
            theta=parts.theta,
            state=parts.state.to(parts.theta.device),
            ids=ids,
        )

    @classmethod
    def load(cls, path: Location, data: bytes | None = None) -> Ensemble:
        """Read a file written by `save`.

        Args:
            path: of the file.
            data: its bytes, where they have been read already.

        Raises:
            CheckpointError: missing, truncated, corrupted or another kind of file.
        """
        tensors, header = read_ensemble(path, data)
        table = tensors["layer_widths"]
        with parsing(path):
            return cls(
                [tuple(row) for row in table[:, 1:-1].tolist()],
                int(table[0, 0]),
                int(table[0, -1]),
                activation=header["activation"],
                bias=header["bias"],
                theta=tensors["theta"],
                state=tensors["state"],
                ids=tensors["ids"],
            )

    def save(self, path: Location) -> None:
        """Write one safetensors file (whole, then renamed) and a readable JSON copy beside it."""
        write_ensemble(path, self)

    @classmethod
    def concat(cls, ensembles: Sequence[Ensemble]) -> Ensemble:
        """The networks of several ensembles, in order.

        Raises:
            TypeError: not ensembles. ValueError: none, or unlike in depth, inputs, outputs,
                activation, biases, dtype or device.
        """
        if isinstance(ensembles, Ensemble) or not isinstance(ensembles, (list, tuple)):
            raise TypeError(
                f"ensembles must be a list of edt.Ensemble, got {type(ensembles).__name__}"
            )
        if not ensembles:
            raise ValueError("ensembles must hold at least one ensemble, got none")
        for k, other in enumerate(ensembles):
            if not isinstance(other, Ensemble):
                raise TypeError(f"ensembles[{k}] must be an edt.Ensemble, got {other!r}")
            for what in ("depth", "d_in", "d_out", "activation", "has_bias", "dtype", "device"):
                mine, first = getattr(other, what), getattr(ensembles[0], what)
                if mine != first:
                    raise ValueError(
                        f"ensembles must agree in {what}: ensembles[0] has {first}, "
                        f"ensembles[{k}] has {mine}"
                    )
        tables = [other.layout.table for other in ensembles]
        structure = Structure(
            Layout(np.concatenate(tables), ensembles[0].has_bias),
            torch.cat([other.state for other in ensembles]),
            ensembles[0].activation,
            torch.cat([other.network_ids for other in ensembles]),
        )
        return cls._of(structure, torch.cat([other.theta for other in ensembles]))

    # What it is ----------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """Offsets of all weights and biases."""
        return self._structure.layout

    @property
    def state(self) -> torch.Tensor:
        """uint8 ``[total]``: 0 pruned, 1 trainable, 2 frozen. Not to be changed in place."""
        return self._structure.state

    @property
    def masks(self) -> torch.Tensor:
        """bool ``[total]``, False where pruned."""
        return self.state != PRUNED

    @property
    def frozen(self) -> torch.Tensor:
        """bool ``[total]``, True where frozen."""
        return self.state == FROZEN

    @property
    def offsets(self) -> torch.Tensor:
        """int64 ``[B + 1]``; network b owns ``theta[offsets[b]:offsets[b + 1]]``."""
        return self._structure.offsets

    @property
    def coords(self) -> torch.Tensor:
        """int64 ``[B]``, trainable parameters ``P_b`` of each network."""
        return self._structure.coords

    @property
    def layer_widths(self) -> torch.Tensor:
        """int64 ``[B, D + 2]``, a row is ``d_in, h_1..h_D, d_out``."""
        return self._structure.table

    @property
    def network_ids(self) -> torch.Tensor:
        """int64 ``[B]``, names of the networks."""
        return self._structure.ids

    @property
    def B(self) -> int:
        """Number of networks."""
        return self.layout.B

    @property
    def depth(self) -> int:
        """Number of hidden layers D."""
        return self.layout.depth

    @property
    def d_in(self) -> int:
        """Number of inputs."""
        return int(self.layout.table[0, 0])

    @property
    def d_out(self) -> int:
        """Number of outputs."""
        return int(self.layout.table[0, -1])

    @property
    def total(self) -> int:
        """Length of ``theta``."""
        return self.layout.total

    @property
    def activation(self) -> str:
        """Name of the hidden activation."""
        return self._structure.activation

    @property
    def has_bias(self) -> bool:
        """Whether every layer has a bias."""
        return self.layout.has_bias

    @property
    def dtype(self) -> torch.dtype:
        """torch.float32 or torch.float64."""
        return self.theta.dtype

    @property
    def device(self) -> torch.device:
        """Where ``theta`` and ``state`` lie."""
        return self.theta.device

    @property
    def finite(self) -> torch.Tensor:
        """bool ``[B]``, whether all parameters of a network are finite (False: it diverged)."""
        return finite_networks(self.theta, self.offsets)

    def positions(self, indices: Any) -> torch.Tensor:
        """int64, where the parameters of the chosen networks lie in ``theta``, in their order."""
        index = network_indices(indices, self.B)
        return torch.from_numpy(self.layout.select(index)[1])

    def __len__(self) -> int:
        return self.B

    def __getitem__(self, which: Any) -> Ensemble:
        """``ens[3]`` is `network`, ``ens[1:4]``, ``ens[[0, 2]]`` and ``ens[mask]`` are `select`."""
        if isinstance(which, slice):
            return self.select(range(*which.indices(self.B)))
        if isinstance(which, (int, np.integer)) and not isinstance(which, bool):
            return self.network(int(which))
        return self.select(which)

    def __iter__(self) -> Iterator[Ensemble]:
        """The networks one by one, each an ensemble of its own."""
        return (self.network(b) for b in range(self.B))

    def _repr_html_(self) -> str:
        """What notebooks show: a row a shape."""
        rows, coords = self.layer_widths.tolist(), self.coords.tolist()
        found: dict[tuple[int, ...], list[int]] = {}
        for row, count in zip(rows, coords, strict=True):
            found.setdefault(tuple(row), []).append(count)
        return card(
            repr(self),
            [{"shape": "-".join(map(str, shape)), "networks": len(own),
              "trainable": f"{min(own)}..{max(own)}" if min(own) < max(own) else own[0]}
             for shape, own in found.items()],
        )  # fmt: skip

    def __repr__(self) -> str:
        return self._structure.describe(self.dtype)

    # Parts ---------------------------------------------------------------------------------

    def weight(self, b: int, layer: int) -> torch.Tensor:
        """View ``[out, in]`` of network b's weight in a layer, 0 (from the inputs) to D."""
        return self.layout.weight(self.theta, b, layer)

    def bias(self, b: int, layer: int) -> torch.Tensor:
        """View ``[out]`` of network b's bias in a layer; ValueError without biases."""
        return self.layout.bias(self.theta, b, layer)

    def weight_mask(self, b: int, layer: int) -> torch.Tensor:
        """bool ``[out, in]``, False where the weight is pruned."""
        return self.layout.weight(self.state, b, layer) != PRUNED

    def bias_mask(self, b: int, layer: int) -> torch.Tensor:
        """bool ``[out]``, False where the bias is pruned; ValueError without biases."""
        return self.layout.bias(self.state, b, layer) != PRUNED

    def state_dict(self, b: int) -> dict[str, torch.Tensor]:
        """Copies of network b's parameters as "0.weight", "0.bias", "2.weight", ..."""
        return state_dict(self, self.layout.network(b))

    def to_module(self, b: int) -> nn.Sequential:
        """Network b as a `torch.nn.Sequential` with its own copy of the parameters.

        Pruned parameters become masks of `torch.nn.utils.prune`; a weight or bias without a
        trainable entry but with frozen ones gets ``requires_grad=False`` (frozen entries among
        trainable ones have no counterpart in torch and become trainable).
        """
        return write_module(self, self.layout.network(b))

    def network(self, b: int) -> Ensemble:
        """Network b as an ensemble of one (a copy)."""
        return self.select([self.layout.network(b)])

    def select(self, indices: Any) -> Ensemble:
        """The chosen networks, in the given order (copies).

        Args:
            indices: integers in -B..B-1, repeats allowed; or a bool mask ``[B]``.

        Raises:
            TypeError: neither. ShapeError: wrong shape. ValueError: none. IndexError: out of range.
        """
        index = network_indices(indices, self.B)
        layout, place = self.layout.select(index)
        where = torch.from_numpy(place).to(self.device)
        structure = Structure(
            layout, self.state[where], self.activation, self.network_ids[torch.from_numpy(index)]
        )
        return self._of(structure, self.theta[where])

    # Variants ------------------------------------------------------------------------------

    def with_theta(self, theta: torch.Tensor) -> Ensemble:
        """The same structure with other parameters, copied; what is compiled serves both.

        Raises:
            TypeError: not a tensor or array of this dtype. ShapeError: wrong length.
            ValueError: another device.
        """
        values = _theta(self.layout, theta, self.dtype)
        if values.device != self.device:
            raise ValueError(f"theta must be on {self.device}, got {values.device}")
        return self._of(self._structure, values)

    def with_state(self, state: torch.Tensor) -> Ensemble:
        """The same parameters with other states (0, 1, 2); newly pruned ones become 0."""
        checked = check_state(self.layout, state).to(self.device)
        structure = Structure(self.layout, checked, self.activation, self.network_ids)
        return self._of(structure, self.theta.clone())

    def with_masks(self, masks: Any) -> Ensemble:
        """The same parameters with other masks; frozen parameters that stay remain frozen.

        Args:
            masks: a tensor ``[total]`` of bools or 0 and 1; or one list per network with one bool
                tensor ``[out, in]`` per layer 0..D, or a pair of it and one ``[out]`` for the
                biases (None, or no pair: nothing is pruned there).

        Raises:
            TypeError, ShapeError, ValueError: not such masks; says where.
        """
        keep = flat_mask(self.layout, "masks", masks).to(self.device)
        revived = self.state.masked_fill(self.state == PRUNED, TRAINABLE)
        return self.with_state(revived.masked_fill(~keep, PRUNED))

    def with_frozen(self, frozen: Any) -> Ensemble:
        """The same parameters and masks; exactly those named become frozen (pruned ones stay 0).

        Args:
            frozen: as ``masks`` in `with_masks`, True or 1 where frozen.

        Raises:
            TypeError, ShapeError, ValueError: not such a mask; says where.
        """
        fixed = flat_mask(self.layout, "frozen", frozen).to(self.device)
        state = self.state.masked_fill(self.state == FROZEN, TRAINABLE)
        return self.with_state(state.masked_fill(fixed & (state == TRAINABLE), FROZEN))

    def with_sparsity(self, sparsity: Any, seeds: Any = 0) -> Ensemble:
        """The same parameters under fresh random masks, as `init` draws them.

        Args:
            sparsity: as in `init`.
            seeds: an integer for all networks, or one a network.
        """
        chosen = check_seeds(seeds)
        if len(chosen) not in (1, self.B):
            raise ShapeError(
                f"seeds must be one integer or one per network ({self.B}), got {len(chosen)}"
            )
        key = np.resize(np.array(chosen, dtype=np.uint64), self.B)
        state = random_state(self.layout, sparsity, key, self.network_ids.numpy().astype(np.uint64))
        return self.with_masks(state)

    def to(self, dtype: torch.dtype | None = None, *, device: Any = None) -> Ensemble:
        """The same networks in another dtype or on another device (itself if nothing changes).

        Args:
            dtype: torch.float32 or torch.float64; default: as it is.
            device: "cpu", "cuda", "cuda:1", ...; default: as it is.
        """
        kind = self.dtype if dtype is None else dtype
        check_dtype(kind)
        values = self.theta.to(self.device if device is None else device, kind)
        if values is self.theta:
            return self
        return self._of(self._structure.on(values.device), values)


def _theta(layout: Layout, theta: Any, dtype: torch.dtype | None) -> torch.Tensor:
    if dtype is not None:
        check_dtype(dtype)
    if theta is None:
        return torch.zeros(layout.total, dtype=dtype or torch.float64)
    given = as_tensor("theta", theta, grad=True)
    wanted = DTYPES if dtype is None else (dtype,)
    if given.dtype not in wanted:
        raise TypeError(f"theta must have dtype {' or '.join(map(str, wanted))}, got {given.dtype}")
    layout.check_flat("theta", given)
    # Values are not checked: a diverged network holds NaN and must be storable.
    return given.contiguous().clone()
