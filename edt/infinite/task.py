"""Tasks over infinitely many normal inputs: the target is the output of a teacher network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edt.ensemble import Ensemble
from edt.files import digest
from edt.infinite.objective import PopulationObjective
from edt.ops.checks import task_index_of
from edt.scalars import integer
from edt.tasks import Task
from edt.tasks.given import stays
from edt.tasks.teacher import outputs

__all__ = ["CLOSED_TASKS", "PopulationTask", "population"]

#: Activations of ensembles with closed forms.
CLOSED_TASKS = ("erf", "relu")
#: Most nodes of the product rule, and nodes per input where they fit.
MOST_NODES, NODES = 200_000, 64


def population(
    teacher: Ensemble, *, method: str = "auto", nodes: int | None = None
) -> PopulationTask | Task:
    """The task of a teacher over infinite data: ``L = E|f(x) - g(x)|^2``, x ~ N(0, I).

    Closed forms for networks of one hidden layer of relu or erf units, with or without biases,
    any number of inputs and outputs (`PopulationTask`); otherwise Gauss-Hermite quadrature, whose
    nodes and weights make an ordinary weighted `Task` (spectrally accurate for smooth units; every
    network of any depth and activation can learn it).

    Args:
        teacher: one network, or T of them: targets 0..T-1.
        method: "closed", "quadrature", or "auto": closed where there is a closed form.
        nodes: per input, of the quadrature; default 64, fewer from three inputs on (at most
            200,000 in all).

    Returns:
        A task for `edt.masked_train`, `edt.converge`, `edt.gradient_flow`, `edt.hessian`, and the
        functions of `edt.curvature`.

    Raises:
        TypeError: not an ensemble. ValueError: no closed form, too many nodes, unknown method.

    Example:
        >>> teacher = edt.Ensemble.init(widths=[4], seeds=[0], d_in=5, d_out=1, activation="erf")
        >>> students = edt.Ensemble.init(  # doctest: +SKIP
        ...     widths=[4, 6], seeds=range(9), d_in=5, d_out=1, activation="erf"
        ... )
        >>> edt.converge(population(teacher), students)  # doctest: +SKIP

    Reference: D. Saad, S. Solla, "On-line learning in soft committee machines", 1995; Y. Cho,
    L. Saul, "Kernel methods for deep learning", 2009.
    """
    if not isinstance(teacher, Ensemble):
        raise TypeError(f"teacher must be an edt.Ensemble, got {type(teacher).__name__}")
    if method not in ("auto", "closed", "quadrature"):
        raise ValueError(f"method must be 'auto', 'closed' or 'quadrature', got {method!r}")
    closed = teacher.activation in CLOSED_TASKS and teacher.layer_widths.shape[1] == 3
    if method == "closed" and not closed:
        raise ValueError(
            f"closed forms are for one hidden layer of {' or '.join(CLOSED_TASKS)} units, got "
            f"{teacher.activation} with {teacher.layer_widths.shape[1] - 2} hidden layers; use "
            "method='quadrature'"
        )
    if closed and method != "quadrature":
        return PopulationTask(teacher)
    return _quadrature(teacher, nodes)


class PopulationTask:
    """A teacher's outputs over infinitely many standard normal inputs, in closed form.

    Students must be networks of one hidden layer with the teacher's activation. See
    `edt.infinite.objective` for the formula.

    Args:
        teacher: T networks of one hidden layer of relu or erf units.

    Attributes:
        d_in, d_out: as in `edt.Task`.
        T: number of targets.
        loss: "mse".
        dtype, device: float64, CPU.
    """

    loss = "mse"
    dtype = torch.float64
    device = torch.device("cpu")

    def __init__(self, teacher: Ensemble) -> None:
        self._teacher = teacher
        self.d_in, self.d_out = int(teacher.d_in), int(teacher.d_out)
        self.T = int(teacher.B)
        self.name = "population"

    @property
    def variance(self) -> torch.Tensor:
        """float64 ``[T]``, loss of the best constant for the teachers as they are now."""
        mine = self._teacher
        return PopulationObjective(mine, mine, torch.arange(self.T)).target_variance()

    @property
    def teacher(self) -> Ensemble:
        """The teachers."""
        return self._teacher

    def to(self, dtype: torch.dtype | None = None, *, device: Any = None) -> PopulationTask:
        """Itself.

        Raises:
            ValueError: another dtype or device is asked for.
        """
        stays("a loss over infinite data", dtype, device)
        return self

    def objective(
        self, networks: Ensemble, task_index: torch.Tensor | None = None
    ) -> PopulationObjective:
        """The losses of these students.

        Raises:
            TypeError: they are not float64. ValueError: another depth, activation, or number of
                inputs or outputs.
        """
        mine, ens = self._teacher, networks.to(device="cpu")
        if ens.dtype != torch.float64:
            raise TypeError(f"losses over infinite data need float64 networks, got {ens.dtype}")
        if ens.layer_widths.shape[1] != 3 or ens.activation != mine.activation:
            raise ValueError(
                f"students over infinite data need one hidden layer of {mine.activation} units "
                f"like the teacher, got {ens.activation} with "
                f"{ens.layer_widths.shape[1] - 2} hidden layers"
            )
        if (int(ens.d_in), int(ens.d_out)) != (self.d_in, self.d_out):
            raise ValueError(
                f"networks map {ens.d_in} inputs to {ens.d_out} outputs, the task has "
                f"d_in={self.d_in} and d_out={self.d_out}"
            )
        if task_index is None:
            index = torch.zeros(ens.B, dtype=torch.int64)
        else:
            given = task_index.cpu() if isinstance(task_index, torch.Tensor) else task_index
            index = task_index_of(given, ens.B, self.T)
        return PopulationObjective(ens, mine, index)

    def fingerprint(self) -> str:
        """Identifies the task in checkpoints."""
        mine = self._teacher
        parts = {"theta": mine.theta.detach(), "widths": mine.layer_widths.to(torch.int64)}
        return f"population/{mine.activation}/{mine.has_bias}/{digest(parts)[:32]}"

    def sample(self, n: int, seed: int = 0) -> Task:
        """n of the inputs with their targets, as an ordinary task.

        Args:
            n: number of samples.
            seed: of the inputs.
        """
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, self.d_in, generator=generator, dtype=torch.float64)
        return _labelled(self._teacher, x, None)

    def __repr__(self) -> str:
        width = "/".join(str(w) for w in sorted(set(self._teacher.layer_widths[:, 1].tolist())))
        return (
            f"PopulationTask({self.T} {self._teacher.activation} teacher"
            f"{'s' if self.T > 1 else ''} of width {width}, {self.d_in} -> {self.d_out})"
        )


def _quadrature(teacher: Ensemble, nodes: int | None) -> Task:
    """The product Gauss-Hermite rule as a weighted task."""
    d = int(teacher.d_in)
    each = min(NODES, int(MOST_NODES ** (1.0 / d) + 1e-9)) if nodes is None else nodes
    each = integer("nodes", each, 2)
    if each**d > MOST_NODES or (nodes is None and each < 8):
        raise ValueError(
            f"{max(each, 8)} nodes for each of {d} inputs are more than {MOST_NODES:,}: use a "
            "teacher with closed forms (relu or erf), or a sample of the inputs"
        )
    points, weights = np.polynomial.hermite_e.hermegauss(each)
    weights = weights / weights.sum()
    grid = np.meshgrid(*[points] * d, indexing="ij")
    x = torch.from_numpy(np.stack([axis.ravel() for axis in grid], axis=1))
    share = np.ones(1)
    for _ in range(d):
        share = np.multiply.outer(share, weights).ravel()
    # Nodes whose weight is lost against rounding only cost time.
    keep = torch.from_numpy(share > 1e-18 * share.max())
    return _labelled(teacher, x[keep], torch.from_numpy(share)[keep])


def _labelled(teacher: Ensemble, x: torch.Tensor, weights: torch.Tensor | None) -> Task:
    theta = teacher.theta.detach().to(torch.float64)
    same = Ensemble(
        [tuple(row) for row in teacher.layer_widths[:, 1:-1].tolist()],
        int(teacher.d_in),
        int(teacher.d_out),
        activation=teacher.activation,
        bias=bool(teacher.has_bias),
        theta=theta,
    )
    y = outputs(same, x)
    info: dict[str, Any] = {"teacher": "population"}
    return Task(x, y if int(teacher.B) > 1 else y[0], weights=weights, name="population", info=info)
