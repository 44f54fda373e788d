"""Where the numbers of the docs' pages come from: see `docs_numbers`.

Entries are in the order of the page, each the first words of its block.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from docs_numbers import ROOT, Entry, Reference, numbers, report, resolve

#: Of blocks that state no result: settings, definitions, names.
SETTING = None
#: Holds rows to benchmarks/results/density.json.
DENSITY = "tests/lottery/test_density_table.py"


def result(name: str) -> Any:
    """A record of benchmarks/results."""
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def percent(reference: str) -> str:
    """A share as per cent."""
    return f"{100 * float(resolve(reference)[0]):g}"


def crossed(row: str, columns: str) -> str:
    """Cells of the groups of crossed tickets."""
    return f"crossed|Groups|{row}|{columns}"


def nets(row: str, columns: str, taken: str = "") -> list[Reference]:
    """Cells of the groups of perturbed rests, of Conv-4 and of ResNet-20."""
    return [f"perturb-rest-{net}|Groups|1,{row}|{columns}{taken}" for net in ("conv4", "resnet20")]


def pruned(net: str, level: str, at: int) -> Entry:
    """A row of accuracies: the ticket and its controls, in the round with this share left."""
    methods = ["winning ticket", "same mask, new weights", "random mask, same densities"]
    rows = ";".join(f"{method}¦{at}" for method in methods[: 3 if at else 2])
    table = "All methods and rounds"
    return (f"{level}% |", (
        f"lottery-{net}|{table}|winning ticket¦{at}|weights remaining",
        f"lottery-{net}|{table}|{rows}|accuracy at early stopping",
    ))  # fmt: skip


def digits(method: str, at: int) -> str:
    """Accuracy on the digits in a round."""
    return f"lottery-digits|All methods and rounds|{method}¦{at}|accuracy at early stopping"


def subsets(columns: str, taken: str = "") -> str:
    """Cells of the widths of the study of subsets."""
    return f"subsets|All widths|5;6;8|{columns}{taken}"


def remains(rule: str, columns: str, taken: str = "") -> str:
    """Cells of what is left of winners, by width."""
    rows = ";".join(f"{width}¦{rule}" for width in (5, 6, 8, 12))
    return f"prune-to-narrow|Remains|{rows}|{columns}{taken}"


LOTTERY: list[Entry] = [
    ("`edt run crossed` as it comes", (
        "=4 8 40 4", "crossed~networks of width[0]", "=95", crossed("winning ticket", "teachers"))),
    ("winning ticket | 9", (
        crossed("winning ticket", "win;losers;tickets;losers expected"),)),
    ("random other neurons", (crossed("random neurons of the same student",
        "win;losers;tickets;losers expected;ahead (points);prevented"),)),
    ("ticket that loses alone", (crossed("ticket that loses alone",
        "win;losers;tickets;losers expected;ahead (points);prevented"),)),
    ("fresh neurons", (crossed("fresh neurons",
        "win;losers;tickets;losers expected;ahead (points);prevented"),)),
    ("So winning tickets do fail", (
        crossed("winning ticket", "losers;tickets"),
        "crossed|Variance components|winning ticket|ticket;ticket, by chance up to;rest;"
        "rest, by chance up to;interaction",
        crossed("ticket that loses alone", "win") + "[0]")),
    ("Random numbers are keyed", SETTING),
    ("`edt run perturb-rest --net conv4|resnet20|...` keeps", SETTING),
    ("Conv-4 (3 parents", (*nets("winning ticket", "parents;networks"),)),
    ("winning ticket, fresh rest", (*nets("winning ticket", "win"),)),
    ("tickets that lose", (*nets("winning ticket", "losers;parents;losers expected"),)),
    ("other weights of the same network", (*nets("other weights of the same network", "win"),)),
    ("fresh weights under", (*nets("fresh weights under its mask", "win"),)),
    ("the ticket is ahead of other", (
        *nets("other weights of the same network", "ahead (points)"),)),
    ("the ticket is ahead of fresh", (*nets("fresh weights under its mask", "ahead (points)"),)),
    ("... of other weights", (
        *nets("other weights of the same network", "ahead in accuracy (points)"),)),
    ("... of fresh weights", (
        *nets("fresh weights under its mask", "ahead in accuracy (points)"),)),
    ("`edt run perturb-rest --net conv4` and", (
        "=32", *nets("ticket that loses alone", "parents"),
        *nets("ticket that loses alone", "win"))),
    ("Winning tickets of both kinds", (
        "perturb-rest-resnet20|Groups|1,fresh weights under its mask|prevented",
        "perturb-rest-resnet20|Groups|1,other weights of the same network|prevented",
        "perturb-rest-net|Groups|1,fresh weights under its mask;"
        "1,other weights of the same network|prevented")),
    ("`edt run lottery --net conv4` and", SETTING),
    *(pruned("conv4", *row) for row in
      (("100", 0), ("50", 2), ("35", 3), ("25", 4), ("9", 7), ("7", 8))),
    *(pruned("resnet20", *row) for row in
      (("100", 0), ("49", 2), ("24", 4), ("12", 6), ("8", 7), ("6", 8))),
    ("Conv-4's ticket keeps", (
        "lottery-conv4|All methods and rounds|winning ticket¦7;winning ticket¦4|weights remaining",
        "=400", "lottery-resnet20|All methods and rounds|winning ticket¦8|weights remaining")),
    ("`edt run multi-start --net lenet5` cuts", (
        "multi-start-net|Agreement|2|networks", "=2 4", "=168", "=95")),
    ("2 tickets", ("multi-start-net|Agreement|2;4|parts",)),
    *((words, (f"multi-start-net|Agreement|2;4|{columns}",)) for words, columns in (
        ("the network wins", "network wins"), ("at least one of its tickets", "best part wins"),
        ("a single ticket", "a part wins"))),
    ("only the network, only a ticket", (
        "multi-start-net|Agreement|2|networks",
        "multi-start-net|Agreement|2;4|only the network;only a part")),
    ("the network is ahead", ("multi-start-net|Agreement|2;4|ahead (points)",)),
    ("... points of accuracy", ("multi-start-net|Agreement|2;4|ahead in accuracy (points)",)),
    ("bits between the wins", (
        "=95", "multi-start-net|Agreement|2;4|information (bits);by chance, at most (95%)")),
    ("A network of 8 neurons", ("=8", "subsets|All widths|8|subsets", "=4",
        "subsets|All widths|8|networks", "=4 40 95")),
    ("width 5 | width 6 | width 8", (subsets("width"),)),
    ("subsets of a network", (subsets("subsets"),)),
    ("the network wins", (subsets("network wins"),)),
    ("some subset wins alone", (subsets("some subset wins"),)),
    ("only the network wins", (subsets("only the network"),)),
    ("only a subset wins", (subsets("only a subset"),)),
    ("only the network, if independent", (subsets("random neurons win"),)),
    ("subsets that win", (subsets("winning subsets, if won;winning subsets, if lost"),)),
    ("AUC of that number", (subsets("AUC;p-value of the AUC"),)),
    ("bits between the wins", ("=95", subsets("information (bits);by chance, at most (95%)"))),
    ("A multi-start over all subsets", (
        "subsets|All widths|8|some subset wins[0]", "=8",
        "subsets|All widths|8|network wins[0]", "subsets|All widths|8|only a subset[0]",
        "subsets|All widths|8|only the network[0]", "=5 6 8")),
    ("Do r neurons of a winner", ("prune-to-narrow~wide winners[0]", "=400 4 95")),
    ("kept | width 5", ("=5 6 8 12",)),
    ("the neurons that are the teacher's", (remains("neurons that are the teacher's", "good"),)),
    ("the four whose outputs", (remains("strongest neurons", "good", "[0,3,6,9]"),)),
    ("four at random", (remains("random neurons", "good", "[0,3,6,9]"),)),
    ("the teacher's, from", (remains("the teacher's, from their start", "good", "[0,3,6,9]"),)),
    ("fresh students of width 4", (
        "=4", remains("fresh students of width r", "good", "[0,3,6,9]"))),
    ("good right after the cut", (
        remains("neurons that are the teacher's", "good right after the cut"),)),
    ("This speaks against claim b", (
        "=6", "prune-to-narrow|Remains|6¦neurons that are the teacher's|"
        "good;ahead of random neurons (points)[0,3,4,5]", "=12",
        "prune-to-narrow|Remains|12¦neurons that are the teacher's|good right after the cut")),
    ("`edt claims` at its full size", (
        "subsets~of their neurons were trained alone[0]", "crossed~networks of width[0]",
        "failures~students[0]", "index-loss~starts of[1]")),
    ("a: winning tickets fail", (
        "crossed|Groups, with|fresh neurons|prevented", crossed("winning ticket", "teachers"),
        "crossed|Groups, with|random neurons of the same student|prevented")),
    ("b: wide networks", ("=8", "subsets|All widths, with|8|only a subset", "=5",
        "subsets|All widths|5|AUC;p-value of the AUC", "=8",
        "subsets|All widths|8|AUC;p-value of the AUC")),
    ("c: width adds", (
        "failures|Ways out, with|minimum,fresh neuron|reach a good end;ends[0,3,1,2]",
        "failures|Ways out, with|minimum,fresh neuron|ahead of kicks (points)",
        "escape-count|Survival|all,split neurons,4|ahead of fresh starts (points)")),
    ("d: bad minima become rare", (
        "failures|Failures, with|2|certified bad minima", "=2",
        "failures|Failures, with|8|certified bad minima", "=8",
        "failures|Failures, with|8|change of bad (points)")),
    ("Intervals are those of the page", (
        "=95", "failures|Ways out, with|channel,fresh neuron|ends;reach a good end;"
        "ahead of kicks (points)[0,1,4,5,6]",
        *(f"failures|Ways out, with|channel,split {side}|reach a good end;ahead of kicks (points)"
          "[0,3,4,5]" for side in ("inside", "outside")),
        "failures|Ways out, with|saturated,fresh neuron|ahead of kicks (points)",
        "index-loss|Curve|2;3;4|rank correlation", "=2 3 4", "index-loss|Curve|2;3;4|points",
        "index-loss|Curve|2;3;4|by chance, up to")),
    ("`edt run escape-teachers` asks", (
        "escape-teachers~students of 12 teachers[2,1]",
        "escape-teachers|Teachers, one by one|8;2;37;19|escape dimensions a neuron",
        "escape-teachers~students of 12 teachers[0]",
        "escape-teachers|Test|12|elasticity", "=1 0", "escape-teachers|Test|12|p-value",
        "escape-teachers|Success|many ways down,4;few ways down,4|rate[0,3]", "=4")),
    ("`edt run channel-sweep` trains", ("=3", "channel-sweep~convolutional students[0]")),
    ("The closed form holds", (
        "channel-sweep~convolutional students[2]", "=60 24 0.5 1.5")),
    ("Every one of the split channels", (
        "channel-sweep|Ways down|every position,50%,0|rank of P;ways down[0,1]", "=0",
        "channel-sweep|Ways down|mean over positions,50%,0|ways down[0]",
        "channel-sweep|Ways down, with|every position,50%,0|with a way down[1,2]",
        "channel-sweep|Ways down, with|mean over positions,50%,0|with a way down[1,2]", "=95")),
    ("More ways down are no more success", (
        "channel-sweep|Success, with|3,10,80,14|rate", "channel-sweep|Success, with|4,10,80,9|rate",
        "=1", "channel-sweep|Success, with|4,10,80,9|effective tickets",
        lambda: percent("channel-sweep|Success, with|4,10,80,9|combinatorial[0]"),
        "channel-sweep|Success, with|3,10,80,73|rate",
        "channel-sweep|Success, with|4,10,80,80|good",
        "=1 600 300")),
    ("Six linear layers of width 100", SETTING),
    *([("SNIP", DENSITY)] * 3), *([("GraSP", DENSITY)] * 3), *([("SynFlow", DENSITY)] * 3),
    *([("SET", DENSITY)] * 6), *([("RigL", DENSITY)] * 3),
    ("Seventeen of the eighteen", SETTING),
    ("GraSP", DENSITY),
    ("GraSP's code takes", SETTING),
    ("iterative magnitude pruning, rewinding to step 0", SETTING),
    ("optimal brain surgeon", SETTING),
    ("`edt run lottery` has the shape", SETTING),
    ("`edt run lottery --task digits --seeds 3", (
        "=300 100 8 8 95", digits("winning ticket", 14) + "[0]",
        "lottery-digits|All methods and rounds|winning ticket¦14|weights remaining",
        digits("same mask, new weights", 14), digits("random mask, same densities", 14),
        "lottery-digits|All methods and rounds|winning ticket¦8|weights remaining;"
        "early stopping at step",
        "lottery-digits|All methods and rounds|same mask, new weights¦8;"
        "random mask, same densities¦8|early stopping at step")),
    ("models |", SETTING),
    ("data |", SETTING),
    ("GPU |", SETTING),
]  # fmt: skip


def targets(row: str, columns: str, taken: str = "") -> str:
    """Cells of a contrast of the study of targets."""
    return f"targets|Contrasts|{row}|{columns}{taken}"


def survival(way: str, added: int) -> str:
    """What is left of all bad minima, and how far ahead of fresh starts."""
    given = {"split": "split, neuron after neuron", "fresh": "fresh neurons, one after another"}
    plural = "s" * (added > 1)
    return f"escape-count~After {added} neuron{plural} more ({given[way]})"


def signs(columns: str, rows: str = "2,all;3,all;4,all;5,all", taken: str = "") -> str:
    """Cells of widths of the study of signs, all levels together."""
    return f"signs|Widths and levels|{rows}|{columns}{taken}"


LANDSCAPE: list[Entry] = [
    ("`edt run census` as it comes", ("census~students were trained[0]", "=4 1024")),
    ("14% of the students", (
        "census|All widths|4|bad share", "=4", "census|All widths|4|over targets;distinct;Chao1",
        "census|All widths|5|bad share", "=5", "census|All widths|6|bad share", "=6",
        lambda: str(sum(int(n) for n in numbers(
            report("census").cells("All widths", "7;8;10;12;16", "runs")))),
        "census|Subspaces|16|minima among them", "=16")),
    ("`edt run escape` as it comes", (
        "escape~were embedded[0]", "=2 6", "escape~were embedded[2,3]")),
    ("The closed form gives", (
        "escape~counts that the closed form", "escape~Ways down, on average[1,3,5]")),
    ("From the minima of width 4", (
        "=4", "escape|Ends, by width|4,5;4,6;4,8|reach good;over minima",
        "escape|Ends, by width|4,5|runs;channel;lower")),
    ("Plain descent alone leaves", (
        "escape~gradient descent with 0.5[1]", "escape~gradient descent alone leaves[0,3,6]")),
    ("Plain gradient descent of 20", (
        "escape|Plateaus, by width|4|students", "escape|Plateaus, by width|4;8;16|open at start",
        "=4 8 16", "escape|Plateaus, by width|4;8;16|open at the end", "=30000",
        "escape|Plateaus, by width|4|plateaus", "=4", "escape|Plateaus, by width|8|plateaus",
        "=8", "escape|Plateaus, by width|16|plateaus", "=16")),
    ("`edt run depth` | the same", SETTING),
    ("Targets. `edt run targets`", (
        "=12", targets("teachers without noise", "bad, narrow;narrow;wide;change of bad (points)"),
        "=95", targets("teachers with noise", "bad, narrow;bad, wide"),
        targets("teachers with noise", "change of bad (points)", "[1,2]"),
        targets("a function out of reach", "bad, narrow;bad, wide"),
        targets("a function out of reach", "change of bad (points)", "[1,2]"), "=0",
        "targets|Outcomes|teachers with noise,3|width;test loss",
        "targets|Outcomes|teachers with noise,8|test loss;width", "=2",
        "targets|Outcomes|diabetes data,2;diabetes data,8|test loss", "=8 0")),
    ("Neurons until a good end", (
        "escape-count~students, given up to[0,1]", survival("split", 1) + "[1,3,4]",
        survival("fresh", 1) + "[1]", survival("split", 1) + "[6,7,8]",
        survival("fresh", 1) + "[6,7,8]", survival("split", 4) + "[1,6,7,8]",
        survival("fresh", 4) + "[1,6,7,8]")),
    ("Depth. `edt run depth`", (
        "depth~students of depths[0]", "depth|Contrasts|1|bad, narrow;narrow;wide;"
        "change of bad (points)", "depth|Contrasts|2;3|bad, narrow",
        "depth|Contrasts|2|change of bad (points)[1,2]",
        "depth|Contrasts|3|change of bad (points)[1,2]", "=2",
        "depth|Outcomes|2,2;3,2|channel[0,3]", "depth~The threshold matters[1]")),
    ("Barriers and basins", (
        "barriers~pairs of good ends joined[0,1]", "=4 10",
        "barriers~(paths: straight, as they are)[2,3,4]",
        "barriers|Barriers, with|10¦straight, aligned|change from the narrowest", "=6")),
    ("Optimisers. `edt run optimisers`", (
        "optimisers~students by 4 rules[0]",
        lambda: " ".join(extremes("optimisers", "Contrasts", "bad, narrow")), "=3 8 0 0.3 1 1 3",
        "optimisers|Contrasts|Adam, start × 3|bad, narrow",
        "optimisers~median distance from the start[0]", "=0.3",
        "optimisers~median distance from the start[3]", "=4 16",
        "optimisers~Batches of 4 leave[2]", "optimisers~Batches of 16 leave[2]",
        "=24 4", "optimisers~saddles that gradient flow passes[0,2,3,4,5]")),
    ("Signs. If every", (
        "=1", "signs~distinct critical points from[1,0]", signs("minima among them"), "=2 3 4 5",
        signs("minima, by coin tosses"), signs("p-value, fewer"), "=0.00625 3",
        signs("spread, over the binomial;by chance", "3,all"), signs("critical points", "3,all"))),
]  # fmt: skip


def extremes(name: str, table: str, column: str) -> list[str]:
    """The least and the largest number of a column."""
    found = sorted(map(float, numbers(report(name).cells(table, "*", column))))
    return [f"{found[0]:g}", f"{found[-1]:g}"]


def law(name: str, columns: str) -> str:
    """Cells of a law of width with a free price."""
    return f"width-sweep|Laws of width, all fits|{name}|{columns}"


def xor(start: str, columns: str, taken: str = "") -> str:
    """Cells of exclusive or, by width."""
    rows = ";".join(f"output weights N(0, {start})¦{m}" for m in (2, 3, 4, 6, 8, 10))
    return f"xor|All widths|{rows}|{columns}{taken}"


def controls(row: str, columns: str) -> str:
    """Cells of the controls."""
    return f"controls|All controls|{row}|{columns}"


#: Every third number: those of values with two bounds each, after a first without.
MIDDLE = "[0,1,4,7,10,13]"
WIDTH: list[Entry] = [
    ("its power", SETTING),
    ("E(m) adds up", SETTING),
    ('`price = "narrow"` rows', SETTING),
    ("`edt run width-sweep` as it comes", (
        "=4 100 2 16", law("logistic in m", "deviance (dof)"),
        law("escape, logistic", "deviance (dof)") + "[0]", law("m - r + 1 tickets¦"
        "(1 - price)m - r + 1¦free", "ΔAIC"), law("C(m, r) tickets¦(1 - price)C(m, r)¦free",
        "ΔAIC"), law("⌊m/r⌋ tickets¦(1 - price)⌊m/r⌋¦free", "ΔAIC"),
        law("(m/r)ᵃ tickets", "ΔAIC"))),
    ("Two readings of", SETTING),
    ("m | 2", ("=2 3 4 6 8 10",)),
    ("reference, %", (xor("2", "reference"),)),
    ("`fixed`, %", (xor("2", "rate"),)),
    ("`he`, %", (xor("2/m", "rate"),)),
    ("effective tickets, reference", (lambda: " ".join(second_reference()),)),
    ("effective tickets, `fixed`", (xor("2", "effective tickets", MIDDLE),)),
    ("effective tickets, `he`", (xor("2/m", "effective tickets", MIDDLE),)),
    ("1,000 seeds each", ("=1000", lambda: min(numbers(report("xor").cells("All widths", ";".join(
        f"output weights N(0, 2)¦{m}" for m in (2, 3, 4, 6, 8, 10)), "p-value, adjusted"))),
        "=6 8 10")),
    ("`edt run controls` as it comes", ("=4 20 160",)),
    ("ordinary, m = 4", ("=4 6 8 12", *(controls(
        ";".join(f"ordinary networks¦{m}" for m in (4, 6, 8, 12)), column)
        for column in ("parameters", "rate")))),
    ("factored, 4 neurons", ("=4 2 4 8", *(controls(
        ";".join(f"factored weights, no more neurons¦4¦{k}" for k in (2, 4, 8)), column)
        for column in ("parameters", "rate")))),
    ("only outputs of the", ("=6 8 12", *(controls(
        ";".join(f"extra neurons: only outputs train¦{m}" for m in (6, 8, 12)), column)
        for column in ("parameters", "rate")))),
    ("12 neurons in a subspace", ("=12 25 29 37", *(controls(
        ";".join(f"random subspace¦12¦{d}" for d in (25, 29, 37)), column)
        for column in ("parameters", "rate")))),
    ("Five times the parameters", (
        controls("ordinary networks¦4;factored weights, no more neurons¦4¦8", "rate"),
        controls("factored weights, no more neurons¦4¦8", "ahead (points)"), "=25",
        controls("random subspace¦12¦25", "rate;95%"),
        "controls|Regressions|ln parameters and ln learning neurons|slope, parameters;"
        "slope, neurons",
        controls("rotated parameters, all of them¦6", "ahead (points)"), "=6")),
]  # fmt: skip


def second_reference() -> list[str]:
    """Effective tickets of the reference: the second column of that name."""
    head, *body = report("xor").tables["All widths"]
    at = [place for place, name in enumerate(head) if name == "reference"][1]
    return [numbers(row[at])[0] for row in body if row[0] == "output weights N(0, 2)"]


def printed() -> list[int]:
    """Networks at bad minima, by width, in what the first example of README prints."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = page.split("```text")[1].split("```")[0].strip().splitlines()[2:]
    return [int(row.split()[1]) for row in rows]


