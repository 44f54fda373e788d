"""The page of the four claims in the docs, from a finished ``edt claims``.

    python .ci/docs_claims.py DIR

writes docs/claims.md: what DIR/report.html says, with the studies' figures of the gallery, each a
link to its whole report there (``EDT_GALLERY=DIR python .ci/docs_gallery.py crossed subsets
failures index-loss`` publishes those of the same runs).
"""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "claims.md"
HEAD = """# Four claims about width

What `edt claims` says at its full size ({sizes}): every sentence is made by a test on the runs'
tables and names its interval or its null; it falls silent where the data do not decide. Teachers
are the unit, and there are few, all of one kind: tanh, two inputs, one hidden layer. Each picture
is a link to the whole report of its study.

"""


def plain(text: str) -> str:
    """A sentence of a page as Markdown."""
    text = re.sub(r"</?b>", "**", text)
    return unescape(re.sub(r"<[^>]+>", "", text)).replace("\u2060", "")


def markdown(runs: dict) -> str:
    """The page.

    Args:
        runs: of `edt.studies.claims.run.run_claims`, by study.
    """
    from edt.studies.claims.page import CLAIMS, WORDS, gathered, headline
    from edt.studies.common.findings import bullets_of, verdict_of

    found = gathered(runs)
    sizes = ", ".join(
        f"{name} {len(next(iter(run.tables.values()))):,} rows" for name, run in runs.items()
    )
    parts = [HEAD.format(sizes=sizes), *(f"- {plain(said)}\n" for said in headline(found)), "\n"]
    for claim, (text, change) in CLAIMS.items():
        own = [finding for _, finding in found[claim]]
        parts.append(f"## ({claim}) {text}\n\n**{WORDS[verdict_of(own)].capitalize()}.**\n\n")
        order = {"for": 0, "against": 1, "silent": 2}
        told = sorted(own, key=lambda finding: order[finding.speaks])
        parts += [f"- {plain(said)}\n" for said in bullets_of(told)]
        parts.append(f"\nWhat would change this: {change}.\n\n")
        for name in dict.fromkeys(name for name, _ in found[claim]):
            parts.append(f"[![{name}](gallery/{name}.png)](gallery/{name}.html)\n\n")
    return "".join(parts).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    from edt.studies.claims.run import STUDIES

    folder = Path(arguments[0])
    runs = {name: study.kind.load(folder / name) for name, study in STUDIES.items()}
    PAGE.write_text(markdown(runs), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
