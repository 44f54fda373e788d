"""The compiled core (csrc/bindings/core.cpp). Pointers are addresses of contiguous CPU memory."""

from collections.abc import Sequence
from typing import Any

#: Kind of code ("activation", "loss", "optimizer", "training", "lbfgs") -> names in their order.
CODES: dict[str, tuple[str, ...]]
#: The CUDA engine (csrc/bindings/cuda.cpp); absent in builds without it.
cuda: Any

class Plan:
    def __init__(
        self, widths: int, n_nets: int, n_cols: int, bias: bool, state: int, total: int
    ) -> None: ...
    @property
    def n_nets(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def bias(self) -> bool: ...
    @property
    def cost(self) -> list[float]: ...
    def chunks(self, samples: int) -> list[list[int]]: ...

class Dataset:
    def __init__(
        self,
        x: int,
        y: int,
        coef: int,
        n_tasks: int,
        n: int,
        d_in: int,
        d_out: int,
        loss: int,
        is_double: bool,
    ) -> None: ...
    @property
    def is_double(self) -> bool: ...
    @property
    def n_tasks(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def d_in(self) -> int: ...
    @property
    def d_out(self) -> int: ...

class Taps:
    def __init__(
        self,
        shape: dict[str, Any],
        weights: int,
        taps: int,
        out: int,
        in_: int,
        dy: int,
        dx: int,
        weight: int,
    ) -> None: ...
    @property
    def taps(self) -> int: ...
    @property
    def in_place(self) -> bool: ...
    @property
    def chunks(self) -> int: ...
    def forward(
        self, n: int, is_double: bool, weights: int, bias: int, x: int, out: int
    ) -> None: ...
    def gradients(
        self,
        n: int,
        is_double: bool,
        weights: int,
        x: int,
        slopes: int,
        dx: int,
        dw: int,
        dbias: int,
    ) -> None: ...

class Recycled:
    def __init__(self, bytes: int) -> None: ...

def set_team(start: int) -> None: ...

class ChainMask:
    def __init__(self, chain: Chain, state: int) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def listed(self) -> list[bool]: ...

class Chain:
    def __init__(self, layers: list[dict[str, Any]], parameters: int) -> None: ...
    @property
    def d_in(self) -> int: ...
    @property
    def d_out(self) -> int: ...
    @property
    def room(self) -> int: ...
    @property
    def strided(self) -> bool: ...
    @property
    def graph(self) -> bool: ...
    def outputs(
        self,
        masks: Sequence[ChainMask],
        networks: int,
        samples: int,
        is_double: bool,
        theta: int,
        x: int,
        x_step: int,
        out: int,
    ) -> None: ...
    def gradient(
        self,
        masks: Sequence[ChainMask],
        networks: int,
        samples: int,
        is_double: bool,
        theta: int,
        x: int,
        x_step: int,
        slopes: int,
        grad: int,
    ) -> None: ...
    def train(
        self,
        masks: Sequence[ChainMask],
        numbers: Sequence[int],
        targets: Sequence[tuple[int, ...]],
        samples: int,
        loss: int,
        offsets: int,
        task_index: int,
        networks: int,
        is_double: bool,
        theta: int,
        hyper: dict[str, Any],
        state: dict[str, int],
    ) -> None: ...
    def products(
        self,
        masks: Sequence[ChainMask],
        networks: int,
        samples: int,
        is_double: bool,
        theta: int,
        x: int,
        x_step: int,
        slopes: int,
        curvature: int,
        vectors: int,
        many: int,
        network_step: int,
        vector_step: int,
        out: int,
    ) -> None: ...
    def loss_products(
        self,
        masks: Sequence[ChainMask],
        networks: int,
        samples: int,
        is_double: bool,
        theta: int,
        x: int,
        x_step: int,
        loss: int,
        y: int,
        weights: int,
        scale: float,
        ggn: bool,
        vectors: int,
        many: int,
        network_step: int,
        vector_step: int,
        out: int,
    ) -> None: ...

def set_num_threads(n: int, /) -> None: ...
def get_num_threads() -> int: ...
def isas() -> list[str]: ...
def isa() -> str: ...
def select_isa(name: str, /) -> None: ...
def build_info() -> dict[str, Any]: ...
def fma_peak(is_double: bool, n_threads: int, seconds: float, beside: int = 0) -> float: ...
def activation(act: int, order: int, n: int, z: int, out: int, is_double: bool, /) -> None: ...

# (plan, data, task_index, activation, theta, active, ...)
def predict(*arguments: Any) -> None: ...
def loss(*arguments: Any) -> None: ...
def loss_and_grad(*arguments: Any) -> None: ...
def vjp(*arguments: Any) -> None: ...
def second_directional(*arguments: Any) -> None: ...
def hvp(*arguments: Any) -> None: ...
def prefer_huge_pages(p: int, bytes: int) -> None: ...
def prepare_matrices(out: int, item: int, offsets: int, sizes: int, n: int) -> None: ...
def hessian(*arguments: Any) -> None: ...
def jacobian(*arguments: Any) -> None: ...
def train(*arguments: Any) -> None: ...
def lbfgs(*arguments: Any) -> None: ...
def newton(*arguments: Any) -> None: ...
def levenberg(*arguments: Any) -> None: ...
def excursions(*arguments: Any) -> None: ...
