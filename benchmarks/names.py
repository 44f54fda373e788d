"""Names of cases and contenders, used by tests, targets, table and plot alike."""

from __future__ import annotations

from benchmarks import settings

EAGER = "PyTorch eager loop"
VMAP_PADDED = "torch.func.vmap, padded"
VMAP = "torch.func.vmap per width"
BADDBMM = "baddbmm per width"
COMPILED = "torch.compile per width"
SCAN = "JAX jit(vmap) in lax.scan"
#: The same with a softplus of our own instead of `jax.nn.softplus`.
SCAN_REWRITTEN = "JAX, softplus rewritten"

TORCH_PRODUCTS = "torch.func, vmap(jvp(grad))"
JAX_FORWARD = "JAX, forward over reverse"
JAX_REVERSE = "JAX, reverse over reverse"

TORCH_HESSIAN = "vmap(torch.func.hessian)"
JAX_HESSIAN = "jax.vmap(jax.hessian)"
JAX_HESSIAN_MAP = "lax.map(jax.hessian)"

TORCH_ONE = "torch.func, one network"
SCIPY = "scipy, network by network"

SPARSEPROP = "SparseProp, network by network"

DENSE, SPARSE = "edt, dense", "edt, 90% pruned"


def training_case(activation: str, dtype: str) -> str:
    """Workload W."""
    return f"W {activation} {dtype}"


def is_training(case: str) -> bool:
    """Whether a case is one of workload W."""
    return case.startswith("W ")


def sparsity_case(dtype: str) -> str:
    """W dense against 90% pruned."""
    return f"Sparsity {dtype}"


LENET_SPARSITIES = (None, 0.9, 0.98)


def lenet_case(sparsity: float | None) -> str:
    """16 LeNet-300-100 in minibatches."""
    return "LeNet-300-100, " + ("dense" if sparsity is None else f"{sparsity:.0%} pruned")


def is_lenet(case: str) -> bool:
    """Whether a case is of LeNet-300-100."""
    return case.startswith("LeNet")


SPARSE_NETWORKS = (2, 1) if settings.SMOKE else (16, 1)
SPARSE_BATCHES = (64,) if settings.SMOKE else (64, 1_024)
SPARSE_SPARSITIES = (0.9,) if settings.SMOKE else (0.9, 0.95, 0.98)


def sparse_case(networks: int, batch: int, sparsity: float) -> str:
    """Pruned LeNet-300-100 in minibatches, where SparseProp is the peer."""
    return f"Pruned LeNets, {networks}, B {batch:,}, {sparsity:.0%}"


def is_sparse(case: str, networks: int | None = None) -> bool:
    """Whether a case is one of these (with this many networks)."""
    return case.startswith("Pruned LeNets, " + ("" if networks is None else f"{networks},"))


PRODUCTS_CASE = "8 HVPs on W float64"

#: Of convolutional networks, beside `TORCH_PRODUCTS`.
TORCH_BY_NETWORK = "torch.func, network by network"
TORCH_FORMS = (TORCH_PRODUCTS, TORCH_BY_NETWORK)
#: Many convolutional networks in plain PyTorch.
TORCH_CONVOLUTIONS = (
    "PyTorch, module after module", "torch.func.vmap, stacked", "PyTorch, grouped convolutions",
    "torch.compile, module after module",
)  # fmt: skip
CONVOLUTION_SPARSITIES = (None, 0.9, 0.98)


def convolution_case(sparsity: float | None) -> str:
    """16 LeNet-5 in minibatches."""
    return "16 LeNet-5, 28 x 28, " + ("dense" if sparsity is None else f"{sparsity:.0%} pruned")


CONVOLUTION_MEMORY = "training many LeNet-5: memory over activations and state"
CONVOLUTION_PRODUCTS = "8 HVPs of 16 LeNet-5, 28 x 28, batch of 64"


def hessian_case(width: int) -> str:
    """Hessians of 32 networks of one width."""
    return f"32 Hessians, width {width}"


BOTTOM_CASE = "200 students to 1e-10"


def one_case(what: str, width: int, samples: int) -> str:
    """Gradient or Hessian of a single network."""
    return f"One {what}, width {width}, N {samples:,}"


def is_one(case: str, what: str = "") -> bool:
    """Whether a case is of a single network (and of this derivative)."""
    return case.startswith(f"One {what}")


def peak_quantity(layers: str) -> str:
    """Share of the FMA peak."""
    return f"share of FMA peak, float32 relu {layers}"


MEMORY_QUANTITY = "memory beyond parameters and optimiser state"
SOAK_QUANTITY = "growth of memory over rounds of work on many networks"
NETWORKS_SERIES = "number of networks"
SAMPLES_SERIES = "number of samples"

PLANNING_QUANTITY = "planning a sweep of 100,000 trainings"
STORE_QUANTITY = "share of a sweep's time that its store takes"

ENGINES = ("in one process", "in worker processes")


def engine_quantity(where: str) -> str:
    """Time a sweep takes beyond one call that does the same work."""
    return f"a sweep {where}, beyond one call"
