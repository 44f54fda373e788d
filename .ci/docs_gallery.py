"""The gallery of the site's home: every study with its picture, its answer and its whole report.

    python .ci/docs_gallery.py [--quick] [STUDY ...]   (make gallery)

runs the studies (all, or those named) that have no run in build/gallery, or in the folder that
EDT_GALLERY names, and publishes each: its report, written anew by today's code, goes to
docs/gallery without plotly's library, which the build of the site puts back, and its first figure
beside it. Quick runs are not published: the site of the machine that made them shows them where
there is no other. A study without any report has its question and its command.
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
#: What is published: reports and thumbnails.
PUBLISHED = ROOT / "docs" / "gallery"
PLACE = "<!-- gallery -->"
#: Where a report holds plotly.
LIBRARY = re.compile(r'(<script type="text/plain" id="plotly-source">)[^<]*')
#: Pixels of a thumbnail's width.
ACROSS = 640
#: Commands, in the order of the page.
STUDIES = (
    "width-sweep", "controls", "census", "escape", "perturb-rest", "multi-start", "lottery",
    "loss-levels", "safran-shamir", "xor", "subsets", "crossed", "failures", "index-loss", "signs",
    "prune-to-narrow", "escape-count", "barriers", "depth", "targets", "optimisers",
    "escape-teachers", "channel-sweep", "perturb-rest-net", "multi-start-net",
    "width-net",
)  # fmt: skip


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


def studies(folder: Path = FOLDER, published: Path = PUBLISHED) -> Iterator[Study]:
    """All of them, in the order of the page."""
    for name in STUDIES:
        package = "width" if name == "width-sweep" else name.replace("-", "_")
        source = ROOT / "edt" / "studies" / package / "__init__.py"
        text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or name
        shown = (published / f"{name}.png").is_file()
        reports = [published / f"{name}.html", folder / name / "report.html"]
        yield Study(
            name,
            text.split("\n")[0].rstrip("."),
            f"gallery/{name}.png" if shown else None,
            next((report for report in reports if report.is_file()), None),
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


def slim(page: str) -> str:
    """A report without plotly's library: its pictures stand in for the figures."""
    return LIBRARY.sub(r"\1", page)


def whole(page: str) -> str:
    """A report with plotly's library, as it was written."""
    from edt.show.interactive import plotly_source

    return LIBRARY.sub(lambda found: found[1] + (plotly_source() or ""), page)


def on_files(files: Any, config: Any) -> Any:
    """Publish the reports."""
    from mkdocs.structure.files import File

    for study in studies():
        if study.report is not None:
            kept = files.get_file_from_path(study.address)
            if kept is not None:
                files.remove(kept)
            page = whole(study.report.read_text(encoding="utf-8"))
            files.append(File.generated(config, study.address, content=page))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the cards where the page wants them."""
    cards = "".join(map(card, studies()))
    return markdown.replace(PLACE, f'<div class="gallery">{cards}</div>')


def publish(name: str, run: Path) -> None:
    """Write the report of a run anew, and put it and its first figure where the site finds them."""
    from PIL import Image

    from edt.show.publish import figures_kept
    from edt.studies.reporting import report_on

    told: list[str] = []
    with figures_kept(["png"], told.append):
        report = report_on(run)
    PUBLISHED.mkdir(exist_ok=True)
    page = slim(Path(str(report)).read_text(encoding="utf-8"))
    (PUBLISHED / f"{name}.html").write_text(page, encoding="utf-8")
    first = told[0].partition(": ")[2]
    with Image.open(run / "figures" / f"{first}.png") as picture:
        size = (ACROSS, round(picture.height * ACROSS / picture.width))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(64).save(PUBLISHED / f"{name}.png", optimize=True)


def main(arguments: list[str]) -> int:
    """Run what is missing, one study after another, each on all cores, and publish."""
    quick = "--quick" in arguments
    asked = [name for name in arguments if not name.startswith("-")] or list(STUDIES)
    for name in asked:
        run = FOLDER / name
        if not (run / "report.html").is_file():
            command = [sys.executable, "-m", "edt", "run", name, "--no-progress", "--out", str(run)]
            subprocess.run([*command, *["--quick"] * quick], check=True, cwd=ROOT)
            (run / "gallery.json").write_text(json.dumps({"quick": quick}) + "\n")
        if not small(run / "report.html"):
            publish(name, run)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