Cell = dict[str, Any]


def easy(cell: Cell) -> bool:
    """Cells of the teachers of seed 0."""
    return not cell["seed"]


def wide(cell: Cell) -> bool:
    """Those of them at least as wide as their teacher."""
    return easy(cell) and cell["width"] >= cell["teacher"]


def hard(cell: Cell) -> bool:
    """Cells of the other teachers."""
    return not easy(cell)


def is_g(cell: Cell) -> bool:
    """Cells of the activation g."""
    return cell["activation"] == "g"


def picked(which: Callable[[Cell], bool]) -> list[Cell]:
    """Cells of the record of zero losses."""
    return [cell for cell in result("zero_loss") if which(cell)]


def students(which: Callable[[Cell], bool]) -> int:
    """Students of cells."""
    return sum(sum(cell["ends"].values()) for cell in picked(which))


def ended(which: Callable[[Cell], bool], status: str) -> int:
    """Those that ended so."""
    return sum(cell["statuses"].get(status, 0) for cell in picked(which))


def left(which: Callable[[Cell], bool]) -> list[float]:
    """Losses of students that are open."""
    return [loss for cell in picked(which) for loss in cell["open"]]


def reached(which: Callable[[Cell], bool]) -> str:
    """How many are at zero, of those that are not at minima above it."""
    zero = sum(cell["ends"].get("zero", 0) for cell in picked(which))
    above = sum(cell["ends"].get("minimum", 0) for cell in picked(which))
    return f"{zero} of {students(which) - above}"


