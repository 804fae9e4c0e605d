"""Flags and sweep files become one validated request, or one clear error before anything starts."""

import pytest

from pkt_bench.domain import Budget, CellLimits
from pkt_bench.errors import RequestError
from pkt_bench.request import build, read_config


def complaint(flags=None, config=None, assignments=()):
    with pytest.raises(RequestError) as caught:
        build(flags or {}, config, assignments)
    return str(caught.value)


def sweep(tmp_path, text, name="sweep.toml"):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = sweep(tmp_path, 'seeds = 5\nlimit = 7\nmethods = ["lora", "nuggets"]\n')

    asked = build({"limit": 3}, file)

    assert (asked.seeds, asked.limit, asked.methods, asked.batch_size) == (5, 3, ("lora", "nuggets"), 16)


def test_lists_take_commas_and_repetition_and_each_name_counts_once():
    asked = build({"methods": ["lora,nuggets", "laten", "lora"]}, None)

    assert asked.methods == ("lora", "nuggets", "laten")


def test_assignments_are_kept_by_method_and_win_over_the_file(tmp_path):
    file = sweep(tmp_path, "[settings.nuggets]\nrank = 4\nepochs = 9\n")

    asked = build({}, file, ["nuggets.rank=8"])

    assert asked.settings == {"nuggets": {"rank": "8", "epochs": 9}}


@pytest.mark.parametrize(
    ("flags", "phrase"),
    [
        ({"seeds": 0}, "--seeds 0 will not do: at least 1 is wanted."),
        ({"limit": -1}, "--limit -1 will not do: at least 1 is wanted."),
        ({"batch_size": 0}, "--batch-size 0 will not do"),
        ({"threads": 0}, "--threads 0 will not do"),
        ({"slots": 0}, "--slots 0 will not do"),
        ({"dtype": "float31"}, "Did you mean 'float32'?"),
        ({"device": "gpu"}, "a torch device is wanted: cpu, cuda"),
        ({"methods": [","]}, "--methods , will not do: nothing is selected."),
    ],
)
def test_a_flag_out_of_range_is_named_with_what_is_allowed(flags, phrase):
    assert phrase in complaint(flags)


def test_all_problems_are_said_at_once():
    text = complaint({"seeds": 0, "limit": -1})

    assert "--seeds" in text
    assert "--limit" in text


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("s.toml", "sed = 1\n", "nobody knows the key 'sed'. Did you mean 'seeds'?"),
        ("s.toml", "seeds = \n", "s.toml:1:9: Invalid value."),
        ("s.toml", 'seeds = "many"\n', 's.toml: seeds "many" will not do: a whole number is wanted.'),
        ("s.toml", "seeds = true\n", "seeds true will not do: a whole number is wanted."),
        ("s.toml", "settings = 3\n", "settings is a table of tables"),
        ("s.yaml", "seeds: 1\nseeds: 2\n", "the key 'seeds' is given twice"),
        ("s.yaml", "seeds: [1\n", "s.yaml:2:1:"),
        ("s.yaml", "seeds:\n\t- 1\n", "s.yaml:2:1:"),
        ("s.yaml", "a: &x [1]\nb: *x\n", "aliases (*name) are not allowed here"),
        ("s.yaml", "seeds: !!python/object/apply:os.system ['true']\n", "tags (!name) are not allowed here"),
        ("s.yaml", "- 1\n- 2\n", "holds a list; a sweep file is a table of keys"),
        ("s.ini", "seeds = 1\n", "a sweep file ends in .toml, .yaml or .yml"),
        ("s.toml", "seeds = 1\n".encode("utf-16"), "is not UTF-8 text"),
        ("s.toml", "x = 1\n" * 300_000, "has more than 1048576 bytes"),
    ],
)
def test_a_bad_sweep_file_says_where_and_what(tmp_path, name, text, phrase):
    assert phrase in complaint(config=sweep(tmp_path, text, name))


def test_a_sweep_file_that_is_not_there_is_named(tmp_path):
    assert "absent.toml: No such file or directory" in complaint(config=tmp_path / "absent.toml")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    file = sweep(tmp_path, b"\xef\xbb\xbfseeds = 2\r\nlimit = 4\r\n")

    assert read_config(file) == {"seeds": 2, "limit": 4}


@pytest.mark.parametrize("text", ["nuggets", "nuggets.rank", "rank=3", ".rank=3", "nuggets.=3"])
def test_an_assignment_that_is_none_shows_how_one_is_written(text):
    assert "write METHOD.FIELD=VALUE" in complaint(assignments=[text])


def test_a_budget_is_read_from_flags_and_from_a_table_and_flags_win_name_by_name(tmp_path):
    file = sweep(tmp_path, "[budget]\ntokens = 1e6\nsteps = 200\n")

    assert build({"budget": ["tokens=1e6,steps=200", "seconds=1.5"]}, None).budget == {
        "tokens": 1_000_000,
        "steps": 200,
        "seconds": 1.5,
    }
    assert build({}, file).spending == Budget(tokens=1_000_000, steps=200)
    assert build({"budget": ["steps=5"]}, file).spending == Budget(tokens=1_000_000, steps=5)
    assert all(isinstance(amount, int) for amount in build({}, file).budget.values())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600", 600), (600, 600), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("0.5s", 0.5), ("1d", 86_400)],
)
def test_a_time_is_seconds_or_has_units(text, seconds):
    assert build({"cell_seconds": text}, None).limits == CellLimits(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("8GiB", 8 << 30),
        ("8 gb", 8 * 10**9),
        ("1.5MiB", 3 << 19),
        ("2097152", 1 << 21),
        (1 << 21, 1 << 21),
    ],
)
def test_a_size_is_bytes_or_has_units(text, size):
    assert build({"cell_memory": text, "cell_disk": text}, None).limits == CellLimits(None, size, size)


def test_outcomes_to_retry_take_commas_and_repetition():
    assert build({"retry": ["failed,timeout", "failed"]}, None).retry == ("failed", "timeout")
    assert build({}, None).retried >= {"failed", "timeout", "crashed", "over-budget", "interrupted"}
    assert build({"retry": ["none"]}, None).retried == {"interrupted", "skipped"}


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("1e2", 100), ("3.0", 3), (" 7 ", 7), ("1_0", 10), (5, 5), (5.0, 5)]
)
def test_a_whole_number_may_be_written_as_people_do(text, number):
    assert build({"seeds": text}, None).seeds == number


@pytest.mark.parametrize("text", ["012", "0x10", "1.5", "nan", "inf", "", "one", "1e400", True, "٣"])
def test_what_is_no_whole_number_is_none(text):
    assert "a whole number is wanted" in complaint({"seeds": text})


def test_a_path_may_hold_any_text(tmp_path):
    for name in ("a b", "größe", "🦊", "it's", '"', "x" * 255):
        assert build({"out": tmp_path / name}, None).out.name == name


def test_keys_that_look_alike_in_a_large_file_are_told_apart_quickly(tmp_path):
    file = sweep(tmp_path, "".join(f"k{n}: 1\n" for n in range(20_000)), "sweep.yaml")

    text = complaint(config=file)

    assert "1. " in text
    assert "nobody knows the key 'k0'" in text
    assert "And 19995 more." in text
