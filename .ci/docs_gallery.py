"""The gallery of the site's home: every study with its picture, its answer and its whole report.

    python .ci/docs_gallery.py [--quick]   (make gallery)

runs the studies whose reports are missing in build/gallery, or in the folder that EDT_GALLERY
names. The build of the site publishes the reports that are there as they are, and takes each
study's answer from them; a study without one has its picture, its question and its command.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("EDT_GALLERY", ROOT / "build" / "gallery"))
PLACE = "<!-- gallery -->"
#: Command, package in edt.studies, and the picture of its full run in docs/images.
STUDIES = (
    ("width-sweep", "width", "success"),
    ("controls", "controls", "controls"),
    ("census", "census", "census"),
    ("escape", "escape", "escape"),
    ("perturb-rest", "perturb_rest", "perturb_rest"),
    ("multi-start", "multi_start", "multi_start"),
    ("lottery", "lottery", "lottery_digits"),
    ("loss-levels", "loss_levels", "loss_levels"),
    ("safran-shamir", "safran_shamir", "safran_shamir"),
    ("xor", "xor", "xor"),
    ("subsets", "subsets", "subsets"),
    ("crossed", "crossed", "crossed"),
    ("failures", "failures", "failures"),
    ("index-loss", "index_loss", "index_loss"),
    ("signs", "signs", "signs"),
    ("prune-to-narrow", "prune_to_narrow", "prune_to_narrow"),
    ("escape-count", "escape_count", "escape_count"),
    ("barriers", "barriers", "barriers"),
    ("depth", "depth", "depth"),
    ("targets", "targets", "targets"),
    ("optimisers", "optimisers", "optimisers"),
    ("perturb-rest-net", "perturb_rest_net", "perturb_rest_conv4"),
    ("multi-start-net", "multi_start_net", "multi_start_net"),
)

#: Pictures that show a run with --quick; the others show the runs that the documents report.
QUICK = {
    "signs", "prune_to_narrow", "escape_count", "depth", "targets", "optimisers", "barriers",
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One card: command, what it asks, picture, and its report where there is one."""

    name: str
    question: str
    picture: str | None
    report: Path | None

    @property
    def address(self) -> str:
        """Of the report in the site."""
        return f"gallery/{self.name}.html"


def studies(folder: Path = FOLDER) -> Iterator[Study]:
    """All of them, in the order of the page."""
    for name, package, picture in STUDIES:
        source = ROOT / "edt" / "studies" / package / "__init__.py"
        text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or name
        shown = (ROOT / "docs" / "images" / f"{picture}.png").is_file()
        report = folder / name / "report.html"
        yield Study(
            name,
            text.split("\n")[0].rstrip("."),
            f"images/{picture}.png" if shown else None,
            report if report.is_file() else None,
        )


def answer(report: Path) -> str:
    """What a report says in the second sentence of its lead (its only one, if there is one)."""
    found = re.search(r'<p class="lead">(.*?)</p>', report.read_text(encoding="utf-8"), re.DOTALL)
    text = unescape(re.sub(r"<[^>]*>", "", found[1])) if found else ""
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z0-9])", " ".join(text.split()))
    return sentences[min(1, len(sentences) - 1)]


def card(study: Study) -> str:
    """One study as HTML."""
    head, _, rest = study.question.partition(": ")
    parts = [f"<b>{escape(head)}</b>"]
    if rest:
        parts.append(f"<span>{escape(rest[:1].upper() + rest[1:])}</span>")
    if study.picture:
        parts.insert(0, f'<img src="{study.picture}" alt="" loading="lazy">')
    if study.picture and Path(study.picture).stem in QUICK:
        parts.append("<small>Picture: a quick run, too small to decide anything.</small>")
    if study.report is None:
        return f'<div class="card">{"".join(parts)}<code>edt run {study.name}</code></div>'
    parts.append(f"<em>{escape(answer(study.report))}</em>")
    if small(study.report):
        parts.append("<small>A small run, made with this page.</small>")
    return f'<a class="card" href="{study.address}">{"".join(parts)}</a>'


def small(report: Path) -> bool:
    """Whether the report is of a run with --quick."""
    note = report.with_name("gallery.json")
    return note.is_file() and bool(json.loads(note.read_text())["quick"])


def on_files(files: Any, config: Any) -> Any:
    """Publish the reports."""
    from mkdocs.structure.files import File

    for study in studies():
        if study.report is not None:
            files.append(File.generated(config, study.address, abs_src_path=str(study.report)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the cards where the page wants them."""
    cards = "".join(map(card, studies()))
    return markdown.replace(PLACE, f'<div class="gallery">{cards}</div>')


def main(arguments: list[str]) -> int:
    """Run what is missing; one study after another, each on all cores."""
    for study in studies():
        if study.report is None:
            out = FOLDER / study.name
            command = [
                sys.executable,
                "-m",
                "edt",
                "run",
                study.name,
                "--no-progress",
                "--out",
                out,
            ]
            subprocess.run([*map(str, command), *arguments], check=True, cwd=ROOT)
            note = json.dumps({"quick": "--quick" in arguments})
            (out / "gallery.json").write_text(note + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
