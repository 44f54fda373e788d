"""What the explorable embeds is what edt computes, and so is what its script computes."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import edt
from edt.show.explore.data import chosen
from edt.show.explore.packing import packed, unpacked
from edt.show.explore.page import SCRIPTS, section
from edt.show.explore.still import output
from edt.show.explore.tickets import keep
from edt.stats import wilson
from edt.studies.safran_shamir.published import difference
from edt.studies.width.explore import page as whole_page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "explore"
SOURCES = ROOT / "edt" / "show" / "explore"


@pytest.fixture(scope="module")
def data():
    return json.loads((FOLDER / "data.json").read_text(encoding="utf-8"))


def network(text):
    theta = torch.from_numpy(unpacked(text).copy())
    return edt.Ensemble([(theta.numel() - 1) // 4], 2, 1, theta=theta)


def task_of(data, teacher):
    x = torch.from_numpy(unpacked(data["x"]).reshape(-1, 2).copy())
    return edt.Task(x, torch.from_numpy(unpacked(teacher["y"]).reshape(-1, 1).copy()))


def test_every_minimum_is_one_and_its_splits_open_what_is_said(data):
    """Losses to the last digit; verdict, B, and ways down at the shares edt descended from."""
    seen = 0
    for teacher in data["teachers"]:
        task = task_of(data, teacher)
        assert float(edt.loss(network(teacher["theta"]), task)[0]) < 1e-28
        assert len(teacher["minima"]) == 6
        for minimum in teacher["minima"]:
            narrow = network(minimum["theta"])
            assert float(edt.loss(narrow, task)[0]) == pytest.approx(minimum["loss"], rel=1e-13)
            counts = edt.count_directions(narrow, task)
            assert int(counts.n_neg[0]) == 0 and int(counts.n_zero[0]) == 0
            matrices = edt.split_matrices(task, narrow)
            for j, (split, matrix) in enumerate(zip(minimum["splits"], matrices, strict=True)):
                np.testing.assert_allclose(
                    unpacked(split["B"]).reshape(3, 3), matrix.B.numpy(), rtol=0, atol=1e-13
                )
                for end in split["ends"]:
                    wide = edt.embed.split(narrow, neuron=j, mu=end["share"]).networks
                    assert int(edt.escape_dimensions(wide, task)[0]) == end["ways"]
                    seen += 1
    assert seen > 100


def test_the_page_is_made_of_these_numbers(data):
    """docs/explore/index.html is today's scripts and data (its pictures, some matplotlib's)."""

    def plain(text):
        return re.sub(r"data:image/svg\+xml;base64,[\w+/=]+", "", text)

    assert plain((FOLDER / "index.html").read_text(encoding="utf-8")) == plain(whole_page(data))
    assert "<script src" not in section(data) and section(data).count("</script>") == 2


def test_choice_takes_widths_in_turn():
    import pandas as pd

    rows = [(w, s, runs, 0.1 * s) for w, s, runs in [(2, 1, 9), (3, 2, 5), (3, 3, 7), (3, 4, 1)]]
    table = pd.DataFrame(rows, columns=["width", "seed", "level_runs", "loss"])
    picked = chosen(table, most=3)
    assert list(zip(picked["width"], picked["seed"], strict=True)) == [(2, 1), (3, 3), (3, 2)]


def test_packing_is_exact():
    values = torch.tensor([0.1, -1e-300, 3.0], dtype=torch.float64)
    assert len(base64.b64decode(packed(values))) == 24
    assert torch.equal(torch.from_numpy(unpacked(packed(values)).copy()), values)


def test_a_kept_ticket_stands_in_front(cases):
    narrow, wide = cases.ensemble([4], seed=1), cases.ensemble([6, 6], seed=2)
    kept = keep(wide, narrow)
    for b in range(2):
        assert torch.equal(kept.weight(b, 0)[:4], narrow.weight(0, 0))
        assert torch.equal(kept.bias(b, 0)[:4], narrow.bias(0, 0))
        assert torch.equal(kept.weight(b, 1)[:, :4], narrow.weight(0, 1))
        assert torch.equal(kept.weight(b, 0)[4:], wide.weight(b, 0)[4:])
        assert torch.equal(kept.weight(b, 1)[:, 4:], wide.weight(b, 1)[:, 4:])


@pytest.fixture(scope="module")
def script(browser):
    """A page that holds the scripts, to call their functions."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    source = "\n".join((SOURCES / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    page.add_script_tag(content=source)
    yield page
    context.close()


def arrays(task, networks):
    return {
        "x": task.x.flatten().tolist(), "y": task.y.flatten().tolist(),
        "p": networks.theta.tolist(),
    }  # fmt: skip


