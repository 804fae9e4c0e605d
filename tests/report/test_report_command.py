"""`pkt-bench report` as it is typed: the file is whole, ours are replaced, and what is wrong is said."""

import html
import json
import re
import shutil
import subprocess
import sys

import pytest
import typer

from pkt_bench.cli.report import report as command
from pkt_bench.errors import PktBenchError
from pkt_bench.store import Store

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def report(capsys):
    def typed(*arguments):
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()(command)
        code = 0
        try:
            app(list(map(str, arguments)), standalone_mode=False)
        except PktBenchError as error:
            code = error.exit_code
            print(f"pkt-bench: {error}", file=sys.stderr)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return typed


def test_the_report_is_written_and_said_on_stderr(report, recorded, tmp_path):
    done = report(recorded.root, "--to", tmp_path / "new" / "page.html", "--title", "A < B")

    assert done.returncode == 0
    assert done.stdout == ""
    assert "page.html: 1 board, " in done.stderr
    made = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert made.startswith("<!DOCTYPE html>")
    assert "<title>A &lt; B</title>" in made
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_every_file_that_was_read_is_on_the_page_with_its_digest(report, recorded, tmp_path):
    report(recorded.root, "--to", tmp_path / "page.html")

    made = (tmp_path / "page.html").read_text(encoding="utf-8")
    for path in recorded.root.glob("cells/*/*.arrow"):
        digest = path.name.split(".")[1]
        assert f"<td>{digest}</td>" in made


def test_a_report_of_ours_is_replaced_and_another_file_only_by_force(report, recorded, tmp_path):
    ours, other = tmp_path / "ours.html", tmp_path / "other.html"
    other.write_text("<p>mine", encoding="utf-8")
    assert report(recorded.root, "--to", ours).returncode == 0
    first = ours.read_bytes()

    assert report(recorded.root, "--to", ours).returncode == 0
    refused = report(recorded.root, "--to", other)

    assert ours.read_bytes() == first
    assert refused.returncode == 2
    assert "is there and is no report of pkt-bench" in refused.stderr
    assert other.read_text(encoding="utf-8") == "<p>mine"
    assert report(recorded.root, "--to", other, "--force").returncode == 0
    assert other.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "a report needs a file"),
        (("--to", "{tmp}"), 2, "is a folder"),
        (("--to", "{tmp}/file/page.html"), 2, "is below a file"),
        (("--to", "/proc/page.html"), 4, "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_said(report, recorded, tmp_path, arguments, code, words):
    (tmp_path / "file").write_text("x", encoding="utf-8")

    done = report(recorded.root, *(each.format(tmp=tmp_path) for each in arguments))

    assert done.returncode == code
    assert words in done.stderr


def test_a_folder_without_runs_is_refused(report, tmp_path):
    Store(tmp_path / "runs").create()

    done = report(tmp_path / "runs", "--to", tmp_path / "page.html")

    assert done.returncode == 2
    assert "holds no recorded runs" in done.stderr
    assert not (tmp_path / "page.html").exists()


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
@pytest.mark.parametrize("width", [390, 1440])
def test_in_a_browser_no_page_scrolls_sideways_and_tables_can_be_sorted(made, tmp_path, width):
    probe = """<script>addEventListener("load", () => {
      document.querySelector("table.sortable th:nth-child(2) button").click();
      const names = [...document.querySelectorAll("table.sortable tbody tr th")].map((each) => each.textContent.trim());
      const wide = [innerWidth, document.documentElement.scrollWidth];
      parent.document.title = JSON.stringify([...wide, ...names]);
    })</script></body>"""
    # the policy would refuse our own measurement, and no window is narrower than 500 pixels, but a frame is
    page = re.sub("<meta http-equiv[^>]*>", "", made).replace("</body>", probe)
    frame = f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(page)}"></iframe>'
    file = tmp_path / "frame.html"
    file.write_text(f"<!DOCTYPE html><title></title>{frame}", encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--hide-scrollbars", "--window-size=1600,1000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = re.search(r"<title>(\[.*?\])</title>", done.stdout)

    assert found, done.stderr
    inner, scrolled, *names = json.loads(html.unescape(found[1]))
    assert inner == width
    assert scrolled <= width
    assert names == sorted(names)
    assert len(names) == 10
