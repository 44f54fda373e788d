"""A module's layers, read from what its forward pass does (`torch.fx`).

The pass is traced once in every mode with a stand-in for its inputs. What a trace cannot show is
refused: draws of numbers, and what differs between the modes; branches on values raise in the trace
itself. A branch on what the stand-in is (``isinstance``) could still mislead it, so a network that
is no plain chain of modules is compared with its module before it is used (`Stack.core`).
"""

from __future__ import annotations

import copy
import operator
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from edt.objectives.layers import INPUTS, Add, Gain, Layer, Shortcut, known

if TYPE_CHECKING:
    from edt.ensemble.blocks import Block

__all__ = ["Unread", "read_layers"]

#: Functions and methods that are a layer's: what makes it of the arguments behind the first one.
FUNCTIONS: dict[Any, Callable[..., nn.Module]] = {
    **dict.fromkeys((torch.relu, F.relu, "relu"), nn.ReLU),
    **dict.fromkeys((torch.tanh, F.tanh, "tanh"), nn.Tanh),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), nn.Sigmoid),
    F.leaky_relu: nn.LeakyReLU, F.elu: nn.ELU, F.selu: nn.SELU, F.softplus: nn.Softplus,
    F.gelu: nn.GELU, F.silu: nn.SiLU, F.max_pool2d: nn.MaxPool2d, F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    **dict.fromkeys((torch.flatten, "flatten"), lambda start=0, end=-1: nn.Flatten(start, end)),
}  # fmt: skip
ADDS = (operator.add, operator.iadd, torch.add, "add", "add_")
PRODUCTS = (operator.mul, torch.mul, "mul")
MEANS = (torch.mean, "mean")
VIEWS = ("view", "reshape")


class Unread(Exception):
    """Why a module has no list of layers."""


_read: WeakKeyDictionary[nn.Module, tuple[Layer, ...] | str] = WeakKeyDictionary()


def read_layers(module: nn.Module, blocks: Sequence[Block]) -> tuple[Layer, ...]:
    """A module's layers in order.

    Args:
        module: any; it must not change afterwards.
        blocks: of its flat vector.

    Raises:
        Unread: what it does is not made of `edt.objectives.layers`; says what.
    """
    if module not in _read:
        try:
            _read[module] = tuple(_Reader(module, blocks).layers())
        except Unread as why:
            _read[module] = str(why)  # an error would keep the module alive
    found = _read[module]
    if isinstance(found, str):
        raise Unread(found)
    return found


