"""What pages and terminals say: the answer in the lead, numbers that the tables hold, one way to
write numbers, and the same words on both.
"""

from __future__ import annotations

import io
import re
from html import unescape

import pytest
from rich.console import Console
from small_pages import SPECS

from edt.cli.run import shown
from edt.show.columns import named_columns
from edt.show.print_tables import NOTES
from edt.studies.kinds import KINDS
from edt.studies.registry import STUDIES

#: Kinds with a command of their own; the summary of a sweep is printed by ``edt sweep``.
RUN = [kind for kind in SPECS if kind in STUDIES]
#: A number as pages write it.
NUMBER = re.compile(r"(?:\d[\d,]*(?:\.\d+)?(?:·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")


def prose(html: str) -> str:
    """What people read, in sentences and cells: no scripts, pictures, code or raised figures."""
    html = re.sub(r"<(script|style|pre|svg)\b.*?</\1>", " ", html, flags=re.DOTALL)
    html = re.sub(r"<code>.*?</code>", "it", html)
    html = re.sub(r"<(sup|sub)>.*?</\1>|</?(b|i|em|strong)>", "", html)
    html = re.sub(r"<br>", " ", html)
    text = unescape(re.sub(r"<[^>]*>", " | ", html)).replace("\N{WORD JOINER}", "")
    return " ".join(text.split())


def header(page: str) -> tuple[str, list[tuple[str, str]]]:
    """Lead and tiles."""
    head = page[page.index("<header>") : page.index("</header>")]
    lead = re.search(r'<p class="lead">(.*?)</p>', head, re.DOTALL)
    tiles = re.findall(r'<div class="tile"><b>(.*?)</b><span>(.*?)</span>', head)
    assert lead is not None
    return prose(lead[1]), [(prose(value), prose(label)) for value, label in tiles]


@pytest.fixture(scope="module")
def text(pages):
    return lambda kind: pages[kind].read_text(encoding="utf-8")


def faults(said: str) -> dict[str, list[str]]:
    """What is not written as everywhere else."""
    said = re.sub(r"arXiv [\d.]+", "", said)
    looks = {
        "a hyphen for a minus sign": r"(?:^|[\s(≤±])-\d[\d.]*",
        "powers as programs print them": r"\d(?:\.\d+)?e[-+−]?\d+",
        "no number": r"\b(?:nan|inf|None|True|False)\b",
        "a name of a column or an option": r"\b[a-z]+_[a-z_]+\b",
        "a name of the code": r"\bhe\b|\d\.\.\d|:g\b|\b(?:conv|lenet|resnet|vgg)\d+\b|edt\.nets",
        "a word twice": r"\b([a-z]+) \1\b",
        "an interval without width": r"([−+]?\d[\d.,]*)%?(?:–| to )\1(?![\d.])",
        "marks": r" [,.](?!\d|\.\.)|,,|\(\)|;\.|(?<![\d.])\.\.(?![\d.])|:\.",
    }
    return {what: found for what, look in looks.items() if (found := re.findall(look, said))}


@pytest.mark.parametrize("kind", SPECS)
def test_a_page_writes_in_one_way(text, kind):
    page = re.sub(
        r"<summary>Software and machine.*?</details>", "", text(kind), flags=re.DOTALL
    )  # versions, commits and names of machines are no prose
    assert faults(prose(page)) == {}


#: Kinds whose pages count no success.
NO_SUCCESS = {"index-loss", "signs", "lottery", "loss-levels"}
#: Those that have nothing to count here: no bad minimum was met.
NOTHING = "No bad minimum was met"


@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind not in NO_SUCCESS])
def test_a_success_is_shown_at_other_thresholds_and_after_first_order_training_alone(text, kind):
    said = prose(text(kind))
    if NOTHING in said:
        return
    nets = kind in ("perturb-rest-net", "multi-start-net", "width-net")
    assert ("Wins at other accuracies" if nets else "at other thresholds") in said
    # Either rates of the first phase alone, or the word that there is no other.
    alone = "first-order training alone" in said or "one optimiser" in said.lower()
    assert alone or "Training is first-order throughout" in said or kind == "safran-shamir"


@pytest.mark.parametrize(
    "said",
    ["by -3 points", "loss ≤ 1e-06", "nan of them", "n_eff of 3", "start he", "widths 2..6",
     "of conv4", "of of them", "so , that", "a kept ()", "0 points (0 to 0)"],
)  # fmt: skip
def test_what_is_written_otherwise_is_found(said):
    assert len(faults(said)) == 1


@pytest.mark.parametrize("kind", SPECS)
def test_lead_and_tiles_say_numbers_of_the_page(text, kind):
    """A reader of ten seconds reads what the sections below say: every number of the answer and the
    tiles stands in a table, a finding or the method, or is a sum or a share of what does."""
    lead, tiles = header(text(kind))
    assert 2 <= len(tiles) <= 3
    assert all(value and label for value, label in tiles)
    body = text(kind)[text(kind).index("</header>") :]
    known = [number.replace(",", "") for number in NUMBER.findall(prose(body))]
    said = re.split(r"(?<=[.?!]) (?=[A-Z0-9])", lead)
    assert len(said) >= 2, "the lead says what was done, not what came of it"
    if tiles[-1][1].startswith("tests speak for"):
        ways = re.findall(r"<li><b>(For|Against|Silent)\.</b>", body)
        assert tiles.pop()[0] == f"{ways.count('For')} of {len(ways)}"
    answer = " ".join([*said[1:], *(f"{value} {label}" for value, label in tiles)])
    unknown = [n for n in NUMBER.findall(answer) if not in_other_digits(n.replace(",", ""), known)]
    assert not unknown, answer


def in_other_digits(number: str, known: list[str]) -> bool:
    """Whether a number is there as it is, or is one of them rounded."""
    if number in known or ("10" in number and "⁻" in number):
        return number in known
    digits = len(number.partition(".")[2])
    plain = [float(other) for other in known if not re.search("[⁻·]|10[⁰¹²³]", other)]
    return any(f"{other:.{digits}f}" == number for other in plain)


NOTED: dict[str, str] = {}


@pytest.mark.parametrize("kind", RUN)
def test_a_terminal_shows_whole_tables_in_the_words_of_the_page(text, pages, kind):
    done = KINDS[kind].load(pages[kind].parent)
    out = io.StringIO()
    shown(STUDIES[kind])(Console(file=out, width=80, color_system=None), done)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in out.getvalue()
    found = faults(" ".join(out.getvalue().split()))
    assert not found.keys() - {"a word twice"}  # of headings side by side
    if not STUDIES[kind].shows:
        # What a note says under a table is about that study's.
        asks = kind.removesuffix("-net")  # the same question of networks of modules
        assert all(
            NOTED.setdefault(title, asks) == asks for title in done.summary() if title in NOTES
        )
        page = prose(text(kind)).lower()
        headings = {
            name for frame in done.summary().values()
            for name, _ in named_columns(frame, STUDIES[kind].terms)
        }  # fmt: skip
        assert not [name for name in headings if name.lower() not in page]
