"""Look at the landscape around trained networks: trajectories, spectra, a line and a plane.

Writes four figures to edt-views/.
"""

from pathlib import Path

import edt
from edt.landscape import loss_line, loss_plane
from edt.plots import plot_line, plot_plane, plot_spectrum, plot_trajectories, png

SEEDS = 3
task = edt.tasks.teacher_student(d_in=4, teacher_width=4, n=512)
start = edt.Ensemble.init(widths=[4, 6, 8], seeds=range(SEEDS), d_in=4, d_out=1)
trained = edt.masked_train(task, start, steps=2000, lr=1e-2, record_params=True, progress=False)
ends = edt.converge(task, trained.networks, progress=False).networks

# One network of each width, before and after.
chosen = [0, SEEDS, 2 * SEEDS]
spectra = edt.hessian_spectrum(start.select(chosen), task)
spectra += edt.hessian_spectrum(ends.select(chosen), task)
labels = [f"width {width}, {when}" for when in ("start", "end") for width in (4, 6, 8)]

# From the starts straight to the ends; and the plane closest to the way training took.
line = loss_line(task, start.select(chosen), ends.select(chosen), progress=False)
one = edt.masked_train(
    task, start.network(SEEDS), steps=2000, lr=1e-2, record_params=True, progress=False
)
plane = loss_plane(
    task, one.networks, "path", path=one.history["params"].values, points=41, progress=False
)

figures = {
    "trajectories": plot_trajectories(trained),
    "spectra": plot_spectrum(spectra, labels),
    "line": plot_line(line),
    "plane": plot_plane(plane),
}
folder = Path("edt-views")
folder.mkdir(exist_ok=True)
for name, figure in figures.items():
    (folder / f"{name}.png").write_bytes(png(figure, dpi=80))
    print(folder / f"{name}.png")
