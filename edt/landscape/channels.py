"""The network at the end of a channel to infinity, and how far above it a run still is.

Two neurons with ``w_i -> w_j`` and ``a_i, -a_j -> infinity`` tend to one unit of another kind,

    c sigma(w.x) + (v.x) sigma'(w.x),      c = a_i + a_j,  w between w_i and w_j,
                                           v = lim a_i (w_i - w) + a_j (w_j - w),

a gated linear unit. In its own parameters (w, c, v) the end of the channel lies at a finite place,
so it can be trained like any minimum. Inputs carry a 1 for the bias, so w and v have ``d_in + 1``
entries.

Reference: F. Martinelli et al., "Flat channels to infinity in neural loss landscapes", NeurIPS
2025, arXiv 2506.14951.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import torch

from edt.ensemble import Ensemble
from edt.ensemble.checks import network_indices
from edt.ensemble.kinds import chains
from edt.errors import ShapeError
from edt.ops.activations import ACTIVATION_FUNCTIONS
from edt.tasks import Task
from edt.tasks.given import samples_of
from edt.training.channels import BIAS, ODD, opponents
from edt.training.levenberg import Search

__all__ = ["ChannelLimit", "ChannelNetwork", "channel_limits"]

#: The fit ends when the loss loses less than this share of itself in a step.
STILL = 1e-12


@dataclass
class ChannelNetwork:
    """A network with one gated linear unit among its neurons (one hidden layer, one output).

    ``f(x) = sum_i a_i sigma(w_i.x) + c sigma(w.x) + (v.x) sigma'(w.x) + b_out``, x with a 1
    appended where there are biases.

    Attributes:
        inputs: float64 ``[m, D]``, input weights (and bias) of the ordinary neurons.
        outputs: ``[m]``, their output weights.
        gate: ``[D]``, w.
        height: ``[]``, c.
        slope: ``[D]``, v.
        output_bias: ``[]``.
        activation: name.
        bias: whether there are biases.
    """

    inputs: torch.Tensor
    outputs: torch.Tensor
    gate: torch.Tensor
    height: torch.Tensor
    slope: torch.Tensor
    output_bias: torch.Tensor
    activation: str
    bias: bool

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs ``[N]`` at inputs ``[N, d_in]``."""
        return self._predict(self.flat(), self._extend(x))

    def loss(self, task: Task, task_index: int = 0) -> float:
        """Its loss on a task (mse)."""
        x, y, roots = _data(task, task_index)
        miss = roots * (self.predict(x) - y)
        return float(miss @ miss)

    def flat(self) -> torch.Tensor:
        """All parameters in one vector."""
        parts = (self.inputs, self.outputs, self.gate, self.height, self.slope)
        whole = torch.cat([part.reshape(-1) for part in parts])
        return torch.cat([whole, self.output_bias.reshape(1)]) if self.bias else whole

    def trained(self, task: Task, task_index: int = 0, *, steps: int = 200) -> ChannelNetwork:
        """The minimum of the loss nearby, by Levenberg-Marquardt over all its parameters.

        Args:
            task: mse, one output.
            task_index: which target.
            steps: at most so many.
        """
        x, y, roots = _data(task, task_index)
        extended = self._extend(x)

        def residual(flat: torch.Tensor) -> torch.Tensor:
            return roots * (self._predict(flat, extended) - y)

        flat, mu = self.flat(), -1.0
        here = residual(flat)
        for _ in range(steps):
            jacobian = torch.func.jacfwd(residual)(flat)
            search = Search(torch.cat([jacobian, here[:, None]], 1), mu)
            while not (search.taken or search.failed):
                search.tell(residual(flat + search.step))
            if search.failed:
                break
            mu = 0.1 * search.mu
            flat = flat + search.step
            before, here = float(here @ here), residual(flat)
            if float(here @ here) > (1.0 - STILL) * before:
                break
        return self._from(flat)

    def _extend(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, torch.ones_like(x[:, :1])], 1) if self.bias else x

    def _predict(self, flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        m, size = self.inputs.shape
        sizes = [m * size, m, size, 1, size, int(self.bias)]
        inputs, outputs, gate, height, slope, rest = torch.split(flat, sizes)
        act = ACTIVATION_FUNCTIONS[self.activation]
        gated = torch.func.jvp(act, (x @ gate,), (x @ slope,))
        ordinary = act(x @ inputs.view(m, size).T) @ outputs
        out: torch.Tensor = ordinary + height * gated[0] + gated[1]
        return out + rest if self.bias else out

    def _from(self, flat: torch.Tensor) -> ChannelNetwork:
        m, size = self.inputs.shape
        sizes = [m * size, m, size, 1, size, int(self.bias)]
        inputs, outputs, gate, height, slope, rest = torch.split(flat, sizes)
        return ChannelNetwork(
            inputs.reshape(m, size),
            outputs,
            gate,
            height.reshape(()),
            slope,
            rest.reshape(()) if self.bias else self.output_bias,
            self.activation,
            self.bias,
        )


@dataclass
class ChannelLimit:
    """Where one network's channel leads.

    Attributes:
        pair: the two neurons; -2 in second place is the output bias.
        closeness: ``1 - cos`` of their input weights.
        loss: of the network.
        expanded: the pair replaced by its limit unit to first order.
        expanded_loss: its loss; above or below ``loss`` by what the expansion leaves out.
        limit: ``expanded`` after training: the end of the channel.
        limit_loss: its loss.
    """

    pair: tuple[int, int]
    closeness: float
    loss: float
    expanded: ChannelNetwork
    expanded_loss: float
    limit: ChannelNetwork
    limit_loss: float

    @property
    def gap(self) -> float:
        """How far the network still is above the end of the channel; > 0 in a channel."""
        return self.loss - self.limit_loss


def channel_limits(
    task: Task,
    networks: Ensemble,
    chosen: Sequence[int] | None = None,
    task_index: torch.Tensor | None = None,
    *,
    steps: int = 200,
) -> list[ChannelLimit | None]:
    """The limit networks of runs in a channel.

    Args:
        task: mse, one output.
        networks: one hidden layer, one output.
        chosen: which networks; default all.
        task_index: int64 ``[B]``, default 0.
        steps: Levenberg-Marquardt steps that train each limit.

    Returns:
        one `ChannelLimit` per chosen network; None where no two neurons pull in opposite
        directions. That the pair is close is for the caller to judge (``closeness``).

    Raises:
        ShapeError: another depth or several outputs. ValueError: another loss. TypeError,
            IndexError: chosen holds no networks.

    Example:
        >>> ended = converge(task, networks)  # doctest: +SKIP
        >>> runs = [b for b, word in enumerate(ended.status) if word == "channel"]  # doctest: +SKIP
        >>> [limit.gap for limit in channel_limits(task, ended.networks, runs)]  # doctest: +SKIP
    """
    chains(networks, "channel_limits")
    if networks.layer_widths.shape[1] != 3 or networks.d_out != 1:
        raise ShapeError("channel_limits needs networks with one hidden layer and one output")
    task = samples_of(task)
    if task.loss != "mse":
        raise ValueError(f"task must have loss='mse' for channel_limits, got {task.loss!r}")
    places = list(range(int(networks.B)))
    if chosen is not None:
        none = isinstance(chosen, Sized) and len(chosen) == 0
        places = [] if none else network_indices(chosen, networks.B, "chosen").tolist()
    networks, task = networks.to(device="cpu"), task.to(device="cpu")
    pairs = opponents(networks)
    found: list[ChannelLimit | None] = []
    for b in places:
        if int(pairs.first[b]) < 0:
            found.append(None)
            continue
        t = 0 if task_index is None else int(task_index[b])
        pair = int(pairs.first[b]), int(pairs.second[b])
        expanded, loss = _expand(networks, b, pair, task, t)
        limit = expanded.trained(task, t, steps=steps)
        found.append(
            ChannelLimit(
                pair=pair,
                closeness=float(pairs.closeness[b]),
                loss=loss,
                expanded=expanded,
                expanded_loss=expanded.loss(task, t),
                limit=limit,
                limit_loss=limit.loss(task, t),
            )
        )
    return found


def _expand(
    networks: Ensemble, b: int, pair: tuple[int, int], task: Task, t: int
) -> tuple[ChannelNetwork, float]:
    """Network b with its pair replaced by the limit unit to first order, and b's own loss."""
    d_in, width, _ = networks.layer_widths[b].tolist()
    flat = networks.theta[int(networks.offsets[b]) : int(networks.offsets[b + 1])]
    flat = flat.detach().to(torch.float64)
    inputs, at = flat[: d_in * width].view(width, d_in), d_in * width
    if networks.has_bias:
        inputs, at = torch.cat([inputs, flat[at : at + width, None]], 1), at + width
    outputs = flat[at : at + width]
    rest = flat[-1] if networks.has_bias else flat.new_zeros(())
    i, j = pair
    if j == BIAS:
        # The partner is a constant: the same neuron without its weights, taken out of the bias.
        one, a = inputs[i], outputs[i]
        other = torch.cat([torch.zeros_like(one[:-1]), one[-1:]])
        act = ACTIVATION_FUNCTIONS[networks.activation]
        rest = rest + a * act(one[-1])
        other_a, gate = -a, other
    else:
        one, other, a, other_a = inputs[i], inputs[j], outputs[i], outputs[j]
        if networks.activation in ODD and float(one @ other) < 0.0:
            other, other_a = -other, -other_a
        gate = 0.5 * (one + other)
    keep = [k for k in range(width) if k not in (i, j)]
    expanded = ChannelNetwork(
        inputs=inputs[keep],
        outputs=outputs[keep],
        gate=gate,
        height=a + other_a,
        slope=a * (one - gate) + other_a * (other - gate),
        output_bias=rest,
        activation=networks.activation,
        bias=bool(networks.has_bias),
    )
    whole = ChannelNetwork(
        inputs=inputs,
        outputs=outputs,
        gate=torch.zeros_like(gate),
        height=gate.new_zeros(()),
        slope=torch.zeros_like(gate),
        output_bias=flat[-1] if networks.has_bias else gate.new_zeros(()),
        activation=networks.activation,
        bias=bool(networks.has_bias),
    )
    return expanded, whole.loss(task, t)


def _data(task: Task, t: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs ``[N, d_in]``, targets ``[N]`` and roots of the coefficients ``[N]``, float64."""
    x = task.x if task.x.dim() == 2 else task.x[t]
    y = task.y if task.y.dim() == 2 else task.y[t]
    roots = task.coef[t].to(torch.float64).sqrt()
    return x.to(torch.float64), y[:, 0].to(torch.float64), roots
