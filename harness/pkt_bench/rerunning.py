"""Saved students asked again: what they answer now, against the answers that are stored."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_bench import artifacts, environment, lm_tasks, models, reports, resolving, scoring
from pkt_bench.errors import PktBenchError
from pkt_bench.integrity import Fault
from pkt_bench.rescoring import Judges, Rescored, fault_of

if TYPE_CHECKING:
    import pyarrow as pa

# a batch of another shape moves the last bits of a log-likelihood
LOG_LIKELIHOOD_TOLERANCE = 1e-3


def rerun(root: Path, runs: pa.Table, items: pa.Table, *, count: int, seed: int) -> Rescored:
    """Asks `count` documents again, drawn with `seed` from the answers whose student is kept in `root`.

    Generations and values must be the same; log-likelihoods may differ by `LOG_LIKELIHOOD_TOLERANCE`.
    """
    import numpy as np

    judges, skipped = Judges(), dict[str, int]()
    rows = {(row["run_id"], row["task"]): row for row in runs.to_pylist() if row["task"] is not None}
    why = {name: _why_not(root, row, judges) for name, row in rows.items()}
    names = list(zip(items["run_id"].to_pylist(), items["task"].to_pylist(), strict=True))
    possible = [number for number, name in enumerate(names) if name in rows and not why[name]]
    for name in names:
        if why.get(name):
            skipped[why[name]] = skipped.get(why[name], 0) + 1
    drawn = np.random.default_rng(seed).permutation(possible)[:count]
    wanted: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in items.take(np.sort(drawn).astype(np.int64)).to_pylist():
        wanted.setdefault((item["run_id"], item["task"]), []).append(item)
    faults: list[Fault] = []
    checked = 0
    for name, stored in wanted.items():
        try:
            # where the libraries draw their progress
            with contextlib.redirect_stderr(io.StringIO()):
                answers = _ask(root, rows[name], judges, sorted({item["doc_id"] for item in stored}))
        except PktBenchError as error:
            skipped[f"not run again: {error}"] = len(stored)
            continue
        checked += len(stored)
        for item in stored:
            faults += _differences(rows[name], item, answers)
    said = tuple(f"{reason} ({number:,} answers)" for reason, number in skipped.items())
    return Rescored(checked, tuple(faults), said)


def _why_not(root: Path, row: Mapping[str, Any], judges: Judges) -> str:
    """Why a row's student cannot be asked again; empty where it can."""
    judge = judges.of(row)
    if isinstance(judge, str):
        return judge.replace("scored", "run", 1)
    if row["pair"] not in judges.pairs:
        return f"not run again: no pair installed here is called {row['pair']}"
    pair = judges.pairs[row["pair"]]
    pair, missing = resolving.found_pair(pair, resolving.Terms())
    if missing:
        return f"not run again: the models of {row['pair']} are not here"
    for kind, ref in (("teacher", pair.teacher), ("student", pair.student)):
        if models.checkpoint_digest(ref) != row[f"{kind}_hash"]:
            return f"not run again: the {kind} of {row['pair']} installed here is another than the run had"
    if not (root / "artifacts" / row["cell_key"] / artifacts.MANIFEST).is_file():
        return "not run again: the saved student is not kept"
    return ""


def _ask(
    root: Path, row: Mapping[str, Any], judges: Judges, documents: Sequence[int]
) -> dict[tuple[int, str, str], tuple[Any, float | None]]:
    """Response and value by document, metric and filter."""
    from lm_eval.models.huggingface import HFLM

    environment.pin_threads(row["threads"])
    environment.seed_everything(0)
    suite = judges.suite_of(row["task"])
    folder = root / "artifacts" / row["cell_key"]
    pair, _ = resolving.found_pair(judges.pairs[row["pair"]], resolving.Terms())
    model, tokenizer = artifacts.load_artifact(folder, pair, row["dtype"], row["device"])
    lm = HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=row["batch_size"],
        add_bos_token=suite.prompt.bos and tokenizer.bos_token_id is not None,
    )
    task = replace(judges.task_of(row["task"]), shots=row["shots"])
    loaded = lm_tasks.load(suite, task)
    report = scoring.run_task(lm, loaded, row["task"], row["shots"], documents=documents)
    return {
        (document, metric, filter_): (said, worth)
        for document, metric, filter_, said, worth in reports.responses(report)
    }


def _differences(
    row: Mapping[str, Any], item: Mapping[str, Any], answers: Mapping[tuple[int, str, str], tuple[Any, float | None]]
) -> list[Fault]:
    response, value = answers[item["doc_id"], item["metric"], item["filter"]]
    faults = []
    if not _alike(json.loads(item["response"]), response):
        now = json.dumps(response, ensure_ascii=False)
        faults.append(fault_of(row, item, "the saved student answers something else", item["response"], now))
    if item["value"] != value:
        what = "what the saved student answers is not worth what is stored"
        faults.append(fault_of(row, item, what, repr(item["value"]), repr(value)))
    return faults


def _alike(stored: Any, now: Any) -> bool:  # noqa: ANN401 - any JSON
    if isinstance(stored, list) and isinstance(now, list):
        return len(stored) == len(now) and all(map(_alike, stored, now))
    if isinstance(stored, float) and isinstance(now, float):
        return math.isclose(stored, now, rel_tol=0, abs_tol=LOG_LIKELIHOOD_TOLERANCE)
    return bool(stored == now)
