import csv
import html.parser
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from pkt_bench_leaderboards import formats, sheet
from pkt_bench_leaderboards.board import boards
from pkt_bench_leaderboards.formats import latex


@pytest.fixture
def found(row, runs, items):
    student = row("student", "code", 0.1, 0.03)
    lora = row("lora", "code", 0.3, 0.05, seconds=10.04, payload_bytes=0, trainable_parameters=98_304)
    rows = [
        student,
        lora,
        row("teacher", "code", 0.9, 0.03),
        row("student", "facts", 0.2, 0.04),
        row("teacher", "facts", 0.8, 0.04),
        row("lora", "facts", 0.5, 0.05, seed=0, seconds=20.0, payload_bytes=0, trainable_parameters=98_304),
        row("lora", "facts", 0.54, 0.05, seed=1, seconds=30.0, payload_bytes=0, trainable_parameters=98_304),
        row("shuffled", "facts", 0.2, 0.05, paradigm="control", control_of="lora", payload_bytes=1_234_567),
        row("shuffled", "code", outcome="failed", reason="ranks | do [not] fit"),
    ]
    asked = items((student, [0] * 6 + [1] * 4), (lora, [1] * 10))
    return boards(runs(*rows), asked)


def cells(board, **options):
    written = sheet.write(board, **options)
    return {
        line.cells[1].text: dict(zip((h.key for h in written.headings), line.cells, strict=True))
        for line in written.lines
    }


def test_the_sheet_writes_what_was_worked_out_by_hand(found):
    lora = cells(found[0])["lora"]

    # mean over seeds 0.52 with error sqrt(0.0029), mean over suites 0.41 with error sqrt(0.0029 + 0.0025) / 2
    assert lora["facts"].written == "52.0 ± 5.4"
    assert lora["mean"].written == "41.0 ± 3.7"
    # of the gap of the means: (0.41 - 0.15) / (0.85 - 0.15)
    assert lora["gap"].written == "37 %"
    assert lora["moved"].written == "0 B"
    assert lora["trained"].written == "98.3 k"
    # of the three cells: (10.04 + 20 + 30) / 3
    assert lora["seconds"].written == "20.0"
    assert lora["seeds"].written == "1-2"


def test_one_seed_marks_a_difference_as_not_yet_a_win(found):
    written = sheet.write(found[0])

    # six items gained and none lost: p = 2 * 0.5^6
    assert cells(found[0])["lora"]["code"].written == "30.0 ± 5.0 △"
    assert [note.words for note in written.notes if "△" in note.mark] == [
        (
            "better, worse than student on the same items: p < 0.05 after Holm over the 1 comparison on suites, "
            "but from one seed: not yet a win"
        )
    ]


def test_several_seeds_mark_a_difference_in_full(row, runs, items):
    student = row("student", "code", 0.0, 0.1)
    better = [row("better", "code", 0.9, 0.1, seed=seed) for seed in (0, 1)]
    worse = [row("worse", "code", 0.9, 0.1, seed=seed) for seed in (0, 1)]
    right, wrong, half = [1] * 6 + [0] * 6, [0] * 12, [1] * 12
    table = runs(student, *better, *worse)

    (up,) = boards(table, items((student, wrong), *((each, right) for each in better)))
    (down,) = boards(table, items((student, half), *((each, right) for each in worse)))

    assert cells(up)["better"]["code"].marks == "▲"
    assert cells(down)["worse"]["code"].marks == "▼"


def test_a_square_without_a_score_has_the_word_and_a_footnote_with_the_reason(found):
    written = sheet.write(found[0])

    assert cells(found[0])["shuffled"]["code"].written == "failed ¹"
    assert (written.notes[-1].mark, written.notes[-1].words) == (
        "¹",
        "failed: ranks | do [not] fit [shuffled on code, seed 0]",
    )


def test_one_reason_given_by_many_cells_is_one_footnote(row, runs):
    table = runs(*(row("laten", "code", seed=seed, outcome="skipped", reason="no") for seed in (0, 1, 2)))

    notes = [note.words for note in sheet.write(boards(table)[0]).notes]

    assert notes[-1] == "skipped: no [laten on code, seeds 0-2]"


