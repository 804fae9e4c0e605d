"""The JSON Schema of sweep files takes whatever the program takes, and is tight enough to find what people mistype."""

import ast
import contextlib
import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import PLUGIN
from pkt_bench import executors, planning, plugins, request, sweep_schema
from pkt_bench.errors import RequestError, UnavailableError
from pkt_bench.settings import parse_settings
from rich_settings import Rich

ROOT = Path(__file__).resolve().parents[1]
NEEDS_OTHERS = {"pairs_file", "data_dir", "plugins"}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "pico_plugin.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def registry(plugin):
    return plugins.load([plugin])


@pytest.fixture(scope="module")
def schema(registry):
    return sweep_schema.of_sweep_files(registry)


@pytest.fixture(scope="module")
def validator(schema):
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def refused(registry, tmp_path_factory):
    """Why the program refuses a sweep file with these values, models and data aside; None where it takes it."""
    file = tmp_path_factory.mktemp("sweeps") / "sweep.yaml"

    def ask(values):
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        try:
            asked = request.build({}, file)
            methods = registry.methods.expand(asked.methods)
            planning.controls_of(methods, asked.controls, registry)
            for name in asked.track:
                registry.trackers.get(name)
            with contextlib.suppress(UnavailableError):
                executors.choose(asked.executor, asked.settings, registry)
            others = [*executors.BUILT_IN.values(), *(o.item for o in (*registry.executors, *registry.trackers))]
            models = {each.name: each.settings for each in others}
            for name in (*asked.settings, *asked.sweep):
                if name in models and name not in asked.sweep:
                    parse_settings(name, models[name], asked.settings[name])
                else:
                    planning.chosen_settings(asked, registry.methods.get(name))
        except RequestError as error:
            return str(error)
        return None

    return ask


def test_the_schema_is_one_and_knows_every_key_and_setting(schema, registry):
    jsonschema.Draft202012Validator.check_schema(schema)

    tables = schema["properties"]["settings"]["properties"]
    assert set(schema["properties"]) == {"$schema", *request.KEYS}
    assert "assigned" not in schema["properties"]
    assert all(told["description"] for told in schema["properties"].values())
    for offer in (*registry.methods, *registry.executors, *registry.trackers):
        for name in (offer.item.name, f"{offer.distribution}/{offer.item.name}"):
            table = schema["$defs"][tables[name]["$ref"].removeprefix("#/$defs/")]
            assert set(table["properties"]) == set(offer.item.settings.model_fields)
            assert table["additionalProperties"] is False
    assert set(schema["properties"]["sweep"]["properties"]) == {
        name for offer in registry.methods for name in (offer.item.name, f"{offer.distribution}/{offer.item.name}")
    }


