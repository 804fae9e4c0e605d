r"""Sheets as LaTeX: plain `tabular`, to be put into a document of any class with \input; no package is needed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from pkt_bench_leaderboards.sheet import Line, Sheet

_LETTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # what old fonts have other letters for
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    # two of them in a row would become one longer sign
    "-": "-{}",
    "`": "`{}",
    "'": "'{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "△": r"$\bigtriangleup$",
    "▽": r"$\bigtriangledown$",
    "—": "---",
    "–": "--",
    "−": "$-$",
    "…": r"\dots{}",
    "⁻": "$^{-}$",
    **{digit: f"$^{{{number}}}$" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{block: rf"\rule{{.4em}}{{.{number}em}}" for number, block in enumerate("▁▂▃▄▅▆▇█", 1)},
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u030c": "v ",
    "\u0327": "c ",
}


def as_latex(sheets: Iterable[Sheet]) -> str:
    """The tables of the screen, with their notes below; a letter that bare LaTeX does not have is a question mark."""
    return "\n".join(_latex(sheet) for sheet in sheets)


def _latex(sheet: Sheet) -> str:
    columns = "".join("r" if heading.right else "l" for heading in sheet.headings)
    rows = [_row(heading.title for heading in sheet.headings)]
    if any(heading.detail for heading in sheet.headings):
        rows.append(_row(heading.detail for heading in sheet.headings))
    rows.append(r"\hline")
    for group, lines in sheet.sections():
        if group:
            rows.append(rf"\multicolumn{{{len(sheet.headings)}}}{{l}}{{\textbf{{{escaped(group)}}}}} \\")
        rows += [_line(line) for line in lines]
    notes = [rf"\noindent {escaped(note.mark)}: {escaped(note.words)}\par" for note in sheet.notes]
    return "\n".join(
        [
            rf"\noindent\textbf{{{escaped(sheet.title)}}} {escaped(sheet.subtitle)}\par\medskip",
            rf"\noindent\begin{{tabular}}{{{columns}}}",
            *rows,
            r"\end{tabular}\par\medskip",
            r"{\footnotesize\raggedright",
            *notes,
            "}",
            "",
        ]
    )


def _row(cells: Iterable[str]) -> str:
    # a row that begins with [ would be taken for an option of the end of the row before it
    return " & ".join(f"{{{escaped(cell)}}}" for cell in cells) + r" \\"


def _line(line: Line) -> str:
    font = r"\itshape " if line.reference else r"\bfseries " if line.winner else ""
    return " & ".join(f"{{{font}{escaped(cell.written)}}}" for cell in line.cells) + r" \\"


def escaped(words: str) -> str:
    """The words as they are to be seen, whatever letters are in them."""
    return "".join(map(_letter, " ".join(words.split())))


def _letter(letter: str) -> str:
    if letter in _LETTERS:
        return _LETTERS[letter]
    if " " <= letter <= "~":
        return letter
    plain = unicodedata.normalize("NFD", letter)
    if len(plain) == 2 and plain[0].isascii() and plain[0].isalpha() and plain[1] in _ACCENTS:
        return rf"\{_ACCENTS[plain[1]]}{{{plain[0]}}}"
    return {"ß": r"{\ss}", "ø": r"{\o}", "Ø": r"{\O}", "æ": r"{\ae}", "Æ": r"{\AE}"}.get(letter, "?")
