"""What all plots are drawn with: frames, marks, labels, and the title and description of a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pkt_bench_leaderboards.records import Row
from pkt_bench_leaderboards.report.markup import Markup, join, tag

LETTER = 6.6
"""Pixels that a letter of a label takes at most on average."""
LINE = 14.0
LABEL_LETTERS = 30


def picture(name: str, title: str, description: str, size: tuple[float, float], parts: Sequence[Markup]) -> Markup:
    """An SVG whose `name` is its own in the page."""
    width, height = size
    return tag(
        "svg",
        tag("title", title, id=f"{name}-t"),
        tag("desc", description, id=f"{name}-d"),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
    )


def figure(pictures: Sequence[Markup], caption: str, label: str) -> Markup:
    """Pictures beside one another, each in a container of its own, with what they show below."""
    panels = [
        tag("div", each, class_="scroll panel", role="region", tabindex="0", aria_label=label) for each in pictures
    ]
    return tag("figure", tag("div", *panels, class_="panels"), tag("figcaption", caption))


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A line of one of the styles of the page."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def words(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> Markup:
    """A text whose baseline starts, is centred or ends at a point."""
    return tag("text", content, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor)


def kind(row: Row) -> str:
    """What a row's mark says it is: reference, oracle, control or method."""
    if row.reference:
        return "reference"
    if row.oracle:
        return "oracle"
    return "control" if row.control_of else "method"


def mark(x: float, y: float, what: str, title: str, *, size: float = 4.5, hollow: bool = False) -> Markup:
    """A mark that tells kinds apart by shape: a circle a method, a diamond a control, a triangle an oracle."""
    class_ = f"mark {what}" + (" hollow" if hollow else "")
    if what == "control":
        return tag(
            "path",
            tag("title", title),
            d=_polygon(x, y, [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)], size),
            class_=class_,
        )
    if what == "oracle":
        return tag(
            "path", tag("title", title), d=_polygon(x, y, [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)], size), class_=class_
        )
    if what == "reference":
        return tag(
            "path", tag("title", title), d=_polygon(x, y, [(-1, -1), (1, -1), (1, 1), (-1, 1)], size), class_=class_
        )
    return tag("circle", tag("title", title), cx=x, cy=y, r=size, class_=class_)


def label_lines(label: str) -> list[str]:
    """A label in lines that a plot has room for; nothing of it is cut."""
    return textwrap.wrap(label, LABEL_LETTERS, break_long_words=True, break_on_hyphens=False) or [""]


def label_width(labels: Sequence[str]) -> float:
    """Pixels that the longest line of the labels takes."""
    return max((len(each) for label in labels for each in label_lines(label)), default=0) * LETTER + 10


def row_heights(labels: Sequence[str], least: float = 20.0) -> list[float]:
    """How high the row of each label is."""
    return [max(least, len(label_lines(label)) * LINE + 6) for label in labels]


def row_label(x: float, y: float, label: str) -> Markup:
    """A label that ends at `x`, its lines centred on `y`."""
    lines = label_lines(label)
    top = y - (len(lines) - 1) * LINE / 2 + 4
    return join([words(x, top + number * LINE, each, "label", "end") for number, each in enumerate(lines)])


def _polygon(x: float, y: float, corners: list[tuple[float, float]], size: float) -> str:
    points = " L".join(f"{x + dx * size:.2f} {y + dy * size:.2f}" for dx, dy in corners)
    return f"M{points} Z"
