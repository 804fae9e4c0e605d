"""The tours name every room, and nothing that is not there: harness, leaderboards, tests."""

import re

import pytest

from docs.documents import ROOT


def rooms(folder):
    """What a package holds: its modules by file name, its packages with a slash."""
    return {
        entry.name if entry.is_file() else f"{entry.name}/"
        for entry in folder.iterdir()
        if (entry.suffix == ".py" or (entry / "__init__.py").is_file()) and not entry.name.startswith("__")
    }


def named(text):
    return set(re.findall(r"(?<![\w/.])(\w+(?:\.py|/))(?![\w/])", text))


def test_the_tour_of_the_harness_names_every_room():
    text = (ROOT / "harness" / "README.md").read_text(encoding="utf-8")

    assert rooms(ROOT / "harness" / "pkt_bench") <= named(text)


def test_its_table_names_no_room_that_is_gone():
    text = (ROOT / "harness" / "README.md").read_text(encoding="utf-8")
    first_cells = " ".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE))

    assert named(first_cells) <= rooms(ROOT / "harness" / "pkt_bench")


def test_the_page_of_boards_names_every_module():
    text = (ROOT / "leaderboards" / "README.md").read_text(encoding="utf-8")

    assert rooms(ROOT / "leaderboards" / "pkt_bench_leaderboards") <= named(text)


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and p.name[0] != "_"))
def test_how_to_develop_says_what_each_folder_of_tests_is_for(name):
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")

    assert f"`{name}/`" in text


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").is_file()))
def test_the_page_of_plugins_has_a_row_for_each_package(name):
    rows = [
        line for line in (ROOT / "plugins" / "README.md").read_text().splitlines() if line.startswith("| `pkt_bench")
    ]

    assert any(f"`{name}`" in row for row in rows)
