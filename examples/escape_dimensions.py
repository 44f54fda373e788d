"""Split a neuron of an exact critical point: predicted escape dimensions against the full Hessian.

Run: python examples/escape_dimensions.py   (a second)
"""

import torch

import edt
from edt.landscape import critical_task, predicted_inertia, split, split_matrices

narrow = edt.Ensemble.init(widths=[3], seeds=range(4), d_in=2, d_out=1, scheme="normal")
x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
task = critical_task(narrow, x)
targets = torch.arange(4)

at = edt.count_directions(narrow, task, task_index=targets)
for mu in (0.3, 1.4):
    wide = split(narrow, neuron=1, mu=mu).networks
    counted = edt.index(wide, task, task_index=targets)
    for b in range(4):
        matrices = split_matrices(task, narrow, b, target=b)[1]
        before = (int(at.n_neg[b]), int(at.n_zero[b]), int(at.n_pos[b]))
        predicted = predicted_inertia(before, matrices, mu)[0]
        print(f"mu {mu}: network {b} predicted {predicted}, counted {int(counted[b])}")
