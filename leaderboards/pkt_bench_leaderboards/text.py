"""How numbers are written: the one place that rounds, so that every format of a board agrees to the digit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

UNKNOWN = "—"

BLOCKS = "▁▂▃▄▅▆▇█"

# what a terminal without Unicode gets instead
_ASCII = {
    "—": "-",
    "±": "+/-",
    "▲": "^",
    "▼": "v",
    "△": "(^)",
    "▽": "(v)",
    "·": "|",
    "→": "->",
    "░": ".",
    "−": "-",
    "×": "x",
    # seeds as blocks, from low to high
    **dict(zip("▁▂▃▄▅▆▇█", "_.-=+*%#", strict=True)),
    "⁻": "-",
    **{digit: f"[{number}]" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}


def number(value: float, *, fraction: bool) -> str:
    """A figure: `61.5` for the fraction 0.615, two decimals for what is none."""
    text = f"{100 * value:.1f}" if fraction else f"{value:.2f}"
    # no minus in front of what is written as zero
    return text.removeprefix("-") if float(text) == 0 else text


def score(value: float | None, stderr: float | None, *, fraction: bool) -> str:
    """A figure with its standard error, `61.5 ± 3.4`; without one where that is unknown."""
    if value is None:
        return UNKNOWN
    written = number(value, fraction=fraction)
    return written if stderr is None else f"{written} ± {number(stderr, fraction=fraction)}"


def interval(low: float | None, high: float | None, *, fraction: bool) -> str:
    """The ends of an interval, `[51.4, 73.8]`."""
    if low is None or high is None:
        return UNKNOWN
    return f"[{number(low, fraction=fraction)}, {number(high, fraction=fraction)}]"


def difference(value: float | None, *, fraction: bool) -> str:
    """A figure less another, with its sign: `+2.1`, `-0.4`, `0.0`."""
    if value is None:
        return UNKNOWN
    written = number(value, fraction=fraction)
    return f"+{written}" if float(written) > 0 else written


def percent_interval(low: float | None, high: float | None) -> str:
    """The ends of an interval of shares, `[41, 77] %`."""
    if low is None or high is None:
        return UNKNOWN
    ends = [percent(share).removesuffix(" %") for share in (low, high)]
    return f"[{', '.join(ends)}] %"


def count(value: float | None) -> str:
    """A number of items, seeds or runs, `1,549`."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def blocks(values: Sequence[float], low: float, high: float) -> str:
    """One block a value, the taller the nearer to `high`: `▁▆█`; where all could only be alike, `▄`."""
    if high <= low:
        return "▄" * len(values)
    steps = [round((value - low) / (high - low) * (len(BLOCKS) - 1)) for value in values]
    return "".join(BLOCKS[min(max(step, 0), len(BLOCKS) - 1)] for step in steps)


def named(names: Collection[str], most: int = 8) -> str:
    """Names in a row, the first few of many: `a, b, c and 12 more`."""
    if len(names) <= most + 1:  # "and 1 more" would be no shorter
        return ", ".join(names)
    shown = list(names)[:most]
    return f"{', '.join(shown)} and {len(names) - most} more"


def percent(share: float | None) -> str:
    """A share as a whole percentage, `48 %`."""
    if share is None:
        return UNKNOWN
    text = f"{100 * share:.0f}"
    return "0 %" if text == "-0" else f"{text} %"


def probability(p: float | None) -> str:
    """Three decimals, `0.032`, or `<0.001`."""
    if p is None:
        return UNKNOWN
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def seconds(value: float | None) -> str:
    """One decimal below a hundred seconds, whole seconds above."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def size(count: float | None) -> str:
    """A number of bytes in decimal units, `1.2 MB`."""
    if count is None:
        return UNKNOWN
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"))


def quantity(count: float | None) -> str:
    """A number of things in thousands, millions, billions, `1.2 M`."""
    if count is None:
        return UNKNOWN
    return _scaled(count, ("", "k", "M", "G", "T"))


def superscript(value: int) -> str:
    """A footnote's number, `¹²` for 12."""
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(value))


def spans(values: tuple[int, ...]) -> str:
    """Whole numbers in rising order with runs drawn together, `0-2, 5`."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def short_hash(digest: str | None) -> str:
    """The first eight digits of a digest."""
    return digest[:8] if digest else UNKNOWN


def ascii_only(text: str) -> str:
    """The text for a terminal or file that cannot take Unicode; what has no equivalent becomes a question mark."""
    for letter, plain in _ASCII.items():
        text = text.replace(letter, plain)
    return text.encode("ascii", "replace").decode()


def _scaled(value: float, units: tuple[str, ...]) -> str:
    step = 0
    # 999.95 would be written as 1000.0
    while abs(value) >= 999.95 and step < len(units) - 1:
        value /= 1000
        step += 1
    digits = f"{value:.1f}" if step else f"{value:.0f}"
    return f"{digits} {units[step]}".rstrip()