def zero_losses(activation: str) -> str:
    """A row of students at loss zero (m: at minima above, o: open, c: in channels)."""
    texts = []
    for cell in result("zero_loss"):
        if cell["activation"] != activation or cell["width"] == 3 or cell["seed"]:
            continue
        ends = cell["ends"]
        zero = ends.get("zero", 0) + ends.get("floor", 0)
        rest = (("minimum", "m"), ("channel", "c"), ("open", "o"))
        texts.append(", ".join([f"{zero}", *(f"{ends[k]} {w}" for k, w in rest if k in ends)]))
    return " | ".join(texts)


def spread(column: str) -> str:
    """How many of a column of the failures are all of the widths from 4 on, in words of numbers."""
    return str(
        sum(int(n) for n in numbers(report("failures").cells("Failures", "4;5;6;8", column)))
    )


def agreeing() -> str:
    """Splits of the published width sweep whose index is the closed form's, and all."""
    found = list(
        map(int, numbers(report("width-sweep").cells("Splits", "*", "closed form agrees")))
    )
    return f"{sum(found[::2])} of {sum(found[1::2])}"


def failures(column: str, taken: str = "") -> str:
    """Cells of the failures, by width."""
    return f"failures|Failures|2;3;4;5;6;8|{column}{taken}"


