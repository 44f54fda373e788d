"""A winning ticket keeps its weights while the rest of the network changes: does it still win?

Run: python examples/perturb_the_rest.py   (about fifteen seconds)
"""

import torch

import edt
from edt.lottery import (
    Protocol,
    Recipe,
    Tickets,
    match_teacher,
    neuron_mask,
    perturb_rest,
    run_trial,
)
from edt.stats import wilson

# Students of width 6 learn a teacher of width 3.
task = edt.tasks.teacher_student(d_in=2, teacher_width=3, n=100, scale=2.0, normalise=True)
recipe, protocol = Recipe("glorot", reference_width=3), Protocol(steps=1500, lbfgs_rounds=2)
start = recipe.start([6], range(20), d_in=2, d_out=1)
index = torch.zeros(start.B, dtype=torch.int64)
whole = run_trial(task, start, protocol, index)

# The ticket of a student: the neurons that end as the teacher's. It must win alone.
match = match_teacher(task, whole.networks, task.info["teacher"], index)
tickets = Tickets.of(start, neuron_mask(start, match.mask))
alone = run_trial(task, tickets.alone(), protocol, index)
winning = torch.nonzero(whole.win & alone.win).flatten()[:3]
print(f"{int(whole.win.sum())} of {start.B} students win, {len(winning)} tickets are tried")

# Their initial weights stay, all others move by a random step of a given length.
sizes = [0.5, 2.0, 8.0]
made = perturb_rest(tickets.select(winning), "noise", sizes, rests=30, recipe=recipe)
table = made.table.assign(win=run_trial(task, made.networks, protocol, made.task_index).win.numpy())
for size, rows in table.groupby("size"):
    rate = wilson(int(rows["win"].sum()), len(rows))
    print(f"rest changed by {size:g} times its length: {rate} of {len(rows)} networks win")
