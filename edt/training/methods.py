"""Which stages of `converge` run, in which order, on which networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edt.training.descent import CONVERGED, MAX_STEPS, RUNNING, STALLED, Descent, lbfgs
from edt.training.excursions import DEEP, GOOD, MORE_SHARES, excursions
from edt.training.levenberg import FLOOR, ZERO_SOON, can_levenberg, levenberg
from edt.training.newton import newton
from edt.training.progress import Meter
from edt.training.steihaug import steihaug

__all__ = ["METHODS", "DescentPlan"]

METHODS = ("auto", "lbfgs+newton", "newton", "lm", "cg")
#: Gradient at which L-BFGS and Levenberg-Marquardt hand over: below it a few Newton steps are
#: cheaper.
SWITCH = 1e-6
#: Rounds of steps downwards and excursions, and by what the loss must fall in one for another.
ROUNDS, FELL = 4, 0.5


@dataclass(frozen=True)
class DescentPlan:
    """The descent of `converge` with its budgets.

    Attributes:
        method: one of `METHODS`.
        lbfgs_steps, newton_steps: iterations of each stage.
        memory: pairs kept by L-BFGS.
        polish: follow valleys to zero loss by excursions.
    """

    method: str
    lbfgs_steps: int
    newton_steps: int
    memory: int
    polish: bool

    def run(self, state: Descent, work: torch.Tensor, dense: torch.Tensor, meter: Meter) -> None:
        """Take the networks of ``work`` down and decide their status.

        Args:
            state: updated in place.
            work: networks, int64 ``[b]``.
            dense: bool ``[B]``, those whose Hessians may be formed.
            meter: progress.
        """
        # With no Newton to hand over to, the first stage goes all the way itself.
        switch = max(SWITCH, state.tol) if self.newton_steps else state.tol
        able = can_levenberg(state.objective) & dense
        if self.method == "lm":
            squares = able[work]
            goal = GOOD if self.polish else FLOOR
            levenberg(state, work[squares], self.newton_steps, meter, switch=switch, goal=goal)
            newton(state, work[~squares], self.newton_steps, meter, ggn=True, switch=switch)
        elif self.method != "newton":
            lbfgs(state, work, self.memory, self.lbfgs_steps, switch, meter)
        reached = torch.full((state.B,), float("inf"), dtype=torch.float64)
        self._to_zero(state, work, able, reached, meter)
        newton(state, work[dense[work]], self.newton_steps, meter)
        steihaug(state, work[~dense[work]], self.newton_steps, meter)
        # Newton may have found the way to zero where the first stage had not.
        late = self._to_zero(state, work, able, reached, meter)
        newton(state, late, self.newton_steps, meter)

    def _to_zero(
        self,
        state: Descent,
        work: torch.Tensor,
        able: torch.Tensor,
        reached: torch.Tensor,
        meter: Meter,
    ) -> torch.Tensor:
        """Down the valleys of zero loss with networks near it; returns them.

        Args:
            reached: float64 ``[B]``, share of the targets' size at which the last call left a
                network, inf without one; updated in place. It is not repeated for a network, unless
                that has come within the reach of excursions since.
        """
        share = state.loss / state.objective.scale
        open_ = torch.zeros(state.B, dtype=torch.bool)
        for code in (RUNNING, CONVERGED, STALLED, MAX_STEPS):
            open_ |= state.status == code
        fresh = reached == float("inf")
        if self.polish:
            fresh |= (reached > GOOD) & (share <= GOOD)
        near = open_ & able & fresh & (share > FLOOR) & (share <= ZERO_SOON)
        chosen = work[near[work]] if self.newton_steps else work[:0]
        state.status[chosen] = RUNNING
        if self.polish:
            self._excursions(state, chosen, meter)
        else:
            levenberg(state, chosen, self.newton_steps, meter, switch=0.0)
        reached[chosen] = state.loss[chosen] / state.objective.scale[chosen]
        return chosen

    def _excursions(self, state: Descent, chosen: torch.Tensor, meter: Meter) -> None:
        """Excursions from a low enough loss, and steps downwards where those fail, in turn.

        As long as there are dampings to try, excursions count only where they end deep: others may
        end in a channel to infinity.
        """
        levenberg(state, chosen, self.newton_steps, meter, switch=0.0, goal=GOOD)
        # The others have had all the steps downwards that are worth their while.
        chosen = chosen[state.loss[chosen] <= GOOD * state.objective.scale[chosen]]
        excursions(state, chosen, self.newton_steps, meter, least=DEEP)
        levenberg(state, chosen, self.newton_steps, meter, switch=0.0)
        excursions(
            state, chosen, self.newton_steps, meter, least=DEEP, shares=MORE_SHARES, back=True
        )
        for _ in range(ROUNDS):
            before = state.loss[chosen].clone()
            levenberg(state, chosen, self.newton_steps, meter, switch=0.0)
            excursions(state, chosen, self.newton_steps, meter, least=GOOD, shares=MORE_SHARES)
            now = state.loss[chosen]
            chosen = chosen[(now <= FELL * before) & (now <= GOOD * state.objective.scale[chosen])]
            if not chosen.numel():
                break