#: Values of six cells with two bounds each.
VALUES = "[0,3,6,9,12,15]"


def labels() -> str:
    """What ten times the optimisation leaves of labels."""
    found = result("labels")
    tenth, failed = found["tenth"], found["failed"]
    before = failed["before"]
    shares = [f"{100 * tenth['low']:.1f}", f"{100 * tenth['high']:.0f}"]
    assert failed["kept"] == failed["of"]
    return " ".join(map(str, [
        found["ends"], 2, 8, found["lbfgs"], found["newton"], tenth["kept"], tenth["of"], 95,
        *shares, failed["of"], f"{100 * failed['low']:.1f}", f"{100 * failed['high']:.0f}",
        before["minimum"], before["saturated"], before["channel"]]))  # fmt: skip


MINIMA: list[Entry] = [
    ("`auto`", SETTING),
    ("`lbfgs+newton`", SETTING),
    ("Wide networks and zero loss", SETTING),
    ("Below a loss of 1e-8", SETTING),
    ("First excursions", SETTING),
    ("The floor of a loss", SETTING),
    ("Status `channel`", SETTING),
    ("Losses without a minimum", SETTING),
    ("Labels that hold", SETTING),
    ("`python -m benchmarks.labels`", (labels,)),
    ("What failed students are", ("failures~students, [0]", "=4 40 95")),
    ("width | 2", (failures("width"),)),
    ("not good, of 200", ("failures|Failures|2|runs", failures("failed"))),
    ("of these certified", (failures("minima, of those that fail", VALUES),)),
    ("of these channels", (failures("channels", VALUES),)),
    ("of these with saturated", (failures("saturated", VALUES),)),
    ("of these undecided", (failures("other", VALUES),)),
    ("bad minima among all", (failures("certified bad minima"),)),
    ("From width 4 on", ("=4", lambda: spread("failed"))),
    ("`python -m benchmarks.zero_loss`", (
        "=4 1000", lambda: str(students(easy)), "=3", lambda: str(ended(easy, "converged")),
        "=1e-10", lambda: str(ended(easy, "channel")), "=1e-25")),
    ("2 -> 6 |", SETTING),
    *((f"{name} |", (lambda name=name: zero_losses(name),))
      for name in ("softplus", "tanh", "erf", "g", "sigmoid")),
    ("519 of the 525", (
        lambda: reached(wide), "=1e-25", lambda: str(sum(loss < 1e-15 for loss in left(wide))),
        lambda: str(len(left(wide))), "=1e-15")),
    ("Not every teacher is as easy", (
        "=1 4 2 5 2 3 5 8 16 24 1e-25", lambda: reached(lambda c: c["seed"] == 1 and not is_g(c)),
        lambda: reached(lambda c: c["seed"] == 2 and not is_g(c)),
        lambda: reached(lambda c: c["seed"] == 1 and is_g(c)),
        lambda: reached(lambda c: c["seed"] == 2 and is_g(c)), "=1e-13",
        lambda: str(students(hard)), lambda: str(ended(hard, "stalled")))),
    ("`edt.population(teacher)`", SETTING),
    ("The closed form is a difference", SETTING),
    ("A split minimum", SETTING),
    ("`edt demo` therefore takes", ("=1e-15 30", agreeing)),
]  # fmt: skip
INDEX: list[Entry] = [
    ("<figcaption markdown>4,500", ("width-sweep~networks learned[0]", "=4")),
    ("38 of 100 networks", (lambda: f"{sum(printed())} of 100", "=6 8")),
]
README: list[Entry] = [
    ("Stuck? Add a neuron", (lambda: f"100 {sum(printed())}", "=6 8 2026")),
    ("4,500 students", ("width-sweep~networks learned[0]", "=4")),
    *([(words, "tests/docs/test_speed_table.py") for words in (
        "one Adam step", "8 Hessian-vector", "32 exact Hessians", "200 students driven")]),
    ("`make demo`", SETTING),
]  # fmt: skip


