"""The page: well-formed, needs nothing else, shows every figure of the board, and no markup that is not ours."""

import base64
import hashlib
import itertools
import json
import re

import pyarrow as pa
import pytest

from pkt_bench_leaderboards import formats, schema
from pkt_bench_leaderboards.board import boards
from pkt_bench_leaderboards.report import Beside, page
from pkt_bench_leaderboards.report.markup import escaped, tag
from pkt_bench_leaderboards.report.style import STYLE


def test_every_element_is_closed_in_order(made, parsed):
    assert parsed(made).problems == []


def test_ids_are_unique_and_what_refers_to_one_finds_it(made, parsed):
    read = parsed(made)
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    named = [name for _, a in read.elements for name in (a.get("aria-labelledby") or "").split()]
    linked = [a["href"].removeprefix("#") for a in read.all("a")]

    assert len(ids) == len(set(ids))
    assert {*named, *linked} <= set(ids)


def test_nothing_is_loaded_from_anywhere(made, parsed):
    read = parsed(made)
    for name, attributes in read.elements:
        assert name not in {"link", "img", "iframe", "object", "embed", "image", "use", "base", "form"}
        assert not {"src", "srcset", "style", "onclick", "xlink:href"} & attributes.keys()

    assert not re.search(r"https?:|url\(|@import|//[a-z]", made.replace("/*", ""))


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(made, parsed):
    policy = next(a["content"] for a in parsed(made).all("meta") if a.get("http-equiv") == "Content-Security-Policy")

    def allowed(element):
        content = re.search(f"<{element}>(.*?)</{element}>", made, re.DOTALL)[1]
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    assert policy == (
        f"default-src 'none'; style-src {allowed('style')}; script-src {allowed('script')}; base-uri 'none'; "
        "form-action 'none'"
    )


def test_headings_never_skip_a_level(made, parsed):
    levels = [int(name[1]) for name, _ in parsed(made).elements if re.fullmatch("h[1-6]", name)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_header_cells_say_what_they_head_and_pictures_what_they_show(made, parsed):
    read = parsed(made)

    assert all(a.get("scope") in {"row", "col"} for a in read.all("th"))
    assert len(read.all("svg")) == len(read.all("desc")) > 8
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in read.all("svg"))
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in read.all("div", "scroll"))


def test_every_figure_of_the_json_is_on_the_page(made, contents, parsed):
    shown = parsed(made).text
    for board in json.loads(formats.as_json(boards(contents.runs, contents.items)))["boards"]:
        for row in board["rows"]:
            wanted = [row["text"][name] for name in ("mean", "gap_closed", "seconds", "payload_bytes")]
            wanted += [suite["text"]["score"] for suite in row["suites"].values()]
            assert [written for written in wanted if written not in shown] == []


def test_failures_and_skips_are_there_with_their_reasons(made, parsed):
    shown = parsed(made).text

    for words in ("RuntimeError in transfer: <loss> is | not finite", "took 600 s", "another tokenizer than the stud"):
        assert words in shown


def test_prompts_with_markup_are_shown_as_they_are(made, parsed):
    assert "[code] What is <b>0</b> + 4 | 'and' why?\nAnswer:" in parsed(made).text
    assert "<b>" not in made


def test_nothing_in_rows_or_items_can_become_markup(contents, parsed):
    evil = "</script></style><script>alert(1)</script>\"'><img src=x onerror=y>&amp;\x00\x0b"
    runs = replaced(contents.runs, {"pair": evil, "hardware": evil, "reason": evil, "teacher": evil})
    items = replaced(contents.items, {"prompt": evil, "target": evil, "response": evil})
    read = parsed(made := page(boards(runs, items), runs, items, Beside(title=evil, problems=(evil,))))

    assert read.problems == []
    assert len(read.all("script")) == 1
    assert not read.all("img")
    assert "\x00" not in made
    assert "</script></style><script>alert(1)</script>\"'><img src=x onerror=y>&amp;\\x00\\x0b" in read.text


def replaced(table, columns):
    for name, value in columns.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(name), pa.array([value] * table.num_rows, pa.string()))
    return table


def test_the_same_runs_give_the_same_bytes(made, contents):
    assert page(boards(contents.runs, contents.items), contents.runs, contents.items) == made


def test_the_date_is_that_of_the_newest_run(made, parsed):
    assert "70 cells, newest run 2026-01-01 00:59 UTC" in parsed(made).text


def test_the_page_is_small(made):
    assert len(made.encode()) < 1_000_000


