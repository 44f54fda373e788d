"""Iterative magnitude pruning with rewinding: train, prune, rewind, repeat.

Reference: J. Frankle, M. Carbin, "The lottery ticket hypothesis", ICLR 2019, arXiv 1803.03635;
J. Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020, arXiv
1912.05671 (rewinding to step k).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from edt.arguments import checked
from edt.ensemble import Ensemble
from edt.ensemble.kinds import Networks
from edt.frames import Tabular
from edt.lottery.connectivity import connected, layers_cut
from edt.lottery.membership import membership
from edt.lottery.prune import Shares, density, prune_finite, prune_lowest
from edt.lottery.trial import Ends, Protocol, run_trial
from edt.scalars import integer
from edt.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
#: Scores ``[total]`` of trained networks.
Criterion = Callable[[Any], torch.Tensor]


@dataclass(frozen=True)
class Round(Tabular, Generic[T]):
    """One round of iterative pruning.

    Attributes:
        number: 0 is the dense network.
        start: the tickets of this round at the values they were rewound to.
        trained: what training made of them.
        outcome: whatever else the training function returned.
    """

    number: int
    start: Any
    trained: Any
    outcome: T

    @property
    def finite(self) -> torch.Tensor:
        """bool ``[B]``, networks that did not diverge in this round."""
        finite: torch.Tensor = self.trained.finite
        return finite

    @property
    def layers_cut(self) -> torch.Tensor:
        """int64 ``[B]``, layers that the prunings so far have left without a weight."""
        return layers_cut(self.start)

    def to_pandas(self) -> pd.DataFrame:
        """One row a network: network, round, remaining, layers_cut, connected, finite.

        ``remaining`` is the share of the weights, ``connected`` whether a path of them leads from
        an input to an output.
        """
        import pandas as pd

        remaining = density(self.start)
        return pd.DataFrame(
            {
                "network": range(len(remaining)),
                "round": self.number,
                "remaining": remaining.tolist(),
                "layers_cut": self.layers_cut.tolist(),
                "connected": connected(self.start).tolist(),
                "finite": self.finite.tolist(),
            }
        )


def magnitude(networks: Networks) -> torch.Tensor:
    """Score ``|w|`` of every parameter."""
    return networks.theta.detach().abs()


def iterative_pruning(
    start: Networks,
    train: Callable[[Any], tuple[Any, T]],
    *,
    rounds: int,
    share: Shares | Callable[[int], Shares],
    scope: str = "layer",
    criterion: Criterion = magnitude,
    rewind: Networks | None = None,
) -> Iterator[Round[T]]:
    """Train, prune a share of what remains, rewind the survivors; all networks at once.

    A network that diverged in a round (`Round.finite`) keeps its mask for the next one, for
    nothing is known about its weights; if all of them did, the next round is refused.

    Args:
        start: B networks at step 0.
        train: networks at their start to (trained networks, anything); each round is one call.
        rounds: prunings; ``rounds + 1`` rounds are yielded, the first of the dense network.
        share: of the remaining weights that each round prunes, per layer or one for all (see
            `edt.lottery.prune.prune_lowest`), or a function of the round that gives it (see
            `edt.lottery.pruning_schedules`).
        scope: "layer", "global" or "neuron".
        criterion: scores of the trained networks; the lowest go.
        rewind: the networks after k steps: survivors go back to these values; default ``start``
            (k = 0).

    Yields:
        `Round` after `Round`; stop taking them to stop early.

    Raises:
        TypeError, ValueError: an argument is wrong, or what ``train`` returns; when the first round
            is asked for; ValueError: the next round is asked for where every network diverged.
    """
    rounds = integer("rounds", rounds, 0)
    if rewind is not None and not torch.equal(rewind.offsets, start.offsets):
        raise ValueError(
            f"rewind must hold the networks of start after k steps, {start!r}, got {rewind!r}"
        )
    source = start if rewind is None else rewind
    current = start
    for number in range(rounds + 1):
        returned = train(current)
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise TypeError(
                "train must return a pair (trained networks, anything), got "
                f"{type(returned).__name__}"
            )
        trained, outcome = returned
        yield Round(number, current, trained, outcome)
        if number < rounds:
            if not bool(trained.finite.any()):
                raise ValueError(
                    f"every network diverged in round {number}: there is nothing to prune by; "
                    "train with smaller steps"
                )
            now = share(number) if callable(share) else share
            state = prune_finite(trained, criterion(trained), now, scope)
            current = source.with_state(state)


def sparsest_winners(
    task: Task,
    start: Ensemble,
    ends: Ends,
    protocol: Protocol,
    task_index: torch.Tensor,
    *,
    share: float = 0.15,
    rounds: int = 24,
) -> torch.Tensor:
    """What iterative magnitude pruning leaves of every network as long as it wins.

    Args:
        task: all targets.
        start: B networks at step 0.
        ends: where they ended.
        protocol: training of each round.
        task_index: int64 ``[B]``.
        share: of a network's remaining weights that each round prunes (globally).
        rounds: most prunings.

    Returns:
        bool ``[total]``: the sparsest mask that still won when trained from the initial weights;
        all True for networks that lost dense.
    """
    keep = torch.ones(start.total, dtype=torch.bool)
    index = torch.nonzero(ends.win).flatten()
    trained = ends.networks
    current = start
    for _ in range(rounds):
        if not index.numel():
            break
        some = trained.select(index)
        state = prune_lowest(some, magnitude(some), share, "global")
        place = start.positions(index)
        current = start.select(index).with_state(state)
        result = run_trial(task, current, protocol, task_index[index])
        won = result.win[membership(current).network]
        keep[place[won]] = state[won] != 0
        merged = trained.state.clone()
        merged[place] = state
        theta = trained.theta.clone()
        theta[place] = result.networks.theta
        trained = trained.with_theta(theta).with_state(merged)
        unchanged = bool((current.state == some.state).all())
        index = index[result.win]
        if unchanged:
            break
    return keep


checked(__name__)
