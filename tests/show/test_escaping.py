"""What a table, a spec or a name of a directory says is text on every page, and nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from edt.errors import EdtError
from edt.show import html
from edt.show.answer import Answer
from edt.show.axes import axis
from edt.show.interactive import panels_json
from edt.show.panel import Panel
from edt.studies.reporting import write_any_report
from tests.runs.test_every_kind import run

#: Closes whatever it may stand in, and would then run something.
EVIL = "</script></style></code>\"'><img src=x onerror=alert(1)><a href='javascript:x'>go</a>&amp;"
#: Elements of the pages of all kinds.
KNOWN = {
    "html", "head", "meta", "title", "style", "body", "a", "main", "header", "h1", "h2", "p", "nav",
    "ul", "li", "div", "section", "table", "caption", "thead", "tbody", "tr", "th", "td", "dl",
    "dt", "dd", "pre", "details", "summary", "figure", "figcaption", "picture", "source", "img",
    "script", "b", "i", "em", "code", "sub", "sup", "br", "span", "footer", "strong",
}  # fmt: skip


class Page(HTMLParser):
    """Elements that no page of ours has, attributes that run something, and links elsewhere."""

    def __init__(self):
        super().__init__()
        self.strange, self.text = [], []

    def handle_starttag(self, tag, attrs):
        bad = [
            name
            for name, value in attrs
            if name.startswith("on") or (name in ("href", "src", "srcset") and not ours(value))
        ]
        if bad or tag not in KNOWN:
            self.strange.append((tag, attrs))

    def handle_data(self, data):
        self.text.append(data)


def ours(link):
    return link.startswith(("#", "data:image/svg+xml;base64,", "https://"))


def check(page):
    parser = Page()
    parser.feed(page)
    assert not parser.strange, parser.strange[:3]
    return "".join(parser.text)


#: One study of each shape of page; the pieces are tested by themselves below.
KINDS = ("sweep", "controls", "safran-shamir")


@pytest.fixture(scope="module", params=KINDS)
def finished(request, tmp_path_factory):
    return run(request.param, tmp_path_factory.mktemp("runs") / request.param)


def texts(table):
    """A few columns of text: each is a page to be made."""
    found = [name for name in table.columns if pd.api.types.is_string_dtype(table[name].dtype)]
    return sorted(found, key=lambda name: name != "outcome")[:3]


def test_a_forged_table_is_text(finished, tmp_path):
    """Every text of every table in turn; a page that cannot be made says so in one line."""
    whole, seen = dict(finished.tables), 0
    for name, table in whole.items():
        for column in texts(table):
            if not len(table):
                continue
            forged = table.copy()
            forged[column] = forged[column].astype(object)
            forged.loc[forged.index[0], column] = EVIL
            finished.tables = {**whole, name: forged}
            try:
                page = write_any_report(finished, tmp_path).read_text()
            except EdtError:
                continue  # a word that stands for nothing, said in a line
            check(page)
            seen += 1
    finished.tables = whole
    text = check(write_any_report(finished, tmp_path).read_text())
    assert len(text) > 1000
    assert seen or finished.kind != "sweep"


def test_pieces_escape_what_is_no_emphasis():
    panel = Panel(EVIL, [{"name": EVIL, "hovertext": [EVIL]}], axis(EVIL), axis("y"))
    pieces = [
        html.paragraph(EVIL),
        html.bullets([EVIL]),
        html.definitions([(EVIL, EVIL)]),
        html.code(EVIL),
        html.details(EVIL, EVIL),
        html.tiles([html.tile(EVIL, EVIL), EVIL]),
        html.table(
            pd.DataFrame({"a": [EVIL]}), [html.Column(EVIL, lambda row: row["a"])] * 2, EVIL
        ),
        html.figure(b"<svg/>", EVIL, EVIL, [panel]),
        html.section(EVIL, EVIL),
        EVIL + html.paragraph("a") + EVIL,
        EVIL,
    ]
    answer = Answer(EVIL + ".", [(EVIL, EVIL)] * 2)
    for piece in pieces:
        text = check(html.page(EVIL, EVIL, answer, [piece], EVIL))
        assert "onerror=alert(1)" in text  # there, as words


def test_emphasis_and_characters_by_name_stay():
    assert html.inline("<b>2</b> &lt; x<sub>1</sub> &#8722; A&B") == (
        "<b>2</b> &lt; x<sub>1</sub> &#8722; A&amp;B"
    )
    assert html.inline("<b onclick=x>") == "&lt;b onclick=x&gt;"


def test_panels_hold_no_tags_but_for_emphasis():
    hover = "<b>good</b><br>loss < 1e-8 <a href='http://x'>x</a></script>"
    found = panels_json([Panel("t", [{"name": "n", "hovertext": [hover]}], axis("x"), axis("y"))])
    (text,) = json.loads(found)[0]["data"][0]["hovertext"]
    assert text == "<b>good</b><br>loss < 1e-8 &lt;a href='http://x'>x&lt;/a>&lt;/script>"
    assert not re.search(r"<(?!/?b>|br>| )", text)