def coverage() -> str:
    """What the record of intervals on data of known truth comes to."""
    found = result("coverage")
    held = {(row["case"], row["interval"]): row["held"] for row in found}
    least, most = min(held, key=lambda k: held[k]), max(held, key=lambda k: held[k])
    assert least[1] == "barrier" and most == ("remains of winners", "ahead")
    inside = sum(0.9 <= share <= 0.99 for share in held.values())
    few = min(row["sets"] for row in found)
    return (
        f"{few} {len(held)} {inside} 90 99 95 {few} {300 / few} {100 * held[least]:g} "
        f"{100 * held[most]:g}"
    )


ACTIVATIONS = "tests/ops/test_activations.py"
ACCURACY: list[Entry] = [
    ("Errors are in units", SETTING), ("0 |", SETTING), ("1 |", SETTING), ("2 |", SETTING),
    ("3 |", SETTING), ("Both dtypes", SETTING),
    *((name, ACTIVATIONS) for name in (
        "identity", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "elu", "selu",
        "erf", "sin", "square", "cube", "g |")),
    ("For sin", SETTING), ("Exponentials below", SETTING), ("At plus and minus", SETTING),
    ("At the kinks", SETTING), ("sin beyond", SETTING),
    ("`python -m benchmarks.coverage`", (coverage,)),
]  # fmt: skip


