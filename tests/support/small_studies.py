"""Specs of studies that take seconds, have two parts at least, and yet something to show."""

from __future__ import annotations

from edt.studies.claims_presets import crossed_spec, failures_spec, index_loss_spec, subsets_spec

#: Those behind the page of claims.
CLAIMS = {
    "subsets": subsets_spec(quick=True, teachers=1, seeds=4, widths=(5, 6), steps=400),
    "crossed": crossed_spec(quick=True, teachers=2, candidates=8, rests=3, steps=400),
    "failures": failures_spec(quick=True, teachers=1, seeds=4, steps=400),
    "index-loss": index_loss_spec(quick=True, teachers=1, seeds=4),
}
