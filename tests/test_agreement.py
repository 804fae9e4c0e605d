"""Every number that is shown anywhere is the same number: screen, JSON, CSV, report and published README."""

import csv
import html
import io
import json
import re

import pytest

import boards as recorded_boards
from pkt_bench.publishing import published_folder
from pkt_bench.sources import PUBLISHED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("agreement") / "runs"
    recorded_boards.record_board(root)
    return root


def figures(board):
    """What each row of a board as JSON is written with: {label: [mean, gap, p, each suite's score]}."""
    found = {}
    for row in board["rows"]:
        words = [row["text"]["mean"], row["text"]["gap_closed"], row["text"]["seconds"], row["text"]["payload_bytes"]]
        words += [suite["text"]["score"] for suite in row["suites"].values() if suite["outcome"] == "done"]
        if row["against_baseline"] is not None:
            words.append(row["text"]["p"])
        found[row["label"]] = [word for word in words if word != "—"]
    return found


def cells(line):
    """A line of a Markdown table, as words."""
    return [re.sub(r"\\(.)", r"\1", cell).strip().strip("*").strip() for cell in line.strip().strip("|").split(" | ")]


@pytest.mark.slow
def test_screen_json_csv_report_and_published_readme_agree_to_the_digit(folder, warm, tmp_path):
    (board,) = json.loads(warm("board", folder, "--format", "json").out)["boards"]
    screen = warm("board", folder).out
    table = list(csv.DictReader(io.StringIO(warm("board", folder, "--format", "csv").out)))
    assert warm("report", folder, "--to", tmp_path / "report.html").code == 0
    page = re.sub(r"<[^>]+>", " ", (tmp_path / "report.html").read_text(encoding="utf-8"))
    page = " ".join(html.unescape(page).split())
    assert warm("publish", folder, "--slug", "agreed", "--to", tmp_path).code == 0
    readme = (tmp_path / "agreed" / "README.md").read_text(encoding="utf-8")
    published = json.loads((tmp_path / "agreed" / "board.json").read_text(encoding="utf-8"))

    assert published["boards"][0]["rows"] == board["rows"]
    for label, words in figures(board).items():
        (line,) = [line for line in screen.splitlines() if re.match(rf"\s*[\d—]*\s+{re.escape(label)}\s\s", line)]
        (row,) = [cells(line) for line in readme.splitlines() if line.startswith("|") and label in cells(line)[:2]]
        (mean,) = [each for each in table if each["method"] == label and each["suite"] == "mean"]
        for word in words:
            assert word in line, (label, word, "screen")
            assert any(word in cell for cell in row), (label, word, "README")
            assert word in page, (label, word, "report")
        if mean["score"]:
            assert f"{mean['score']} ± {mean['stderr']}" in line


def test_what_is_published_here_is_what_the_runs_in_it_give_now(warm, tmp_path):
    for slug in sorted(path.name for path in PUBLISHED.iterdir() if path.is_dir()):
        title = re.search(r"^# (.*)$", (PUBLISHED / slug / "README.md").read_text(encoding="utf-8"), re.MULTILINE)[1]

        answer = warm("publish", slug, "--slug", slug, "--to", tmp_path, "--title", title)

        assert answer.code == 0, answer.err
        made, kept = (
            {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}
            for root in (tmp_path / slug, PUBLISHED / slug)
        )
        assert made.keys() == kept.keys()
        assert [name for name in made if made[name] != kept[name]] == []


def test_a_checkouts_own_folder_is_where_boards_are_published():
    assert published_folder() == PUBLISHED