@cache
def spurious() -> dict[tuple[int, int], str]:
    """Rows of the tables of spurious ends: what follows from the counts of the record, by cell."""
    import numpy as np
    import pandas as pd

    from edt.studies.safran_shamir.run import table_beside_published

    cells = result("safran_shamir")
    levels = {(cell["teacher"], cell["student"]): cell["levels"] for cell in cells}
    rows = {}
    for more in (0, 1):
        runs = [
            pd.DataFrame({
                "teacher": cell["teacher"], "student": cell["student"], "loss": 0.02,
                "status": "converged", "min_eig": 0.1, "steps": 1,
                "spurious": np.arange(cell["starts"]) < cell["spurious"],
            })
            for cell in cells
            if cell["student"] - cell["teacher"] == more
        ]  # fmt: skip
        for row in table_beside_published(pd.concat(runs)).to_dict("records"):
            own = [f"{100 * row[name]:.1f}" for name in ("rate", "rate_low", "rate_high")]
            told = row["rate_reported"] == row["rate_reported"]
            if told:
                own.append(f"{100 * row['rate_reported']:.1f}")
                if not more:
                    ends = ("difference", "difference_low", "difference_high")
                    own += [f"{100 * row[name]:.1f}" for name in ends]
                chance = row["p_adjusted" if not more else "p_value"]
                own.append(f"{min(chance, 1.0):.2g}")
            key = int(row["teacher"]), int(row["student"])
            own += [] if more else [str(levels[key])]
            rows[key] = f"{key[0]} {row['spurious']} {' '.join(own)}"
    return rows


