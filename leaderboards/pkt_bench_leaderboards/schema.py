"""The two tables people open: what each column of the runs table and of the items table means."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 3
"""Columns are added under a higher number; none is ever renamed, narrowed or given another type."""

Kind = Literal["string", "int", "float", "bool", "time"]


@dataclass(frozen=True)
class Field:
    """One column: `kind` is string, int (64 bits), float (64 bits), bool or time (microseconds, UTC)."""

    name: str
    kind: Kind
    description: str
    nullable: bool = True

    @property
    def type_name(self) -> str:
        """The column's Arrow type as Arrow writes it."""
        return _TYPE_NAMES[self.kind]


_TYPE_NAMES = {
    "string": "string",
    "int": "int64",
    "float": "double",
    "bool": "bool",
    "time": "timestamp[us, tz=UTC]",
}

RUNS: tuple[Field, ...] = (
    # identity
    Field("run_id", "string", "One attempt at a cell; its rows share it.", nullable=False),
    Field("cell_key", "string", "Digest of all that can change the cell's result.", nullable=False),
    Field("method", "string", "Name of the method.", nullable=False),
    Field("method_version", "string", "Version the method gives itself."),
    Field(
        "paradigm",
        "string",
        "Kind of method: reference, language, post-align, pre-align, control, or another.",
    ),
    Field("control_of", "string", "The method that this one is a control of."),
    Field("distribution", "string", "Package that offers the method."),
    Field("distribution_version", "string", "Version of that package."),
    Field(
        "settings",
        "string",
        "Settings of the method after defaults, as JSON with sorted keys.",
        nullable=False,
    ),
    Field(
        "variant",
        "string",
        "Digest of what can change a result and is none of suite, seed and limit: the method's code and settings, "
        "both models, library versions and the other knobs. Runs in which it differs are no seeds of one result.",
    ),
    Field("pair", "string", "Name of the pair of teacher and student.", nullable=False),
    Field("teacher", "string", "The teacher for people: its name and size."),
    Field("teacher_revision", "string", "Label of the teacher's version."),
    Field("teacher_hash", "string", "Digest of the teacher's files."),
    Field("student", "string", "The student for people: its name and size."),
    Field("student_revision", "string", "Label of the student's version."),
    Field("student_hash", "string", "Digest of the student's files."),
    Field("suite", "string", "Name of the suite whose knowledge was transferred and scored.", nullable=False),
    Field("task", "string", "lm-eval task of this figure; null in the one row of a run without scores."),
    Field("task_version", "string", "Version the task gives itself."),
    Field("task_hash", "string", "Digest of the task's configuration as resolved by lm-eval."),
    Field("metric", "string", "lm-eval's name of the metric."),
    Field("filter", "string", "lm-eval's name of the filter that picked the answer."),
    Field("shots", "int", "Worked examples in the prompt."),
    Field("limit", "int", "The run asked only so many first documents; null: all the task has."),
    Field("seed", "int", "Seed of the cell.", nullable=False),
    Field("headline", "bool", "Whether the suite is ranked by this figure."),
    Field("chance", "float", "What guessing gives on this metric."),
    # value
    Field("value", "float", "The figure, as a fraction where the metric is one."),
    Field("stderr", "float", "Standard error over the documents."),
    Field("n", "int", "Number of documents."),
    Field("higher_is_better", "bool", "Direction of the metric."),
    # cost
    Field("seconds", "float", "Wall time of the whole attempt, both phases, however it ended."),
    Field("load_seconds", "float", "Wall time of loading the models, each when the method first touched it."),
    Field("transfer_seconds", "float", "Wall time of the method itself, without loading the models."),
    Field("score_seconds", "float", "Wall time of the scoring phase."),
    Field("transfer_cpu_seconds", "float", "Processor time of the transfer phase in its process."),
    Field("score_cpu_seconds", "float", "Processor time of the scoring phase in its process."),
    Field("peak_rss_bytes", "int", "Largest resident memory of any of the cell's processes."),
    Field("peak_device_bytes", "int", "Largest memory held on an accelerator."),
    Field("trainable_parameters", "int", "Parameters that training could change; null where the method does not say."),
    Field("tokens_trained", "int", "Tokens trained on, repeats counted; null where the method does not say."),
    Field("payload_bytes", "int", "Bytes moved from teacher to student; null where the method does not say."),
    Field("artifact_bytes", "int", "Size of the saved artifact."),
    Field(
        "stage_seconds",
        "string",
        "Wall time of the method's own stages, as a JSON object; `NAME (reused)` is what a cached one had taken.",
    ),
    # health
    Field("delta_over_weight", "float", "Norm of the change over the norm of the changed weights."),
    Field("logit_change", "float", "Largest change of a logit on the probe, against the pristine student."),
    Field("injection_change", "float", "The same right after injection, before tuning."),
    Field(
        "reload_difference",
        "float",
        "Largest difference of logits in memory and of the artifact loaded again.",
    ),
    Field("changed_tensors", "int", "Tensors that differ from the pristine student's."),
    Field("selection", "string", "How a setting was chosen: fixed, validation or oracle."),
    Field("notes", "string", "What else the method said of itself, as a JSON object."),
    # outcome
    Field(
        "outcome",
        "string",
        "done, skipped, or how it ended otherwise: failed, contract, diverged, crashed, killed, timeout, "
        "out-of-memory, out-of-disk, over-budget, no-effect, interrupted.",
        nullable=False,
    ),
    Field("reason", "string", "Why the outcome is not done; empty where it is.", nullable=False),
    # provenance
    Field("pkt_bench_version", "string", "Version of pkt-bench that wrote the row."),
    Field("git_revision", "string", "Its git revision, where it ran from a checkout."),
    Field("python", "string", "Version of Python."),
    Field("platform", "string", "Operating system."),
    Field("hardware", "string", "Processor or accelerator that computed it."),
    Field("libraries", "string", "Versions of the libraries that can move a number, as a JSON object."),
    Field("scorer", "string", "Program that scores, with its full version."),
    Field(
        "scoring",
        "string",
        "How answers were had, as a JSON object: the scorer, how far from stock lm-eval on a sample, tokens, sandbox.",
    ),
    Field(
        "caveats",
        "string",
        "What a reader should know of the models, as a JSON list of sentences; null: nothing.",
    ),
    Field("device", "string", "Device asked for."),
    Field("dtype", "string", "Type of the weights while computing."),
    Field("threads", "int", "Threads torch was pinned to."),
    Field(
        "batch_size", "int", "Documents in a scoring batch, always a number; halved where the memory did not suffice."
    ),
    Field("pass_tokens", "int", "Padded tokens of a training pass; halved where the memory did not suffice."),
    Field(
        "budget", "string", "What every method of the sweep could spend, as a JSON object; null: as much as it liked."
    ),
    Field("host", "string", "Machine that ran it."),
    Field("data_hash", "string", "Digest of the suite's records."),
    Field("prompt_hash", "string", "Digest of how records are rendered as prompts."),
    Field("scoring_hash", "string", "Digest of the suite's code and of its task files: what judges an answer."),
    Field(
        "documents_hash",
        "string",
        "Digest of the documents that were scored, right answers included: task, number and hash of each.",
    ),
    Field("created_at", "time", "When the run ended.", nullable=False),
    Field(
        "comparability",
        "string",
        "Digest of weights, device, dtype, threads, batch size, scorer, limit, records, prompt format, scoring code, "
        "documents, task, metric, filter, shots and n: rows in which it differs are never ranked together.",
    ),
)

