"""Flags and sweep files become one validated request, or one clear error before anything starts."""

import pytest

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
        ("s.yaml", "seeds: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
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
