"""Dense symmetric eigenproblems and factorisations, one matrix at a time and reproducible.

LAPACK's result for a matrix may change in its last bits with the number of BLAS threads and with
the alignment of the memory, and a batched call aligns each matrix differently. Here every matrix
is factorised on its own, by one BLAS thread, from 64-byte aligned memory; several matrices run at
once in Python threads (LAPACK calls release the interpreter lock). A network's numbers are then
the same alone and in a crowd, and for any `torch.set_num_threads`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from edt.ops.threads import one_blas_thread, set_own_threads

Item = TypeVar("Item")
Out = TypeVar("Out")

#: Below this many multiplications in all, threads cost more than they give.
_THREADS_PAY = 2e7


def for_each(function: Callable[[Item], Out], items: Sequence[Item], work: float) -> list[Out]:
    """``[function(item) for item in items]`` with one BLAS thread each, in threads if it pays.

    Args:
        function: independent of the other items.
        items: the inputs.
        work: rough number of multiplications in all.
    """
    with one_blas_thread() as threads:
        count = min(threads, len(items))
        if count < 2 or work < _THREADS_PAY:
            return [function(item) for item in items]
        shares = [items[k::count] for k in range(count)]
        with ThreadPoolExecutor(count, initializer=set_own_threads, initargs=(1,)) as pool:
            parts = list(pool.map(lambda share: [function(item) for item in share], shares))
    out: list[Out] = [parts[k % count][k // count] for k in range(len(items))]
    return out


def aligned(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix, contiguous in 64-byte aligned memory (copied if it is not)."""
    if matrix.is_contiguous() and matrix.data_ptr() % 64 == 0:
        return matrix
    return matrix.clone(memory_format=torch.contiguous_format)


def eigenvalues(matrices: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Ascending eigenvalues ``[P]`` of each symmetric ``[P, P]`` matrix."""
    work = sum(float(m.shape[0]) ** 3 for m in matrices)

    def one(matrix: torch.Tensor) -> torch.Tensor:
        if matrix.shape[0] == 0:
            return matrix.new_zeros(0)
        values: torch.Tensor = torch.linalg.eigvalsh(aligned(matrix))
        return values

    return for_each(one, matrices, 1.5 * work)


def eigensystems(matrices: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ascending eigenvalues ``[P]`` and eigenvectors ``[P, P]`` (columns) of each matrix."""
    work = sum(float(m.shape[0]) ** 3 for m in matrices)

    def one(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if matrix.shape[0] == 0:
            return matrix.new_zeros(0), matrix.new_zeros(0, 0)
        values, vectors = torch.linalg.eigh(aligned(matrix))
        return values, vectors

    return for_each(one, matrices, 4.0 * work)