def test_environment_and_commands_name_what_the_rows_hold(contents, parsed):
    beside = Beside(defaults={"pkt-bench/lora": {"rank": 16, "learning_rate": 0.001}})
    shown = parsed(page(boards(contents.runs, contents.items), contents.runs, contents.items, beside)).text

    assert "a processor" in shown
    assert "--seeds 3" in shown
    assert "--set lora.rank=8" in shown
    assert "--set lora.learning_rate=0.001" not in shown
    assert "--set laten.learning_rate=0.001" in shown


def test_digests_of_what_was_read_are_on_the_page(contents, parsed):
    beside = Beside(files=(("cells/aa/x.arrow", "0123456789abcdef" * 2),))

    shown = parsed(page(boards(contents.runs, contents.items), contents.runs, contents.items, beside)).text

    assert "cells/aa/x.arrow" in shown
    assert "0123456789abcdef" * 2 in shown


def test_boards_set_apart_are_sections_that_say_why(contents, parsed):
    runs = contents.runs.to_pylist()
    for row in runs:
        if row["method"] == "full":
            row["dtype"], row["comparability"] = "bfloat16", f"other {row['comparability']}"
    table = pa.Table.from_pylist(runs, schema=schema.runs_schema())
    read = parsed(page(boards(table, contents.items), table, contents.items))

    assert len(read.all("section")) == 2
    assert "Not ranked with the other boards of tiny, because it differs: dtype" in read.text


def test_runs_that_all_failed_give_a_page_that_says_so(contents, parsed):
    runs = contents.runs.filter(pa.array([outcome != "done" for outcome in contents.runs["outcome"].to_pylist()]))
    read = parsed(page(boards(runs, contents.items), runs, contents.items))

    assert read.problems == []
    assert "Nothing here has a score" in read.text
    assert "took 600 s" in read.text
    assert "No run is done" in read.text


@pytest.mark.parametrize("kept", [{"lora"}, {"lora", "student"}, {"student"}])
def test_one_method_alone_gives_a_whole_page(contents, parsed, kept):
    runs = contents.runs.filter(pa.array([method in kept for method in contents.runs["method"].to_pylist()]))
    read = parsed(page(boards(runs, contents.items), runs, contents.items))

    assert read.problems == []
    assert "no ranks" in read.text.lower()


def test_items_may_be_missing(contents, parsed):
    items = contents.items.slice(0, 0)
    read = parsed(page(boards(contents.runs, items), contents.runs, items))

    assert read.problems == []
    assert "its answers are not recorded here" in read.text


def test_text_is_escaped_and_markup_is_not_escaped_twice():
    assert tag("p", "a < b", tag("b", '"')) == "<p>a &lt; b<b>&quot;</b></p>"
    assert escaped(escaped("&")) == "&amp;"


def luminance(colour):
    """Relative luminance after WCAG 2.1."""
    colour = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    shares = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_the_contrast_of_aa_in_light_and_dark(scheme):
    light, dark = re.findall(r":root\{(?:color-scheme:light dark;)?(--page:.*?)\}", STYLE, re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+):#([0-9a-f]{3,6})", (light, dark)[scheme]))

    for ground in ("page", "band"):
        for ink in ("ink", "muted", "accent", "good", "bad", "control", "oracle", "teacher"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for heat in ("h1", "h2", "h3", "h4"):
        assert contrast(colours["heat-ink"], colours[heat]) >= 4.5, heat


def test_what_was_lost_elsewhere_is_said_in_a_sentence(made, parsed):
    assert "Significantly worse than the untouched student (corrected after Holm)" in parsed(made).text


def test_a_method_of_which_nothing_is_done_is_in_the_command_too(made, parsed):
    methods = re.search(r"--methods (\S+)", parsed(made).text)[1].split(",")

    assert {"kd", "gkd", "lora", "nuggets:noise-spectrum"} <= set(methods)


def test_the_commands_install_whoever_offers_a_method_that_is_not_the_benchs_own(contents, parsed):
    runs = contents.runs
    column = runs.schema.get_field_index("distribution")
    whose = [
        {"lora": "a-stranger", "pissa": "mine.py"}.get(method, "pkt-bench") for method in runs["method"].to_pylist()
    ]
    runs = runs.set_column(column, runs.schema.field(column), [whose])

    shown = parsed(page(boards(runs, contents.items), runs, contents.items, Beside())).text

    # boards.py records version 0.1 of every distribution
    assert "pip install a-stranger==0.1" in shown
    assert "pip install mine.py" not in shown
    assert shown.count("pip install") == 2