def test_a_setting_has_its_default_its_bounds_and_its_description(schema):
    rank = schema["$defs"]["LoraSettings"]["properties"]["rank"]

    assert (rank["default"], rank["description"]) == (16, "Rank of the adapter.")
    assert rank["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 4096}


def test_installed_names_are_offered(schema):
    def offered(key):
        return schema["properties"][key]["anyOf"][0]["enum"]

    assert {"all", "lora", "nuggets:random-blocks", "scale"} <= set(offered("methods"))
    assert {"all", "random-blocks", "noise-norm"} <= set(offered("controls"))
    assert {"tiny", "pico"} <= set(offered("pairs"))
    assert {"arithmetic", "pico"} <= set(offered("suites"))
    assert offered("executor") == ["process", "inline", "ray"]
    assert offered("track") == ["trackio", "wandb"]


GOOD = [
    {},
    {"$schema": "./sweep.schema.json"},
    {"methods": "all", "seeds": "1e2", "limit": 1e1, "batch_size": "auto", "slots": "4"},
    {"methods": ["student", "nuggets:random-blocks", "pkt-bench/lora"], "controls": "all"},
    {"methods": ["PKT_bench/lora", "nuggets:pkt-bench/random-blocks"], "executor": "pkt-bench/process"},
    {"methods": "lora, nuggets,", "controls": ["random-blocks", "noise-norm,noise-spectrum"]},
    {"pairs": ["meta-llama/Llama-2-13b-hf@main:pico/student", "mine"], "suites": "arc_easy", "tasks": ["mmlu"]},
    {"budget": {"tokens": 1e6, "seconds": 0.5, "steps": "2e2"}},
    {"budget": "tokens=1e6,steps=200"},
    {"budget": ["tokens=1e6", "steps = 200,seconds=60"]},
    {"cell_seconds": "2h30m", "cell_memory": "8GiB", "cell_disk": "1.5 gb"},
    {"cell_seconds": 600, "cell_memory": 2**30, "cell_disk": None},
    {"device": "cuda:1", "dtype": "bfloat16", "offline": True, "fresh": "yes", "executor": "inline"},
    {"settings": {"lora": {"rank": "8", "init": "olora", "learning_rate": 1e-3, "modules": "q_proj,v_proj"}}},
    {"settings": {"lora": {"learning_rate": "1e-3,2e-3", "train_records": "none", "alpha": None}}},
    {"settings": {"nuggets:random-blocks": {"rank": 4}, "pkt-bench/laten": {"ranking": "none", "stream": False}}},
    {"settings": {"wandb": {"project": "mine", "mode": "offline"}, "ray": {"retries": 0}}},
    {"sweep": {"nuggets": {"rank": [4, "8"], "split": ["left", "sqrt"], "learning_rate": [[1e-3, 2e-3], 1e-3]}}},
]
BAD = [
    ({"metods": ["lora"]}, "did you mean 'methods'"),
    ({"assigned": ["lora"]}, "nobody knows the key 'assigned'"),
    ({"methods": ["latan"]}, "did you mean 'laten'"),
    ({"methods": "lora,latan"}, "did you mean 'laten'"),
    ({"controls": ["random-bloks"]}, "has a control 'random-bloks'"),
    ({"track": "wandbb"}, "did you mean 'wandb'"),
    ({"executor": "proces"}, "did you mean 'process'"),
    ({"retry": "faled"}, "did you mean 'failed'"),
    ({"seeds": 0}, "at least 1 is wanted"),
    ({"seeds": True}, "a whole number is wanted"),
    ({"seeds": "many"}, "a whole number is wanted"),
    ({"batch_size": "aut"}, "a whole number or auto is wanted"),
    ({"dtype": "float23"}, "did you mean 'float32'"),
    ({"device": "cdua"}, "a torch device is wanted"),
    ({"budget": {"token": 5}}, "did you mean 'tokens'"),
    ({"budget": "token=5"}, "did you mean 'tokens'"),
    ({"budget": {"steps": 0}}, "a number above 0 is wanted"),
    ({"cell_seconds": "10 minutes"}, "a time above 0 is wanted"),
    ({"cell_memory": 1000}, "at least 1mib is wanted"),
    ({"settings": {"lroa": {"rank": 8}}}, "did you mean 'lora'"),
    ({"settings": {"lora": {"rnk": 8}}}, "did you mean 'lora.rank'"),
    ({"settings": {"lora": {"rank": 0}}}, "at least 1 is wanted"),
    ({"settings": {"lora": {"rank": True}}}, "a whole number is wanted"),
    ({"settings": {"lora": {"init": "olara"}}}, "did you mean 'olora'"),
    ({"settings": {"lora": {"modules": ["q_prj"]}}}, "did you mean 'q_proj'"),
    ({"settings": {"lora": {"modules": "q_prj"}}}, "did you mean 'q_proj'"),
    ({"settings": {"lora": {"learning_rate": []}}}, "at least 1 of them"),
    ({"settings": {"pkt-bench/lora": {"rnk": 8}}}, "did you mean"),
    ({"settings": {"lora": 8}}, "settings is a table of tables"),
    ({"settings": {"wandb": {"mode": "ofline"}}}, "did you mean 'offline'"),
    ({"sweep": {"lora": {"rank": 8}}}, "give a list of the values to try"),
    ({"sweep": {"lora": {"rank": []}}}, "give a list of the values to try"),
    ({"sweep": {"lora": {"rank": [0]}}}, "at least 1 is wanted"),
]


@pytest.mark.parametrize("values", GOOD, ids=str)
def test_what_is_right_is_taken_by_the_schema_and_by_the_program(validator, refused, values):
    assert refused(values) is None
    assert [error.message for error in validator.iter_errors(values)] == []


@pytest.mark.parametrize(("values", "said"), BAD, ids=str)
def test_what_people_mistype_is_refused_by_the_schema_and_by_the_program(validator, refused, values, said):
    assert not validator.is_valid(values)
    assert said in refused(values).lower()


# what the program refuses and a schema cannot see
UNSEEN = [
    ({"seeds": "1e9"}, "at most 1000 is allowed"),
    ({"settings": {"lora": {"rank": "0"}}}, "at least 1 is wanted"),
    ({"settings": {"lora": {"init": "orthogonal", "rank": 3}}}, "3 is odd"),
    ({"settings": {"lora": {"rank": 4}}, "sweep": {"lora": {"rank": [4]}}}, "leave one of them out"),
    ({"retry": ["all", "failed"]}, "all and none stand alone"),
    ({"methods": [""]}, "nothing is selected"),
    ({"methods": ["lora"], "controls": ["random-blocks"]}, "none of the methods chosen has a control"),
]


@pytest.mark.parametrize(("values", "said"), UNSEEN, ids=str)
def test_what_a_schema_cannot_see_is_refused_by_the_program(validator, refused, values, said):
    assert validator.is_valid(values)
    assert said in refused(values)


# ---------------------------------------------------------------- agreement


NUMBERS = st.one_of(
    st.integers(-2, 20),
    st.sampled_from([2**20, 2**40, 1.0, 3.0, 0.5, 1e-3, 1e6, -1.5, True, False]),
    st.sampled_from(["8", "1e6", "1_000", "+4", " 7 ", "0.25", ".5", "5.", "1e-3", "-3", "012", "nan", "inf", ""]),
)
AMOUNTS = st.sampled_from(["8GB", "8 gib", "1.5MB", "10m", "2h30m", "10 m", "1B", "600", "none", "auto", "null"])
WORDS = st.sampled_from(
    ["all", "none", "lora", "lora,nuggets", " laten ,", ",", "yes", "off", "TRUE", "float32", "cpu"]
)
PLAIN = st.one_of(NUMBERS, AMOUNTS, WORDS, st.none())
ANY = st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.dictionaries(WORDS, PLAIN, max_size=2))
TABLES = [
    "lora",
    "laten",
    "nuggets",
    "postpkt",
    "kd",
    "pkt-bench/pissa",
    "nuggets:random-blocks",
    "ray",
    "wandb",
    "lroa",
]