def test_older_variants_have_a_footnote_that_says_how_many_runs_and_why(row, runs):
    table = runs(
        *(row("lora", "code", 0.3, 0.05, seed=s, variant="old", cell_key=f"old {s}") for s in (0, 1)),
        row("lora", "code", 0.4, 0.05, variant="new", cell_key="new", at=1),
        row("student", "code", 0.1, 0.05, variant="old", cell_key="s old"),
        row("student", "code", outcome="failed", reason="no", variant="new", cell_key="s new", at=1),
    )
    found = boards(table)

    written = sheet.write(found[0])

    assert {line.cells[1].written for line in written.lines} == {"lora ²", "student ²"}
    assert (written.notes[-1].mark, written.notes[-1].words) == (
        "²",
        "older variants not shown, made by other code or libraries [lora, 2 runs; student, 1 run]",
    )
    (lora,) = (row for row in json.loads(formats.as_json(found))["boards"][0]["rows"] if row["method"] == "lora")
    assert (lora["variant"], lora["older_runs"]) == ("new", 2)
    lines = csv.DictReader(io.StringIO(formats.as_csv(found)))
    assert {(line["method"], line["older_runs"]) for line in lines} == {("lora", "2"), ("student", "1")}


def test_what_a_method_does_not_say_it_took_is_unknown_and_not_zero(row, runs):
    table = runs(
        row("quiet", "code", 0.3, 0.05, payload_bytes=None, trainable_parameters=None),
        row("student", "code", 0.1, 0.05, payload_bytes=0, trainable_parameters=0),
    )
    found = boards(table)

    written = cells(found[0])

    assert [written["quiet"][key].written for key in ("moved", "trained")] == ["—", "—"]
    assert [written["student"][key].written for key in ("moved", "trained")] == ["0 B", "0"]
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(formats.as_csv(found)))}
    assert [lines[name]["payload_bytes"] for name in ("quiet", "student")] == ["", "0"]
    assert [lines[name]["trainable_parameters"] for name in ("quiet", "student")] == ["", "0"]


def test_a_single_suite_shows_p_instead_of_a_mean(row, runs):
    keys = [heading.key for heading in sheet.write(boards(runs(row("lora", "code", 0.3, 0.05)))[0]).headings]

    assert keys == ["place", "method", "code", "code p", "gap", "gap 95 %", "seconds", "moved", "trained", "seeds"]


@pytest.mark.parametrize(
    ("key", "first_to_last"),
    [
        ("place", ["teacher", "lora", "student", "shuffled"]),
        ("method", ["lora", "shuffled", "student", "teacher"]),
        ("facts", ["teacher", "lora", "student", "shuffled"]),
        ("gap", ["teacher", "lora", "student", "shuffled"]),
        ("seconds", ["lora", "teacher", "student", "shuffled"]),
        ("moved", ["lora", "shuffled", "teacher", "student"]),
    ],
)
def test_rows_sort_with_the_best_or_cheapest_first_and_the_unknown_last(found, key, first_to_last):
    lines = sheet.write(found[0], sort=key).lines

    assert [line.cells[1].text for line in lines] == first_to_last


def test_every_key_a_board_offers_sorts_it(found):
    for key in sheet.sort_keys(found[0]):
        assert len(sheet.write(found[0], sort=key).lines) == 4


def test_json_says_what_the_sheet_says_and_keeps_the_raw_figures(found):
    content = json.loads(formats.as_json(found))
    written = cells(found[0], everything=True)

    rows = {row["label"]: row for row in content["boards"][0]["rows"]}

    for label, row in rows.items():
        assert row["text"]["mean"] == written[label]["mean"].text
        assert row["text"]["gap_closed"] == written[label]["gap"].text
        assert row["text"]["seconds"] == written[label]["seconds"].text
        assert row["text"]["payload_bytes"] == written[label]["moved"].text
        for suite, square in row["suites"].items():
            if square["outcome"] == "done":
                assert square["text"]["score"] == written[label][suite].text
            assert square["text"]["gap_closed"] == written[label][f"{suite} gap"].text
            assert square["text"]["p"] == written[label][f"{suite} p"].text
    assert rows["lora"]["suites"]["facts"]["value"] == pytest.approx(0.52)
    assert rows["lora"]["suites"]["code"]["against_student"]["p"] == pytest.approx(0.03125)
    assert rows["shuffled"]["suites"]["code"]["value"] is None


def test_csv_says_what_the_sheet_says(found):
    lines = list(csv.DictReader(io.StringIO(formats.as_csv(found))))
    written = cells(found[0], everything=True)

    scores = {(line["method"], line["suite"]): line for line in lines}

    assert len(lines) == 4 * 3
    for (method, suite), line in scores.items():
        cell = written[method][suite].text
        if line["score"]:
            assert f"{line['score']} ± {line['stderr']}" == cell
        else:
            assert cell in {"—", line["outcome"]}
    assert scores["lora", "mean"]["gap_closed"] == "37"
    assert scores["shuffled", "code"]["reason"] == "failed: ranks | do [not] fit"
    assert scores["shuffled", "facts"]["payload_bytes"] == "1234567"