class _Reader:
    """Reads the trace of one module; see `read_layers`."""

    def __init__(self, module: nn.Module, blocks: Sequence[Block]) -> None:
        self._module = module
        self._named = {block.name: block for block in blocks}
        self._found: list[Layer] = []
        #: The layer whose outputs a node is.
        self._at: dict[fx.Node, int] = {}
        self._used: list[str] = []

    def layers(self) -> list[Layer]:
        if any(block.role == "buffer" for block in self._named.values()):
            raise Unread("it has buffers that training changes")
        for name, part in self._module.named_modules():
            if _hooked(part):
                raise Unread(f"{name or 'it'} has hooks or a forward pass of its own")
        graph = _trace(self._module)
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            raise Unread("its forward pass has several arguments")
        self._at[inputs[0]] = INPUTS
        for node in graph.nodes:
            if not node.users and node.op not in ("output", "get_attr"):
                raise Unread(f"nothing reads {node}")
            if node.op == "output":
                self._end(node)
            elif node.op == "call_module":
                self._module_of(node)
            elif node.op not in ("placeholder", "get_attr"):
                self._function(node)
        if len(set(self._used)) < len(self._used):
            raise Unread("a parameter is used twice")
        if set(self._used) != set(self._named):
            raise Unread("not all of its parameters are those of layers")
        return self._found

    def _end(self, node: fx.Node) -> None:
        # Everything in a graph leads to its end, which is the last layer.
        if not self._found or self._image(node.args[0]) != len(self._found) - 1:
            raise Unread("it does not end with its outputs")

    def _image(self, node: Any) -> int:
        if node not in self._at:
            raise Unread(f"{node} is no image or vector of the network")
        return self._at[node]

    def _add(self, node: fx.Node, source: int, module: Any, prefix: str | None = None) -> None:
        weights = {}
        for short in () if prefix is None else ("weight", "bias"):
            if getattr(module, short, None) is not None:
                full = f"{prefix}.{short}" if prefix else short
                if full not in self._named:
                    raise Unread(f"{full} is another layer's too")
                weights[short] = self._named[full]
                self._used.append(full)
        self._found.append(Layer(module, source, **weights))
        self._at[node] = len(self._found) - 1

    def _module_of(self, node: fx.Node) -> None:
        module = self._module.get_submodule(str(node.target))
        if len(node.args) != 1 or node.kwargs or not known(module):
            raise Unread(f"{node.target} is {module}")
        source = self._image(node.args[0])
        if isinstance(module, nn.Identity):
            self._at[node] = source
        else:
            self._add(node, source, module, str(node.target))

    def _function(self, node: fx.Node) -> None:
        what, args = node.target, node.args
        if _of_batch(node):
            return
        if what in FUNCTIONS:
            more = {name: value for name, value in node.kwargs.items() if value is not None}
            try:
                module = FUNCTIONS[what](*args[1:], **more)
            except TypeError:
                raise Unread(f"it calls {_name(what)}{args[1:]}") from None
            if not known(module):
                raise Unread(f"it calls {_name(what)} as {module}")
            self._add(node, self._image(args[0]), module)
        elif what in ADDS and len(args) == 2 and not node.kwargs:
            changed = what in (operator.iadd, "add_")
            if changed and not self._last_reader(args[0]):
                raise Unread("it adds in place to what others read")
            self._add(node, self._image(args[0]), Add(self._image(args[1])))
        elif what in PRODUCTS and len(args) == 2 and not node.kwargs:
            self._product(node, *args)
        elif what in (operator.getitem, F.pad):
            self._shortcut(node)
        elif what in MEANS and sorted(_dims(node)) in ([-2, -1], [2, 3]):
            self._add(node, self._image(args[0]), nn.AdaptiveAvgPool2d(1))
            self._add(node, len(self._found) - 1, nn.Flatten())
        elif what in VIEWS and len(args) == 3 and _of_batch(args[1]) and args[2] == -1:
            self._add(node, self._image(args[0]), nn.Flatten())
        else:
            raise Unread(f"it calls {_name(what)}")

    def _last_reader(self, node: Any) -> bool:
        """Whether nothing but one sum reads a node's memory."""
        while isinstance(node, fx.Node) and len(node.users) == 1:
            views = ("flatten", torch.flatten, operator.getitem, F.pad, *VIEWS)
            alias = node.target in views or (
                node.op == "call_module"
                and isinstance(
                    self._module.get_submodule(str(node.target)), (nn.Identity, nn.Flatten)
                )
            )
            if not alias:
                return node.op in ("call_module", "call_function", "call_method")
            node = node.args[0]
        return False

    def _product(self, node: fx.Node, first: Any, second: Any) -> None:
        image, number = (second, first) if first not in self._at else (first, second)
        name = str(number.target) if isinstance(number, fx.Node) else ""
        if name not in self._named or self._named[name].size != 1:
            raise Unread("it multiplies by something that is no single parameter")
        source = self._image(image)
        self._found.append(Layer(Gain(), source, self._named[name]))
        self._at[node] = len(self._found) - 1
        self._used.append(name)

    def _shortcut(self, node: fx.Node) -> None:
        source = self._image(node.args[0])
        made = _sliced(node) if node.target is operator.getitem else _padded(node)
        if made is None:
            raise Unread(f"it calls {_name(node.target)} in another way than shortcuts do")
        before = self._found[source].module if source >= 0 else None
        if (
            isinstance(before, Shortcut)
            and made.kept is None
            and before.ahead + before.behind == 0
            and source == len(self._found) - 1
            and len(node.args[0].users) == 1  # type: ignore[union-attr]
        ):
            # Slices, then zeros: one layer.
            made = Shortcut(before.kept, made.ahead, made.behind, before.rows, before.columns)
            source = self._found.pop().source
        self._found.append(Layer(made, source))
        self._at[node] = len(self._found) - 1