def likely(field):
    """Values that a field may take, by what its schema offers."""
    text = json.dumps(field)
    words = [word for part in field.get("anyOf", [field]) for word in part.get("enum", ())]
    shown = [st.just(field["default"])] if "default" in field else []
    shown += [st.sampled_from(words), st.lists(st.sampled_from(words), max_size=2)] if words else []
    shown += [NUMBERS, st.lists(NUMBERS, min_size=1, max_size=3)] if '"integer"' in text or '"number"' in text else []
    return st.one_of(*shown, ANY)


def files(schema):
    """Sweep files, right or wrong, more often right than chance would have it."""
    properties = schema["properties"]
    keys = [key for key in request.KEYS if key not in {"settings", "sweep", *NEEDS_OTHERS}]

    def table(name):
        of = schema["$defs"].get(properties["settings"]["properties"].get(name, {}).get("$ref", "")[8:], {})
        fields = of.get("properties", {"rank": {}})
        return st.sampled_from(sorted(fields)).flatmap(lambda key: likely(fields[key]).map(lambda value: {key: value}))

    tables = st.sampled_from(TABLES).flatmap(lambda name: table(name).map(lambda fields: {name: fields}))
    swept = st.sampled_from(TABLES).flatmap(
        lambda name: st.lists(table(name), min_size=1, max_size=2).map(
            lambda several: {name: {key: [each[key] for each in several if key in each] for key in several[0]}}
        )
    )
    plain = st.sampled_from(keys).flatmap(lambda key: likely(properties[key]).map(lambda value: {key: value}))
    parts = st.one_of(plain, tables.map(lambda made: {"settings": made}), swept.map(lambda made: {"sweep": made}))
    return st.lists(parts, min_size=1, max_size=2).map(
        lambda several: {k: v for part in several for k, v in part.items()}
    )


