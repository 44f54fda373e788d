"""Do labels hold against ten times more optimisation?

    python -m benchmarks.labels [--widths 2,3,4,5,6,8] [--seeds 60] [--share 0.1]

writes benchmarks/results/labels.json.

Students of the teachers of `edt demo` are driven to the bottom and certified as its runs are. A
random share of all ends is then optimised ten times as long, by a method that certificates do not
use for it (20,000 iterations of L-BFGS and 6,000 Newton steps, to where rounding stops them), and
certified again. A label holds if it is the same: for a good end, that it is good; for others, the
word. Ends that are not good are also counted by themselves, and all of them are taken: among the
good ones nothing can change.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from edt.landscape import certify
from edt.landscape.certificates import BOTTOM
from edt.stats import wilson
from edt.studies.common.labelled_runs import label_runs, run_part
from edt.studies.common.targets import make_task
from edt.studies.width.spec import WidthSweepSpec
from edt.training import converge

#: Ten times the budgets of a width sweep and of certificates.
LBFGS, NEWTON = 20_000, 6_000
RESULT = Path(__file__).parent / "results" / "labels.json"


def again(task, networks, index, spec):
    """Labels after ten times more optimisation, and the losses there."""
    further = converge(
        task, networks, task_index=index, tol=BOTTOM, lbfgs_steps=LBFGS, newton_steps=NEWTON,
        progress=False,
    )  # fmt: skip
    found = certify(task, further.networks, task_index=index, steps=spec.certify_steps)
    return found.label, found.loss.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", default="2,3,4,5,6,8")
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--share", type=float, default=0.1)
    given = parser.parse_args()
    spec = WidthSweepSpec(widths=tuple(map(int, given.widths.split(","))), seeds=given.seeds)
    task = make_task(spec)
    started = time.monotonic()
    cells = [(target, width) for target in range(spec.targets) for width in spec.widths]
    made = [run_part(spec, task, target, width) for target, width in cells]
    runs = label_runs(spec, task, [table for table, _ in made])
    print(f"{len(runs)} ends after {time.monotonic() - started:.0f} s")
    draw = np.random.Generator(np.random.Philox(0))
    tenth = np.zeros(len(runs), dtype=bool)
    tenth[draw.permutation(len(runs))[: round(given.share * len(runs))]] = True
    runs["tenth"] = tenth
    rows = []
    for (target, width), (_, networks) in zip(cells, made, strict=True):
        cell = runs[(runs["target"] == target) & (runs["width"] == width)].reset_index(drop=True)
        failed = ~cell["outcome"].isin(["good", "diverged"]).to_numpy()
        chosen = np.flatnonzero(failed)
        rows += [
            cell.loc[b, ["target", "width", "seed", "tenth"]].to_dict()
            | {"before": "good", "after": "good"}
            for b in np.flatnonzero(cell["outcome"].eq("good").to_numpy())
        ]
        if not chosen.size:
            continue
        index = torch.full((chosen.size,), target)
        labels, losses = again(task, networks.select(torch.from_numpy(chosen)), index, spec)
        for place, b in enumerate(chosen):
            good = losses[place] <= cell.loc[b, "threshold"]
            rows.append(
                cell.loc[b, ["target", "width", "seed", "tenth"]].to_dict()
                | {"before": cell.loc[b, "label"], "after": "good" if good else labels[place]}
            )
    table = pd.DataFrame(rows)
    kept = table["before"] == table["after"]
    record = {"ends": len(table), "lbfgs": LBFGS, "newton": NEWTON}
    for name, words, part in (
        ("tenth", "of the random tenth of all ends", table["tenth"]),
        ("failed", "of all ends that are not good", table["before"] != "good"),
    ):
        rate = wilson(int(kept[part].sum()), int(part.sum()))
        print(f"{words}, {int(kept[part].sum())} of {int(part.sum())} keep their label: {rate}")
        record[name] = {
            "kept": int(kept[part].sum()), "of": int(part.sum()), "low": rate.low,
            "high": rate.high, "before": table["before"][part].value_counts().to_dict(),
        }  # fmt: skip
    print(pd.crosstab(table["before"], table["after"]))
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
