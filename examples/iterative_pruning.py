"""Iterative magnitude pruning with rewinding on digits, and the same masks with new weights.

Run: python examples/iterative_pruning.py   (about fifteen seconds)
"""

import torch

import edt
from edt.lottery import Recipe, Tickets
from edt.lottery.controls import reinitialised
from edt.lottery.interchange import tickets_to_modules
from edt.lottery.iterative import iterative_pruning
from edt.lottery.prune import density
from edt.studies.lottery.run import accuracy

train, test = (edt.tasks.digits(part, dtype=torch.float32) for part in ("train", "test"))
recipe = Recipe("glorot")
options = {"d_in": 64, "d_out": 10, "activation": "relu", "dtype": torch.float32}
start = recipe.start([(40, 20)], range(3), **options)


def fit(networks):
    """A short training of all networks at once; returns them and their test accuracy."""
    result = edt.masked_train(
        train, networks, steps=300, lr=2e-3, batch_size=60, record=None, progress=False
    )
    return result.networks, accuracy(result.networks, test)


for level in iterative_pruning(start, fit, rounds=5, share=[0.4, 0.4, 0.2]):
    tickets = Tickets.of(start, level.start.masks)
    other = fit(reinitialised(tickets, recipe, seed=1).alone())[1]
    print(
        f"{100 * float(density(level.start)[0]):5.1f}% of the weights: ticket "
        f"{100 * float(level.outcome.mean()):.1f}%, same mask with new weights "
        f"{100 * float(other.mean()):.1f}%"
    )

# The last ticket as a torch module with masks of torch.nn.utils.prune.
module = tickets_to_modules(tickets)[0]
print(f"{int(module[0].weight_mask.sum())} of {module[0].weight.numel()} input weights are left")