def levels(row: str, columns: str, taken: str = "") -> str:
    """Cells of the ends of the modified Rosenbrock target."""
    return f"loss-levels|Ends of every width|{row}|{columns}{taken}"


PUBLISHED: list[Entry] = [
    ("Spurious minima", SETTING), ("Teachers are sums", SETTING),
    ("`edt run safran-shamir --extra 0`", SETTING), ("k = n |", SETTING),
    *((f"{k} |", (lambda k=k: spurious()[k, k],)) for k in range(6, 21)),
    ("All 8,590", (lambda: str(sum(cell["spurious"] for cell in result("safran_shamir")
                                   if cell["student"] == cell["teacher"])), "=1000 13 13")),
    ("Without `--extra`", SETTING), ("k, n = k + 1", SETTING),
    *((f"{k} |", (lambda k=k: spurious()[k, k + 1],)) for k in range(11, 21)),
    ("No cell differs", (
        lambda: " ".join(f"{cell['spurious'] / 10:.0f}" for cell in result("safran_shamir")
                         if (cell["teacher"], cell["student"]) in ((11, 11), (12, 12))),
        "=11 12 19 20",
        lambda: str(sum(cell["spurious"] for cell in result("safran_shamir")
                        if cell["student"] == cell["teacher"] + 1)),
        lambda: str(sum(cell["strict"] for cell in result("safran_shamir")
                        if cell["student"] == cell["teacher"] + 1)), "=17",
        lambda: str(sum(cell["starts"] for cell in result("safran_shamir")
                        if cell["student"] == cell["teacher"] + 2)))),
    ("All of these cells", (
        lambda: f"{len(result('safran_shamir'))} "
        f"{sum(cell['starts'] for cell in result('safran_shamir'))}",)),
    ("Loss levels", SETTING), ("Width r gets", SETTING),
    ("`edt run loss-levels` as it comes", SETTING), ("widths 2 to 5", SETTING),
    *((f"{words} biases", tuple(levels(f"{flag},2 and more", column) for column in (
        "runs;minimum;plateau saddle;share of plateau saddles", *[reported] * bool(reported),
        "channel to infinity;still drifting;undecided")))
      for words, flag, reported in (("without", "no", "reported (unverified)"),
                                    ("with", "yes", ""))),
    ("Of the 147", (
        levels("no,2 and more", "plateau saddle"),
        "loss-levels~Reported and not verified by us: 10[12,13]",
        levels("no,2;no,3;no,4;no,5", "share of plateau saddles", "[0,3,6,9]"),
        "loss-levels~had used up its time", "loss-levels~once they are pushed on[0,1,2,4]",
        "loss-levels|Kinds of ends|channel to infinity|plateau saddle;runs",
        "loss-levels|Kinds of ends|infinity|runs;channel to infinity;still drifting;undecided",
    )),
]  # fmt: skip


#: By page.
SOURCES: dict[str, list[Entry]] = {
    "README.md": README,
    "docs/index.md": INDEX,
    "docs/lottery.md": LOTTERY,
    "docs/minima.md": MINIMA,
    "docs/accuracy.md": ACCURACY,
    "docs/howto/landscape.md": LANDSCAPE,
    "docs/howto/width.md": WIDTH,
    "docs/howto/published.md": PUBLISHED,
}
