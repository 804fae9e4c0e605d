import pathlib
import subprocess
import sys

import pyarrow as pa
import pytest

from pkt_bench_leaderboards import schema

README = pathlib.Path(__file__).parents[2] / "leaderboards" / "README.md"


@pytest.mark.parametrize("fields", [schema.RUNS, schema.ITEMS], ids=["runs", "items"])
def test_the_readme_documents_every_column_as_the_schema_has_it(fields):
    readme = README.read_text(encoding="utf-8")

    table = schema.as_markdown(fields)

    assert table in readme


@pytest.mark.parametrize("arrow", [schema.runs_schema(), schema.items_schema()], ids=["runs", "items"])
def test_every_arrow_field_carries_its_description_and_the_table_its_version(arrow):
    descriptions = [field.metadata[b"description"] for field in arrow]

    assert all(descriptions)
    assert arrow.metadata[b"schema_version"] == str(schema.SCHEMA_VERSION).encode()


def test_the_readme_names_the_version_of_the_schema():
    assert f"Schema version {schema.SCHEMA_VERSION}, in the schema's metadata" in README.read_text(encoding="utf-8")


def test_whole_numbers_have_64_bits_and_times_are_utc():
    types = {field.name: field.type for field in schema.runs_schema()}

    assert {types[name] for name in ("seed", "n", "limit", "payload_bytes")} == {pa.int64()}
    assert {types[name] for name in ("value", "stderr", "seconds")} == {pa.float64()}
    assert types["created_at"] == pa.timestamp("us", tz="UTC")


def test_the_comparability_key_is_made_of_columns_of_the_table():
    names = {field.name for field in schema.RUNS}

    assert set(schema.COMPARED) <= names


def test_a_table_of_an_older_schema_gets_nulls_for_what_it_lacked(row, runs):
    older = runs(row("lora", "code", 0.5, 0.1)).drop_columns(["chance", "git_revision"])

    table = schema.conform(older, schema.runs_schema())

    assert table.schema.equals(schema.runs_schema(), check_metadata=True)
    assert table["chance"].to_pylist() == [None]
    assert table["value"].to_pylist() == [0.5]


def test_a_table_without_a_column_it_must_have_is_refused(row, runs):
    foreign = runs(row("lora", "code", 0.5, 0.1)).drop_columns(["cell_key"])

    with pytest.raises(pa.ArrowInvalid, match="cell_key"):
        schema.conform(foreign, schema.runs_schema())


def test_importing_the_package_imports_no_arrow():
    code = "import sys, pkt_bench_leaderboards.board, pkt_bench_leaderboards.schema; print('pyarrow' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout == "False\n"