def test_whatever_the_program_takes_the_schema_takes(schema, validator, refused):
    seen = {True: 0, False: 0}

    @settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(files(schema))
    @example({"budget": {}})
    @example({"budget": {"seconds": "1e1"}})
    @example({"settings": {"laten": {"stream": 1}}})
    def agree(values):
        taken = refused(values) is None
        seen[taken] += 1
        if taken:
            assert [error.message for error in validator.iter_errors(values)] == []

    agree()

    # neither is an accident
    assert min(seen.values()) > 50


def test_whatever_rich_settings_take_their_schema_takes():
    made = sweep_schema.of_settings("mine", Rich)
    judge = jsonschema.Draft202012Validator(made)
    values = st.one_of(
        ANY,
        st.sampled_from(
            ['{"start": 1}', '[{"start": 1}]', "red,blue", "red", "[1, 2]", "0.9,0.5", "a/b", '{"a": 1}', "none,1"]
        ),
        st.fixed_dictionaries({}, optional={"start": NUMBERS, "end": NUMBERS, "strat": NUMBERS}),
        st.lists(st.fixed_dictionaries({"start": NUMBERS}), max_size=2),
        st.lists(st.sampled_from(["red", "blue", "bleu"]), max_size=2),
        st.dictionaries(st.sampled_from("ab"), NUMBERS, max_size=2),
    )
    seen = {True: 0, False: 0}

    @settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from([key for key in made["properties"] if key != "hook"]), values)
    def agree(field, value):
        asked = {"steps": 3} | {field: value}
        try:
            parse_settings("mine", Rich, asked)
        except RequestError:
            seen[False] += 1
            return
        seen[True] += 1
        assert [error.message for error in judge.iter_errors(asked)] == []

    agree()

    assert min(seen.values()) > 50
    assert not judge.is_valid({"steps": 3, "window": {"strat": 1}})
    assert not judge.is_valid({"steps": 3, "depth": 3})
    assert not judge.is_valid({"steps": 3, "beginning": 1})
    assert not judge.is_valid({"window": {}})


def test_every_sweep_file_of_the_readmes_and_of_the_tests_is_taken(validator, refused):
    texts = [
        node.value
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "=" in node.value
    ]
    for file in ROOT.rglob("README.md"):
        texts += [block.partition("\n```")[0] for block in file.read_text(encoding="utf-8").split("```toml\n")[1:]]
    taken = []
    for text in texts:
        with contextlib.suppress(tomllib.TOMLDecodeError):
            values = tomllib.loads(text)
            if {*values} & {*request.KEYS} and not {*values} & NEEDS_OTHERS and refused(values) is None:
                taken.append(values)

    assert len(taken) > 5
    assert any("nuggets" in values.get("sweep", {}) for values in taken)
    assert [error.message for values in taken for error in validator.iter_errors(values)] == []


# ---------------------------------------------------------------- the command


def test_the_command_prints_the_schema_with_a_plugin_file(pkt_bench, plugin, schema):
    answer = pkt_bench("schema", "--plugin", plugin)

    assert (answer.code, answer.err) == (0, "")
    assert json.loads(answer.out) == json.loads(json.dumps(schema))


def test_the_schema_of_one_method_is_printed_alone(pkt_bench):
    made = json.loads(pkt_bench("schema", "nuggets:random-blocks").out)

    assert made["title"] == "Settings of nuggets:random-blocks"
    assert jsonschema.Draft202012Validator(made).is_valid({"rank": 4, "split": "left"})
    assert not jsonschema.Draft202012Validator(made).is_valid({"rnk": 4})


def test_a_schema_of_nobody_offers_the_nearest(pkt_bench):
    answer = pkt_bench("schema", "lroa")

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("pkt-bench: no method, executor or tracker is called 'lroa'. Did you mean 'lora'?\n")


def test_a_key_for_editors_is_passed_over(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("$schema: ./sweep.schema.json\nseeds: 2\n")

    assert request.build({}, file).seeds == 2