def _trace(module: nn.Module) -> fx.Graph:
    """What a forward pass does, in every mode."""
    # A copy, of all but the parameters: a pass may keep what it has seen.
    traced = copy.deepcopy(module, {id(value): value for value in module.parameters()})
    graphs, states = [], _random_states()
    try:
        for mode in (True, False):
            graphs.append(fx.Tracer().trace(traced.train(mode)))
    except Exception as error:  # whatever code of others raises with a stand-in
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unread(f"its forward pass cannot be traced: {text}") from error
    if _random_states() != states:
        raise Unread("its forward pass draws numbers")
    lists = [[(n.op, n.target, n.args, n.kwargs) for n in graph.nodes] for graph in graphs]
    if repr(lists[0]) != repr(lists[1]):
        raise Unread("it does something else in training")
    return graphs[0]


def _random_states() -> tuple[Any, ...]:
    numbers: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), numbers[1].tolist(), numbers[2]


def _hooked(module: nn.Module) -> bool:
    return "forward" in vars(module) or any(
        getattr(module, kind)
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
                     "_backward_pre_hooks")
    )  # fmt: skip


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target))


def _dims(node: fx.Node) -> list[int]:
    """Of a mean over dimensions that are gone afterwards; otherwise none."""
    given = dict(node.kwargs)
    dims = given.pop("dim", node.args[1] if len(node.args) == 2 else None)
    plain = isinstance(dims, (tuple, list)) and all(isinstance(dim, int) for dim in dims)
    return list(dims) if plain and not given else []  # type: ignore[arg-type]


def _of_batch(node: Any) -> bool:
    """Whether a node is about how many samples there are: ``x.size(0)``, ``x.shape[0]``."""
    if not isinstance(node, fx.Node):
        return False
    if node.target is getattr:
        return bool(node.args[1] == "shape")
    if node.target == "size":
        return bool(node.args[1:] == (0,))
    shape = node.args[0] if node.target is operator.getitem else None
    return isinstance(shape, fx.Node) and shape.target is getattr and bool(node.args[1] == 0)


def _sliced(node: fx.Node) -> Shortcut | None:
    """``x[:, :kept, ::rows, ::columns]``."""
    index: Any = node.args[1]
    if not isinstance(index, tuple) or len(index) > 4:
        return None
    index += (slice(None),) * (4 - len(index))
    if not all(isinstance(part, slice) and part.start in (None, 0) for part in index):
        return None
    batch, channels, rows, columns = index
    steps = [1 if part.step is None else part.step for part in index]
    if not all(isinstance(step, int) and step >= 1 for step in steps) or steps[:2] != [1, 1]:
        return None
    if batch.stop is not None or rows.stop is not None or columns.stop is not None:
        return None
    kept = channels.stop
    if kept is not None and (not isinstance(kept, int) or kept < 1):
        return None
    return Shortcut(kept, 0, 0, steps[2], steps[3])


def _padded(node: fx.Node) -> Shortcut | None:
    """Channels of zeros before and behind an image's."""
    given: dict[str, Any] = {"pad": None, "mode": "constant", "value": None}
    given |= dict(zip(given, node.args[1:], strict=False)) | node.kwargs
    zeros = given["pad"]
    plain = isinstance(zeros, (tuple, list)) and len(zeros) == 6 and not any(zeros[:4])
    if not plain or given["mode"] != "constant" or given["value"] not in (None, 0, 0.0):
        return None
    ahead, behind = zeros[4:]
    if not (isinstance(ahead, int) and isinstance(behind, int)) or min(ahead, behind) < 0:
        return None
    return Shortcut(None, ahead, behind, 1, 1)
