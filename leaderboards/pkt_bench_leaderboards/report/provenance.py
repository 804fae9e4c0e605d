"""Where the figures come from: the environment of the runs, how to run them again, and digests of the files read."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pkt_bench_leaderboards import text
from pkt_bench_leaderboards.comparable import RowKey
from pkt_bench_leaderboards.labels import OWN, called, shared_methods
from pkt_bench_leaderboards.records import Board, Row
from pkt_bench_leaderboards.report.counted import Counted
from pkt_bench_leaderboards.report.markup import Markup, join, scrolling, table, tag

NAMED = {
    "pkt_bench_version": "pkt-bench",
    "git_revision": "git revision",
    "scorer": "scorer",
    "python": "Python",
    "platform": "operating system",
    "hardware": "hardware",
    "device": "device",
    "dtype": "type of weights",
    "threads": "threads",
    "batch_size": "documents in a batch",
    "pass_tokens": "tokens in a training pass",
    "limit": "first documents only",
    "budget": "budget",
}


def environment(board: Board, runs: Sequence[Counted]) -> Markup:
    """What the runs ran on; where they differ, every value with the methods it is of."""
    if not runs:
        return tag("p", "No run is done, so nothing is known of what they ran on.")
    rows = [
        ["teacher", _model(board.teacher, board.teacher_hash)],
        ["student", _model(board.student, board.student_hash)],
    ]
    differing = []
    found = {name: [(run, _plain(run.row[column])) for run in runs] for column, name in NAMED.items()}
    libraries = sorted({name for run in runs for name in run.json("libraries")})
    found |= {name: [(run, _plain(run.json("libraries").get(name))) for run in runs] for name in libraries}
    for name, values in found.items():
        by_value: dict[str, list[Counted]] = defaultdict(list)
        for run, value in values:
            by_value[value].append(run)
        if len(by_value) == 1:
            rows.append([name, next(iter(by_value))])
            continue
        rows.append([name, "differs, see below"])
        for value, members in sorted(by_value.items()):
            differing.append([name, value, str(len(members)), ", ".join(dict.fromkeys(run.label for run in members))])
    parts = [
        table([("what", False), ("value", False)], rows, f"What {len(runs)} done runs have in common", class_="wordy")
    ]
    if differing:
        headings = [("what", False), ("value", False), ("runs", True), ("methods", False)]
        parts.append(table(headings, differing, "What differs between runs", class_="wordy"))
    else:
        parts.append(tag("p", "Nothing of this differs between runs."))
    return join(parts)


def reproduce(board: Board, runs: Sequence[Counted], defaults: Mapping[str, Mapping[str, Any]]) -> Markup:
    """The commands that make the runs again, with what the rows do not tell.

    `defaults`: by `distribution/method` the default settings, where they are known; a setting that differs is set.
    """
    if not runs:
        return tag("p", "No run is done, so there is nothing to make again.")
    versions = sorted({run.row["pkt_bench_version"] for run in runs if run.row["pkt_bench_version"]})
    revisions = sorted({run.row["git_revision"] for run in runs if run.row["git_revision"]})
    lines = [f"pip install pkt-bench=={version}" for version in versions[-1:]]
    lines += _strangers(runs)
    rows = board.rows
    said = []
    lines += [_command(board, group, runs, defaults) for group in _commands(rows)]
    unknown = [row.label for row in rows if _qualified(row) not in defaults and row.settings not in {"", "{}"}]
    if len(versions) > 1:
        said.append(f"Runs were made with several versions: {', '.join(versions)}; the newest is named.")
    if revisions:
        said.append(
            f"Made from a checkout at git revision {', '.join(revisions)}: what is published may differ from it."
        )
    if unknown:
        said.append(
            f"Defaults are not known here of {', '.join(unknown)}, so all settings are given."
            " Those of a plugin need the plugin: --plugin FILE."
        )
    seeds = sorted({run.seed for run in runs})
    if seeds != list(range(len(seeds))):
        said.append(f"The seeds on the board are {text.spans(tuple(seeds))}; the command runs 0 to {max(seeds)}.")
    if any(row.older_runs for row in rows):
        said.append("Runs of older code are in the folder too; they are not on the board and not made again.")
    said.append("The same numbers to the digit need the same libraries and hardware as listed above.")
    code = scrolling(tag("pre", "\n" + "\n".join(lines)), "Commands")
    settings = [[row.label, row.version, row.distribution, row.settings or "{}"] for row in rows]
    headings = [("method", False), ("version", False), ("offered by", False), ("settings", False)]
    listing = table(headings, settings, "Settings of every method after defaults, as recorded", class_="wordy")
    return join([code, tag("p", " ".join(said)), tag("details", tag("summary", "All settings"), listing)])


def _strangers(runs: Sequence[Counted]) -> list[str]:
    """How to get the distributions of methods that are not the bench's own; a single file is no distribution."""
    found = {(str(run.row["distribution"]), str(run.row["distribution_version"])) for run in runs}
    return [
        f"pip install {shlex.quote(f'{name}=={version}')}"
        for name, version in sorted(found)
        if name not in {OWN, "imported", "None"} and not name.endswith(".py")
    ]


