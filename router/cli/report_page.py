"""The training report as one HTML page for people who were not there: nothing is loaded from anywhere, all text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from xml.etree.ElementTree import Element

from embeddings.report import AtRisk, Report
from router.cli.markup import Child, e, html
from router.cli.pictures import reliability_diagram, risk_coverage_curve

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
MOST_ADVICE = 10  # the rest stands in the tables
ABOUT = (
    "Every figure is from held-out answers: each example was answered by a classifier that was trained without it (five-fold "
    "cross-validation). The examples are the catalog's own texts; no request of anybody is in this report."
)


def report_page(report: Report, name: str, digest: str, chosen: AtRisk) -> str:
    """`name` is the catalog's, `digest` the report's own; `chosen` is what the curve marks."""
    title = f"Training report: {name}"
    head = e(
        "head",
        {},
        e("meta", {"charset": "utf-8"}),
        e("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        e("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        e("title", {}, title),
        e("style", {}, files("router.cli").joinpath("report_page.css").read_text(encoding="utf-8")),
    )
    parts = (_suggestions(report), _coverage(report), _plots(report, chosen), _intents(report), _confusions(report))
    more = (_mislabelled(report), _overlaps(report), _alike(report))
    main = e("main", {}, e("h1", {}, title), e("p", {"class": "soft"}, ABOUT), _figures(report), *parts, *more, _footer(report, digest))
    return html(e("html", {"lang": "en"}, head, e("body", {}, main)))


def _figures(report: Report) -> Element:
    shown = {
        "Intents": f"{len(report.intents):,}",
        "Examples": f"{report.examples:,}",
        "Held-out answers right": f"{report.accuracy:.1%}",
        "Calibration error": f"{report.calibration_error:.3f}",
    }
    return e("dl", {"class": "figures"}, *(e("div", {}, e("dt", {}, name), e("dd", {}, value)) for name, value in shown.items()))


def _suggestions(report: Report) -> Element:
    if not report.suggestions:
        return _section("What to do", "Nothing stands out.")
    items = [e("li", {}, each.sentence) for each in report.suggestions[:MOST_ADVICE]]
    rest = len(report.suggestions) - len(items)
    return _section("What to do", e("ul", {}, *items), *((f"And {rest} more of the kind: the tables below have them.",) if rest else ()))


def _coverage(report: Report) -> Element:
    rows = [
        (
            _percent(each.max_error),
            "cannot be proved" if each.confidence is None else f"{each.confidence:.4f}",
            f"{each.coverage:.1%}",
            f"{each.wrong} of {each.accepted:,}" if each.accepted else "—",
            "—" if each.bound is None else f"{each.bound:.2%}",
            "—" if each.confidence is not None else "none would do" if each.needed is None else f"about {each.needed:,}",
        )
        for each in report.coverage
    ]
    said = (
        "How much can be accepted if at most this share of it may be wrong, with 95 % certainty; the rest is left to people, to another "
        "tier or to a question back. It holds for requests that are like the examples."
    )
    heads = ("Risk", "Least confidence", "Accepted", "Wrong", "Bound", "Held-out examples needed")
    return _section("Coverage at a stated risk", said, _table("Operating points by risk", heads, rows, numbers=range(1, 6)))


def _plots(report: Report, chosen: AtRisk) -> Element:
    drawn = (reliability_diagram(report.reliability), risk_coverage_curve(report.risk_coverage, chosen))
    said = (
        "In the first picture points on the dotted line are as often right as they claim; below it the classifier is too sure of itself. "
        "In the second the dashed line is what can be proved from so many answers, the solid one what was seen."
    )
    return _section("Calibration and risk", said, e("div", {"class": "plots"}, *(e("figure", {}, each) for each in drawn)))


def _intents(report: Report) -> Element:
    rows = [
        (
            each.intent,
            f"{each.examples:,}",
            _share(each.precision),
            _share(each.recall),
            f"{each.recall_least:.0%} to {each.recall_most:.0%}" if each.held_out else "—",
            _share(each.f1),
            "few answers" if each.small else "",
        )
        for each in report.intents
    ]
    said = (
        "Precision: of the answers with this intent, the share that is right. Recall: of its examples, the share that was recognised; the "
        "true share lies within the interval in 19 of 20 cases. With few answers neither says much."
    )
    heads = ("Intent", "Examples", "Precision", "Recall", "95 % interval", "F1", "Note")
    return _section("Intents, the weakest first", said, _table("Figures by intent", heads, rows, numbers=range(1, 6)))


def _confusions(report: Report) -> Element:
    rows = [(each.intent, each.taken_for, str(each.count), "; ".join(f"“{text}”" for text in each.texts)) for each in report.confusions]
    return _listed("Confusions", "Which intent was taken for which", ("Intent", "Taken for", "Times", "Examples"), rows, range(2, 3))


def _mislabelled(report: Report) -> Element:
    rows = [
        (each.text, each.intent, each.looks_like, f"{each.confidence:.0%}", f"“{each.nearest}” ({each.similarity:.2f})")
        for each in report.mislabelled
    ]
    heads = ("Example", "Stands under", "Looks like", "Confidence", "Most similar there")
    return _listed("Examples that may be mislabelled", "Held-out examples that look like another intent", heads, rows, range(3, 4))


def _overlaps(report: Report) -> Element:
    rows = [(each.first, each.second, str(each.confused), str(each.crossed), str(each.of)) for each in report.overlaps]
    heads = ("Intent", "And", "Confused", "Nearest to the other", "Of examples")
    return _listed("Intents that overlap", "Pairs of intents that share their ground", heads, rows, range(2, 5))


def _alike(report: Report) -> Element:
    rows = [(each.text, each.intent, each.other_text, each.other_intent, f"{each.similarity:.3f}") for each in report.alike]
    heads = ("Example", "Intent", "Example", "Intent", "Similarity")
    return _listed("Examples that say the same under two intents", "Pairs of examples", heads, rows, range(4, 5))


def _listed(title: str, caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: range) -> Element:
    return _section(title, _table(caption, heads, rows, numbers) if rows else "None were found.")


def _section(title: str, *parts: Child) -> Element:
    return e("section", {}, e("h2", {}, title), *(e("p", {}, part) if isinstance(part, str) else part for part in parts))


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: range) -> Element:
    """The columns `numbers` are set to the right; a row is named by its first column."""
    kind = [{"class": "number"} if column in numbers else {} for column in range(len(heads))]
    head = e("thead", {}, e("tr", {}, *(e("th", {"scope": "col", **kind[place]}, text) for place, text in enumerate(heads))))
    body = e("tbody", {})
    for first, *rest in rows:
        body.append(e("tr", {}, e("th", {"scope": "row"}, first), *(e("td", {**kind[place]}, text) for place, text in enumerate(rest, 1))))
    wide = {"class": "wide", "role": "region", "aria-label": caption, "tabindex": 0}
    return e("div", {**wide}, e("table", {}, e("caption", {}, caption), head, body))


def _footer(report: Report, digest: str) -> Element:
    return e(
        "footer",
        {},
        e("p", {}, "Model ", e("code", {}, report.model)),
        e("p", {}, "Report ", e("code", {}, digest)),
        e("p", {}, "The same catalog and encoder give the same model and the same report: lockgate train --report"),
    )


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _percent(value: float) -> str:
    return f"{value * 100:g}%"
