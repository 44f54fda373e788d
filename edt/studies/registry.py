"""Every study, one line each, and what can be done with the directory of any run."""

from __future__ import annotations

from edt.studies import (
    census,
    controls,
    crossed,
    escape,
    failures,
    index_loss,
    loss_levels,
    lottery,
    multi_start,
    perturb_rest,
    safran_shamir,
    subsets,
    width,
    xor,
)
from edt.studies.study import Study

STUDIES: dict[str, Study] = {
    study.kind: study
    for study in (
        width.STUDY,
        xor.STUDY,
        controls.STUDY,
        perturb_rest.STUDY,
        multi_start.STUDY,
        lottery.STUDY,
        census.STUDY,
        escape.STUDY,
        loss_levels.STUDY,
        safran_shamir.STUDY,
        subsets.STUDY,
        crossed.STUDY,
        failures.STUDY,
        index_loss.STUDY,
    )
}