@pytest.mark.parametrize("width", [1, 3, 6])
def test_derivatives_are_edts(script, cases, width):
    """Sums of 37 terms in another order: to 1e-12 of the largest entry."""
    task, networks = cases.task(), cases.ensemble([width], seed=width)
    found = script.evaluate(
        "({x, y, p}) => {p = Float64Array.from(p); const task = {x, y}, P = p.length,"
        "g = new Float64Array(P), H = new Float64Array(P * P), loss = derivatives(task, p, g, H);"
        "const e = eigensystem(H, P);"
        "return {loss, other: lossOf(task, p), g: [...g], H: [...H], values: e.values,"
        " vectors: e.vectors.map(v => [...v])}}",
        arrays(task, networks),
    )
    loss, gradient = edt.loss_and_grad(networks, task)
    hessian = edt.hessian(networks, task)[0]
    assert found["loss"] == pytest.approx(float(loss[0]), rel=1e-13)
    assert found["other"] == pytest.approx(float(loss[0]), rel=1e-13)
    np.testing.assert_allclose(
        found["g"], gradient.numpy(), rtol=0, atol=1e-13 * float(loss[0]) * 10
    )
    scale = float(hessian.abs().max())
    np.testing.assert_allclose(
        np.array(found["H"]).reshape(hessian.shape), hessian.numpy(), rtol=0, atol=1e-12 * scale
    )
    values, vectors = np.array(found["values"]), np.array(found["vectors"])
    np.testing.assert_allclose(values, np.linalg.eigvalsh(hessian.numpy()), atol=1e-12 * scale)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(values)), atol=1e-12)
    np.testing.assert_allclose(hessian.numpy() @ vectors.T, vectors.T * values, atol=1e-11 * scale)


def test_splits_are_edts(script, cases):
    task, networks = cases.task(), cases.ensemble([3], seed=4)
    for neuron, share in [(0, 0.5), (2, 1.75), (1, -0.25)]:
        found = script.evaluate(
            "([{p}, j, share]) => [...splitNeuron(Float64Array.from(p), j, share)]",
            [arrays(task, networks), neuron, share],
        )
        wide = edt.embed.split(networks, neuron=neuron, mu=share).networks
        np.testing.assert_allclose(found, wide.theta.numpy(), rtol=1e-15)
    found = output(networks.theta.numpy(), task.x.numpy())
    np.testing.assert_allclose(found, edt.predict(networks, task).flatten(), rtol=1e-12)


def test_descents_end_where_edts_do(script, data):
    """Nine in ten: both leave by the lowest eigenvector, and go ways of their own from there."""
    agree = script.evaluate(
        """(data) => { unpack(data);
        return data.teachers.flatMap((t) => t.minima.flatMap((m) => m.splits.flatMap((s, j) =>
          s.ends.filter((e) => e.end === 'good').slice(0, 1).map((e) =>
            descend(t, splitNeuron(m.p, j, e.share), data.good).end === 'zero'))));}""",
        data,
    )
    assert len(agree) >= 20
    assert sum(agree) >= 0.9 * len(agree)


@pytest.mark.parametrize("wins, of", [(0, 7), (3, 10), (10, 10)])
def test_intervals_are_edts(script, wins, of):
    rate = wilson(wins, of)
    assert script.evaluate("([w, n]) => wilson(w, n)", [wins, of]) == pytest.approx(
        [rate.low, rate.high], abs=1e-6
    )
    found = script.evaluate("([w, n]) => difference([w, n], [4, 12])", [wins, of])
    wanted = difference(wins, of, 4, 12)
    assert found == pytest.approx([wanted.low, wanted.high], abs=1e-6)


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0337, "0.034"),
        (6e-4, "6.0·10⁻⁴"),
        (-4.84e-4, "−4.8·10⁻⁴"),
        (0, "0"),
        (-0.25, "−0.25"),
        (12345, "1.2·10⁴"),
    ],
)
def test_numbers_are_short(script, value, text):
    assert script.evaluate("short", value) == text


def test_verdicts_fall_silent(script):
    """No word on fewer than ten draws; a word only where the interval leaves 0 out."""
    verdict = "(c) => verdict(c)"
    few = script.evaluate(verdict, {"kept": [9, 9], "loser": [0, 9], "fresh": [0, 9]})
    assert "Ten draws" in few
    clear = script.evaluate(verdict, {"kept": [90, 100], "loser": [20, 100], "fresh": [50, 100]})
    assert "winner helps" in clear and "loser harms" in clear
    unclear = script.evaluate(verdict, {"kept": [52, 100], "loser": [48, 100], "fresh": [50, 100]})
    assert unclear.count("makes no difference that this count could tell") == 2