ITEMS: tuple[Field, ...] = (
    Field("run_id", "string", "The run that answered.", nullable=False),
    Field("cell_key", "string", "The cell of that run.", nullable=False),
    Field("task", "string", "lm-eval task.", nullable=False),
    Field("metric", "string", "lm-eval's name of the metric.", nullable=False),
    Field("filter", "string", "lm-eval's name of the filter that picked the answer.", nullable=False),
    Field("doc_id", "int", "Number of the document in its task.", nullable=False),
    Field("doc_hash", "string", "Digest of the document.", nullable=False),
    Field("prompt_hash", "string", "Digest of the prompt as sent to the model.", nullable=False),
    Field("prompt", "string", "The prompt as sent to the model.", nullable=False),
    Field("target", "string", "The right answer.", nullable=False),
    Field("response", "string", "What the model said.", nullable=False),
    Field("value", "float", "What that was worth under the metric: 1 right, 0 wrong where it is either."),
)

COMPARED: tuple[str, ...] = (
    "teacher_hash",
    "student_hash",
    "device",
    "dtype",
    "threads",
    "batch_size",
    "scorer",
    "limit",
    "data_hash",
    "prompt_hash",
    "scoring_hash",
    "documents_hash",
    "task",
    "task_version",
    "task_hash",
    "metric",
    "filter",
    "shots",
    "n",
)
"""The columns `comparability` is a digest of."""


@functools.cache
def runs_schema() -> pa.Schema:
    """Arrow schema of the runs table: one row per run, task, metric and filter."""
    return _schema("runs", RUNS)


@functools.cache
def items_schema() -> pa.Schema:
    """Arrow schema of the items table: one row per run, task, metric, filter and document."""
    return _schema("items", ITEMS)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `schema`: columns an older version lacked are null, unknown ones go.

    Raises:
        pyarrow.ArrowInvalid: a column has a type that cannot become ours, or lacks values it must have.
    """
    import pyarrow as pa

    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        elif field.nullable:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
        else:
            raise pa.ArrowInvalid(f"column '{field.name}' is missing")
    return pa.table(columns, schema=schema)


def as_markdown(fields: Sequence[Field]) -> str:
    """The fields as a Markdown table, one line each, as the README shows them."""
    lines = ["| column | type | null | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{field.name}` | {field.type_name} | {'yes' if field.nullable else 'no'} | {field.description} |"
        for field in fields
    ]
    return "\n".join(lines)


def _schema(table: str, fields: Sequence[Field]) -> pa.Schema:
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
    }
    columns = [
        pa.field(field.name, types[field.kind], field.nullable, {"description": field.description}) for field in fields
    ]
    return pa.schema(columns, {"schema_version": str(SCHEMA_VERSION), "table": table})
