"""Many widths and seeds at once: train, go to the minima, count those that reach zero loss.

Run: python examples/train_and_converge.py   (about ten seconds)
"""

import edt
from edt.stats import wilson

task = edt.tasks.teacher_student(d_in=2, teacher_width=3, n=200, scale=2.0)
trained = edt.masked_train(task, widths=[2, 3, 4, 6], seeds=range(10), steps=3000, lr=0.02)
ends = edt.converge(task, trained.networks, newton_steps=30)

table = ends.to_pandas()
table["good"] = table["loss"] <= 1e-8 * float(task.variance[0])
for width, rows in table.groupby("widths"):
    rate = wilson(int(rows["good"].sum()), len(rows))
    verdicts = rows["verdict"].value_counts().to_dict()
    print(f"width {width}: {rate} reach zero loss; verdicts {verdicts}")
