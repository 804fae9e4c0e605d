import contextlib
import datetime as dt
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkt_bench_leaderboards import schema
from pkt_bench_leaderboards.expressions import DEEPEST, LONGEST, ExpressionError, parse

KINDS = {field.name: field.kind for field in schema.RUNS}
TABLE = pa.table(
    {
        "text": pa.array(["lora", "nuggets", None, "", "nuggets:noise"]),
        "whole": pa.array([0, 1, None, -3, 2**53 + 1], pa.int64()),
        "real": pa.array([0.5, float("nan"), None, -1.0, 2.0]),
        "truth": pa.array([True, False, None, True, False]),
        "when": pa.array(
            [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3, 4, 5)], pa.timestamp("us", "UTC")
        ),
        "settings": pa.array(['{"rank": 8}', '{"rank": "8"}', None, "{}", '{"rank": null, "on": true}']),
        "nothing": pa.nulls(5),
    }
)


def left(text):
    """The numbers of the rows of the table that a filter leaves."""
    mask = parse(text, TABLE.column_names).mask(TABLE)
    return [number for number, kept in enumerate(mask.to_pylist()) if kept]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text == lora", [0]),
        ("text == 'lora' or text == \"nuggets\"", [0, 1]),
        # null is neither like nor unlike
        ("text != lora", [1, 3, 4]),
        ("not text == lora", [1, 3, 4]),
        ("text in (lora, 'nuggets:noise')", [0, 4]),
        ("text not in [lora]", [1, 3, 4]),
        ("text in ()", []),
        ("text not in ()", [0, 1, 2, 3, 4]),
        ("text is None", [2]),
        ("text == None", [2]),
        ("text is not None", [0, 1, 3, 4]),
        ("text != None", [0, 1, 3, 4]),
        ("like(text, 'nugg*')", [1, 4]),
        ("like(text, '????')", [0]),
        ("like(text, '[ln]*')", []),
        ("not like(text, '*')", []),
        ("whole == 9007199254740993", [4]),
        ("whole == 9007199254740992.0", []),
        ("-1 < whole <= 1", [0, 1]),
        ("-whole == 3", [3]),
        ("real < whole", [4]),
        ("real == real", [0, 3, 4]),
        ("real != real", [1]),
        ("truth", [0, 3]),
        ("not truth", [1, 4]),
        ("truth == False", [1, 4]),
        # a truth is no number
        ("truth == 1", []),
        ("when >= '2026-01-04'", [3, 4]),
        ("when < '2026-01-01 01:00'", [0]),
        ("settings.rank == 8", [0]),
        ("settings.rank == '8'", [1]),
        # of values of two kinds it is unknown which is larger
        ("settings.rank < 9", [0]),
        ("settings.rank is None", [2, 3, 4]),
        ("settings.on", [4]),
        ("settings.rank.deeper == 1", []),
        ("nothing == 1", []),
        ("nothing is None", [0, 1, 2, 3, 4]),
        # the unknown counts only where the rest does not decide
        ("text == lora or whole is None", [0, 2]),
        ("text != lora or truth is None", [1, 2, 3, 4]),
        ("not (text == lora and whole == 0)", [1, 3, 4]),
    ],
)
def test_a_filter_leaves_the_rows_of_which_it_is_known_to_hold(text, expected):
    assert left(text) == expected


def test_an_expression_names_the_columns_it_asks_each_once():
    found = parse("settings.rank == 8 and method in (lora, column('student')) and settings.rate < value", KINDS)

    assert found.names == ("settings", "method", "student", "value")


def test_a_column_whose_name_is_no_word_is_named_in_quotes():
    found = parse("column('mmlu-pro') > 0.5", ["mmlu-pro"])

    assert [found.holds({"mmlu-pro": value}) for value in (0.6, 0.4, None)] == [True, False, None]