def test_markdown_has_every_cell_of_the_sheet(found):
    written = sheet.write(found[0])

    markdown = formats.as_markdown([written])

    table = [line for line in markdown.splitlines() if line.startswith("| ")][2:]
    for line, text in zip(written.lines, table, strict=True):
        found_cells = [cell.strip().strip("*") for cell in text.strip("|").split(" | ")]
        assert found_cells == [cell.written for cell in line.cells]


def test_markdown_keeps_letters_that_mean_something_to_it(found):
    markdown = formats.as_markdown([sheet.write(found[0])])

    assert "ranks \\| do \\[not] fit" in markdown
    assert "tiny\\_code" in markdown


# ---------------------------------------------------------------- HTML, LaTeX, TSV

STRANGE = "<script>alert('1')</script> & 100 % of $x_1$ #2 {~^\\} [a] -- \"q\" | `b` 日本 é ø\n"


@pytest.fixture
def strange(found):
    """The board with a method named by somebody who wants to be misread."""
    board = found[0]
    rows = tuple(replace(row, label=STRANGE, method=STRANGE) if row.method == "lora" else row for row in board.rows)
    return replace(board, rows=rows, pair=STRANGE, teacher=STRANGE)


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["td"]:
            self.words.append(data)


def test_a_page_has_every_cell_of_the_sheet(found):
    written = sheet.write(found[0], everything=True)

    page = Page(formats.as_html([written]))

    assert page.words == [cell.written for line in written.lines for cell in line.cells if cell.written]
    assert page.open == []


def test_a_page_runs_nothing_loads_nothing_and_takes_names_for_words(strange):
    page = formats.as_html([sheet.write(strange, group=("method",))], title=STRANGE)

    read = Page(page)
    assert {tag for tag, _ in read.tags}.isdisjoint({"script", "link", "img", "iframe", "a", "base"})
    assert {name for _, attrs in read.tags for name in attrs} <= {
        *("lang", "charset", "name", "content", "class", "scope", "colspan")
    }
    assert STRANGE.rstrip() in read.words
    assert re.findall(r"url\(|@import|https?:", page) == []


def test_a_fragment_is_the_sections_of_the_page(found):
    written = [sheet.write(found[0])]

    fragment = formats.as_html(written, fragment=True)

    assert fragment.startswith("<section>")
    assert fragment in formats.as_html(written)


def test_latex_has_the_letters_that_mean_something_to_it_escaped():
    assert latex.escaped("100 % of $x_1$ & #2 {~^}") == (
        r"100 \% of \$x\_1\$ \& \#2 \{\textasciitilde{}\textasciicircum{}\}"
    )
    assert latex.escaped("61.5 ± 3.4 ▲¹² —") == r"61.5 $\pm$ 3.4 $\uparrow$$^{1}$$^{2}$ ---"
    assert latex.escaped("\\ é 日") == r"\textbackslash{} \'{e} ?"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_in_a_bare_document_whatever_names_are_in_it(strange, tmp_path):
    written = [sheet.write(strange, everything=True, group=("method",)), sheet.write(strange)]
    letters = replace(written[1], subtitle="".join(latex._LETTERS) + "ßøØæÆàáâãäčç日")
    body = formats.as_latex([*written, letters])
    document = f"\\documentclass{{article}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "board.tex").write_text(document, encoding="utf-8")

    said = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "board.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert said.returncode == 0, said.stdout.decode(errors="replace")[-2000:]
    assert b"Missing character" not in (tmp_path / "board.log").read_bytes()


def test_tsv_has_the_lines_of_csv(strange):
    commas = list(csv.reader(io.StringIO(formats.as_csv([strange]))))
    tabs = list(csv.reader(io.StringIO(formats.as_csv([strange], tabs=True)), delimiter="\t"))

    assert commas == tabs
    assert len({len(line) for line in tabs}) == 1


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-lora", "'-lora"),
        ("\t=1", "'\t=1"),
        ("-9.3", "-9.3"),
        ("+1e5", "+1e5"),
        ("lora", "lora"),
    ],
)
def test_text_that_a_spreadsheet_would_run_is_marked_as_text_and_numbers_stay(found, name, written):
    board = replace(found[0], rows=(replace(found[0].rows[0], method=name, mean=-0.5),))

    line = next(csv.DictReader(io.StringIO(formats.as_csv([board]))))

    assert (line["method"], line["score"], float(line["value"])) == (written, "-50.0", -0.5)


def test_groups_are_lines_of_their_own_in_markdown(found):
    markdown = formats.as_markdown([sheet.write(found[0], group=("paradigm",))])

    table = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert [line.split("|")[2].strip() for line in table if "paradigm" in line] == [
        "**paradigm reference**",
        "**paradigm language**",
        "**paradigm control**",
    ]
    assert len({line.count(" | ") for line in table}) == 1