def sources(files: Sequence[tuple[str, str]]) -> Markup:
    """The files that were read and their BLAKE2b-128 digests."""
    if not files:
        return tag("p", "The digests of what was read are not known.")
    rows = [[name, digest] for name, digest in files]
    listing = table(
        [("file", False), ("BLAKE2b-128", False)], rows, f"{len(rows)} files, with the digests of their bytes"
    )
    return tag("details", tag("summary", f"{len(rows)} files"), listing)


def _commands(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that one command makes: as many of them as have one setting per method."""
    groups: list[list[Row]] = []
    for row in rows:
        home = next((group for group in groups if all(_qualified(row) != _qualified(other) for other in group)), None)
        if home is None:
            groups.append([row])
        else:
            home.append(row)
    return groups


def _command(
    board: Board, rows: Sequence[Row], runs: Sequence[Counted], defaults: Mapping[str, Mapping[str, Any]]
) -> str:
    # of methods of which nothing is done, what the others were asked
    mine = [run for run in runs if run.label in {row.label for row in rows}] or runs
    # in the order of the board they would change with every score
    shared = shared_methods([_key(row) for row in board.rows])
    names = {row.label: called(_key(row), shared) for row in rows}
    words = ["pkt-bench run", f"--methods {shlex.quote(','.join(sorted(names.values())))}"]
    words += [
        f"--pair {shlex.quote(board.pair)}",
        f"--suite {shlex.quote(','.join(sorted({run.suite for run in mine})))}",
    ]
    words.append(f"--seeds {max(run.seed for run in mine) + 1}")
    if board.limit is not None:
        words.append(f"--limit {board.limit}")
    named = {"device": board.device, "dtype": board.dtype, "threads": board.threads, "batch-size": board.batch_size}
    for flag, value in named.items():
        if value is not None:
            words.append(f"--{flag} {value}")
    budget = next(iter(sorted({run.row["budget"] for run in mine if run.row["budget"]})), None)
    if budget is not None:
        amounts = ",".join(f"{name}={_setting(amount)}" for name, amount in sorted(json.loads(budget).items()))
        words.append(f"--budget {shlex.quote(amounts)}")
    if any(row.forgotten for row in rows):
        words.append("--also-score all")
    for row in rows:
        usual = defaults.get(_qualified(row), {})
        for name, value in sorted(json.loads(row.settings or "{}").items()):
            if name not in usual or usual[name] != value:
                words.append("--set " + shlex.quote(f"{names[row.label]}.{name}={_setting(value)}"))
    return " \\\n  ".join(words)


def _qualified(row: Row) -> str:
    return f"{row.distribution}/{row.method}"


def _key(row: Row) -> RowKey:
    return RowKey(row.method, row.version, row.distribution, row.settings)


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _model(name: str, digest: str | None) -> str:
    return " ".join(part for part in (name, f"({digest})" if digest else "") if part) or text.UNKNOWN


def _plain(value: object) -> str:
    return text.UNKNOWN if value is None else str(value)
