"""How often trainers on minibatches ask which step decides next."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import edt
from edt.training import batch_trainer
from edt.training.epochs import Epochs

SAMPLES, STEPS = 60, 50


class Counted(Epochs):
    """Counts who asks where epochs end."""

    asked = 0

    @property  # type: ignore[override]
    def per_epoch(self) -> int:  # type: ignore[override]
        Counted.asked += 1
        return self._steps

    @per_epoch.setter
    def per_epoch(self, steps: int) -> None:
        self._steps = steps


def net(width: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("named", [True, False])
def test_a_step_asks_for_itself_or_once_for_all(
    named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where steps go one by one, none may look through all that are left."""
    monkeypatch.setattr(batch_trainer, "Epochs", Counted)
    monkeypatch.setattr(Counted, "asked", 0)
    torch.manual_seed(0)
    data = (torch.randn(SAMPLES, 1, 3, 3), torch.randint(0, 3, (SAMPLES,)))
    loss = "cross_entropy" if named else lambda f, y: nn.functional.cross_entropy(f, y)
    task, nets = edt.ModuleTask(data, loss), edt.ModuleEnsemble.build(net, [1.0], [0])
    assert (task.objective(nets).steps is not None) == named
    edt.masked_train(
        task, nets, lr=1e-3, steps=STEPS, batch_size=1, loss_target=1e-9, record=None,
        progress=False,
    )  # fmt: skip
    # Whether the step decides, and which sample it takes.
    assert 0 < Counted.asked <= 4 * STEPS