def test_a_mapping_may_hold_what_was_read_from_the_json_of_a_column():
    found = parse("settings.rank == 8", ["settings"])

    assert found.holds({"settings": {"rank": 8}}) is True
    assert found.holds({}) is None


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("methd == lora", 0, "no column is called 'methd'. Did you mean 'method'?"),
        ("method = 'lora'", 7, "write == instead of ="),
        ("method == a && seed == 1", 12, "write and instead of &&"),
        ("seed == 1 | seed == 2", 8, "write or between two conditions"),
        ("seed == 1 OR seed == 2", 10, "write or instead of OR"),
        ("paradigm == post-align", 12, "post-align is text only in quotes: write 'post-align'"),
        ("method == nuggets:sham", 17, "text with a colon needs quotes, such as 'nuggets:noise-spectrum'"),
        ("headline == true", 12, "write True, or 'true' for the text"),
        ("seed == '1'", 8, "'seed' is a number, and '1' is text: they can never be equal"),
        ("value < chanse", 8, "no column is called 'chanse'. Did you mean 'chance'?"),
        ("value == chanse", 9, "'value' is a number, and 'chanse' is text: they can never be equal."),
        ("created_at > 'yesterday'", 13, "'yesterday' is no time;"),
        ("value", 0, "this says nothing by itself;"),
        ("seed in 3", 8, "right of 'in' stands a list,"),
        ("n < None", 4, "None is unknown, and has no order; write: is None"),
        ("headline < True", 11, "True and False have no order"),
        ("seed + 1 == 2", 0, "nothing is calculated here;"),
        # no filter that says something else than it seems to
        ("method != student", 10, "write 'student' for the text, or column('student') for the column of that name"),
        ("paradigm == headline", 12, "write 'headline' for the text, or column('headline') for the column"),
        ("settings.start == student", 18, "write 'student' for the text, or column('student') for the column"),
        ("method in (lora, teacher)", 17, "write 'teacher' for the text, or column('teacher') for the column"),
        ("like(method, lora)", 13, "like takes a column and a pattern in quotes"),
        ("seed.deep == 1", 0, "'seed' is a number and has no fields"),
        ("method == lora and", 18, "this is where it stops making sense"),
        ("__import__('os').system('true')", 0, "only like(column, pattern) and column('name') can be called"),
        ("[m for m in method] == 1", 0, "this is no column, number or text in quotes"),
        # the caret stands under letters, not under the bytes before it
        ("method == 'öö' and sed == 1", 19, "no column is called 'sed'. Did you mean 'seed'?"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_place_and_what_to_write(text, column, message):
    with pytest.raises(ExpressionError) as refused:
        parse(text, KINDS)

    said = str(refused.value).splitlines()
    assert said[0].startswith(message)
    assert said[1:3] == [f"  {text}", f"  {' ' * column}^"]


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "\n",
        "\0",
        "x" * (LONGEST + 1),
        "(" * 1000,
        "[" * 300,
        "not " * 400 + "headline",
        "-" * 1900 + "seed < 1",
        "settings" + ".a" * 900 + " == 1",
        "seed == " + "9" * 1900 + "**99999",
        "(" * 90 + "headline" + ")" * 90 + " and like(method, b'*')",
    ],
)
def test_hostile_text_is_refused_and_cannot_hang_or_crash(hostile):
    with pytest.raises(ExpressionError):
        parse(hostile, KINDS)


def test_a_pattern_of_many_stars_takes_no_time():
    pattern = "*a" * 200 + "b"

    assert parse(f"like(text, '{pattern}')", ["text"]).holds({"text": "a" * 5000}) is False


def test_as_many_levels_as_are_allowed_are_read():
    assert parse("not " * DEEPEST + "headline", KINDS).holds({"headline": True}) is True


# ---------------------------------------------------------------- mask and holds are two ways to one answer

SETTINGS = st.one_of(
    st.none(),
    st.just("no json"),
    st.fixed_dictionaries(
        {"rank": st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["a", "1"]), st.booleans())}
    ).map(json.dumps),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.one_of(st.none(), st.sampled_from(["a", "b", "ab", ""])),
            "whole": st.one_of(st.none(), st.integers(-2, 2)),
            "real": st.one_of(st.none(), st.sampled_from([-1.0, 0.0, -0.0, 1.0, float("nan"), float("inf")])),
            "truth": st.one_of(st.none(), st.booleans()),
            "settings": SETTINGS,
        }
    ),
    max_size=8,
)
FIELDS = st.sampled_from(["text", "whole", "real", "truth", "settings.rank", "-whole", "-settings.rank"])
LITERALS = st.sampled_from(["'a'", "0", "-1", "1.0", "True", "b", "1e999", "text", "whole"])
LEAVES = st.one_of(
    st.builds("{} {} {}".format, FIELDS, st.sampled_from(["==", "!="]), LITERALS),
    st.builds("{} {} {}".format, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), FIELDS),
    st.builds("{} < {} <= 1".format, FIELDS, FIELDS),
    st.builds("{} {} ({}, {})".format, FIELDS, st.sampled_from(["in", "not in"]), LITERALS, LITERALS),
    st.builds("{} {} None".format, FIELDS, st.sampled_from(["is", "is not", "=="])),
    st.builds("like(text, '{}')".format, st.sampled_from(["*", "a*", "?", "*b"])),
    st.sampled_from(["truth", "settings.rank"]),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=5,
)
SCHEMA = pa.schema(
    {"text": pa.string(), "whole": pa.int64(), "real": pa.float64(), "truth": pa.bool_(), "settings": pa.string()}
)


@settings(max_examples=300, deadline=None)
@given(ROWS, EXPRESSIONS)
def test_a_table_is_filtered_as_each_of_its_rows_is(rows, text):
    found = parse(text, SCHEMA.names)

    mask = found.mask(pa.Table.from_pylist(rows, schema=SCHEMA))

    assert mask.to_pylist() == [found.holds(row) for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="seed<>=!&|()[].,'\"\\ andotilke0-\n:{}@", max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else_happens(text):
    with contextlib.suppress(ExpressionError):
        parse(text, KINDS)
