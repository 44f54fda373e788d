"""Run, or go on with, every study that the page of the four claims needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edt.locations import Folder, Location, place
from edt.runs.experiment import Experiment
from edt.studies.common.findings import Finding
from edt.studies.crossed import crossed_spec
from edt.studies.crossed.page import findings as crossed_findings
from edt.studies.crossed.page import joint as crossed_joint
from edt.studies.crossed.page import write_crossed_report
from edt.studies.crossed.run import CrossedRun
from edt.studies.failures import failures_spec
from edt.studies.failures.page import findings as failures_findings
from edt.studies.failures.page import joint as failures_joint
from edt.studies.failures.page import write_failures_report
from edt.studies.failures.run import FailuresRun
from edt.studies.index_loss import index_loss_spec
from edt.studies.index_loss.page import findings as index_loss_findings
from edt.studies.index_loss.page import write_index_loss_report
from edt.studies.index_loss.run import IndexLossRun
from edt.studies.subsets import subsets_spec
from edt.studies.subsets.page import findings as subsets_findings
from edt.studies.subsets.page import joint as subsets_joint
from edt.studies.subsets.page import write_subsets_report
from edt.studies.subsets.run import SubsetsRun

__all__ = ["STUDIES", "Study", "run_claims"]


@dataclass(frozen=True)
class Study:
    """A study behind the page.

    Attributes:
        kind: what it runs as.
        spec: its size, full or quick.
        report: writes its page.
        findings: what its tables say of the claims.
    """

    kind: type[Experiment]
    spec: Callable[..., Any]
    report: Callable[[Any, Location], Folder]
    findings: Callable[[Any], list[Finding]]


#: The studies, by the name of their folder under the page's.
STUDIES: dict[str, Study] = {
    "crossed": Study(
        CrossedRun, crossed_spec, write_crossed_report,
        lambda run: crossed_findings(crossed_joint(run)[0], run.components()),
    ),
    "subsets": Study(
        SubsetsRun, subsets_spec, write_subsets_report,
        lambda run: subsets_findings(*subsets_joint(run)),
    ),
    "failures": Study(
        FailuresRun, failures_spec, write_failures_report,
        lambda run: failures_findings(*failures_joint(run)[1:]),
    ),
    "index-loss": Study(
        IndexLossRun, index_loss_spec, write_index_loss_report,
        lambda run: index_loss_findings(run.curve()),
    ),
}  # fmt: skip


def run_claims(
    directory: Location,
    *,
    quick: bool = False,
    fresh: bool = False,
    progress: bool = True,
    **options: Any,
) -> dict[str, Experiment]:
    """Run the studies behind the page, or what is left of them, each in a folder of its own.

    Args:
        directory: holds one folder a study, and the page.
        quick: small studies, in seconds.
        fresh: delete what is there and start over.
        progress: show progress bars on a terminal.
        options: of the engine, as in `edt.runs.experiment.Experiment.run`.

    Returns:
        The finished runs by name; their pages are written.

    Raises:
        DirectoryError: a folder holds something else, or is in use.
        KeyboardInterrupt: Ctrl-C; finished parts are kept, and the same call goes on.
    """
    folder = place(directory)
    done = {}
    for name, study in STUDIES.items():
        own = folder / name
        run = study.kind.run(
            study.spec(quick=quick), own, fresh=fresh, progress=progress, **options
        )
        study.report(run, own)
        done[name] = run
    return done
