"""HTML and SVG elements made of text: whatever is not markup of ours is escaped."""

from __future__ import annotations

import html
import re

# what may not be in a page at all: controls but tab and line feed, and what is no character
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_VOID = frozenset({"meta", "br", "col", "hr"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def escaped(words: str) -> Markup:
    """Text as markup that shows it; control characters are shown by their number."""
    if isinstance(words, Markup):
        return words
    shown = _FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", words.replace("\r\n", "\n"))
    return Markup(html.escape(shown))


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element: text among `children` is escaped; attributes that are None are left out.

    `class_` is written `class`, and an underscore elsewhere a hyphen.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{''.join(map(escaped, children))}</{name}>")


def join(parts: list[Markup], between: str = "") -> Markup:
    """Markup after markup."""
    return Markup(between.join(parts))


def table(headings: list[tuple[str, bool]], rows: list[list[str]], caption: str, *, class_: str = "") -> Markup:
    """A table in a container that scrolls sideways; `headings` are titles and whether numbers stand below.

    The first cell of each row names it.
    """
    head = [tag("th", title, scope="col", class_="n" if right else None) for title, right in headings]
    body = [
        tag(
            "tr",
            *(
                tag("th", cell, scope="row") if index == 0 else tag("td", cell, class_="n" if right else None)
                for index, (cell, (_, right)) in enumerate(zip(row, headings, strict=True))
            ),
        )
        for row in rows
    ]
    made = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_=class_ or None,
    )
    return scrolling(made, caption)


def scrolling(content: Markup, label: str) -> Markup:
    """A container that scrolls sideways, by keyboard too."""
    return tag("div", content, class_="scroll", role="region", tabindex="0", aria_label=label)


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 2):g}"
