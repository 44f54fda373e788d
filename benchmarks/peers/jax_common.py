"""What the JAX peers share. Importing this module needs JAX; EDT_BENCH_JAX names its platform."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
jax.config.update("jax_platforms", os.environ.get("EDT_BENCH_JAX", "cpu"))  # type: ignore[no-untyped-call]

Parameters = dict[str, Any]


def finished(value: Any) -> Any:
    """The value, once it has been computed: JAX returns before."""
    return jax.block_until_ready(value)  # type: ignore[no-untyped-call]


def rewritten_softplus(z: Any) -> Any:
    """softplus without `logaddexp`'s care for infinities and NaN: JAX's own costs about 1.5x."""
    return jnp.maximum(z, 0) + jnp.log1p(jnp.exp(-jnp.abs(z)))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "rewritten softplus": rewritten_softplus,
}


def arrays(given: Mapping[str, np.ndarray], dtype: str) -> Parameters:
    """Device arrays of the given dtype."""
    return {name: jnp.asarray(array, dtype) for name, array in given.items()}


def samples_last(activation: Callable[[Any], Any], x: Any, y: Any) -> Callable[[Parameters], Any]:
    """Loss of one network with hidden values ``[width, N]``: fastest for first derivatives."""
    xt = jnp.asarray(np.ascontiguousarray(np.asarray(x).T))
    y = jnp.asarray(y)

    def loss(p: Parameters) -> Any:
        hidden = activation(p["w"] @ xt + p["b"][:, None])
        return jnp.mean(jnp.square(p["v"] @ hidden + p["c"] - y))

    return loss


def samples_first(activation: Callable[[Any], Any], x: Any, y: Any) -> Callable[[Parameters], Any]:
    """Loss of one network with hidden values ``[N, width]``: fastest for Hessians."""
    x, y = jnp.asarray(x), jnp.asarray(y)

    def loss(p: Parameters) -> Any:
        hidden = activation(x @ p["w"].T + p["b"])
        return jnp.mean(jnp.square(hidden @ p["v"] + p["c"] - y))

    return loss
