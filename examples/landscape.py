"""Census of minima over widths, then every way out of the bad ones, with tables and figures.

Run: python examples/landscape.py   (about a minute; writes landscape-out/)
     python examples/landscape.py --widths 4..16 --seeds 154 --d-in 4 --samples 1024
"""

import argparse
from pathlib import Path

import edt
from edt.landscape import census, escape_experiment, find_minima, index_along_path, plateaus
from edt.plots import plot_census, plot_escape, plot_paths, png
from edt.studies import parse_widths

parser = argparse.ArgumentParser()
parser.add_argument("--widths", default="2..7", type=parse_widths)
parser.add_argument("--seeds", default=80, type=int)
parser.add_argument("--teacher", default=4, type=int)
parser.add_argument("--d-in", default=2, type=int)
parser.add_argument("--samples", default=256, type=int)
parser.add_argument("--activation", default="tanh")
parser.add_argument("--task-seed", default=3, type=int)
parser.add_argument("--minima", default=8, type=int, help="bad minima to escape from")
parser.add_argument("--out", default="landscape-out", type=Path)
options = parser.parse_args()

task = edt.tasks.teacher_student(
    options.d_in, options.teacher, n=options.samples, activation=options.activation,
    scale=2.5, normalise=True, seed=options.task_seed,
)  # fmt: skip
minima = find_minima(
    task, widths=options.widths, seeds=range(options.seeds), activation=options.activation
)
print(minima)

counted = census(task, minima)
print(counted)
print(counted.table()[["width", "runs", "good", "bad", "open", "distinct", "coverage", "chao1"]])
print(counted.prediction(options.teacher)[["width", "minima_share", "dominated", "bad_share"]])

# One run for each distinct bad minimum, the commonest first.
chosen = counted.representatives()[: options.minima]
escape = escape_experiment(
    task, minima.select(chosen), copies=1, directions=3, random=2, descent_steps=10_000
)
print(escape)
print(escape.table()[["added", "shares", "kind", "mean_index", "clear", "agree", "good"]])

start = edt.Ensemble.init(
    widths=[options.teacher + 2], seeds=range(4), d_in=options.d_in, d_out=1,
    activation=options.activation, scheme="glorot", scale=0.1,
)  # fmt: skip
descent = edt.masked_train(task, start, optimizer="gd", lr=0.05, steps=100_000, record_params=True)
path = index_along_path(task, descent)
print(plateaus(path))

options.out.mkdir(exist_ok=True)
counted.runs.to_parquet(options.out / "runs.parquet")
counted.minima.to_parquet(options.out / "minima.parquet")
escape.points.to_parquet(options.out / "points.parquet")
escape.starts.to_parquet(options.out / "starts.parquet")
for name, figure in (
    ("census", plot_census(counted, options.teacher)),
    ("escape", plot_escape(escape)),
    ("paths", plot_paths(path)),
):
    (options.out / f"{name}.png").write_bytes(png(figure))
print(f"tables and figures are in {options.out}/")
