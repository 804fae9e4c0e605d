"""A side of a pair is read as it is meant, and what a user allowed holds for the model it was given for."""

import dataclasses
import json

import pytest
import torch

from checkpoints import with_code
from pkt_bench import models, pairs_file, preflight, resolving
from pkt_bench.domain import ModelRef, Pair
from pkt_bench.errors import UnavailableError
from pkt_bench.known_models import KNOWN_MODELS
from pkt_bench.resolving import Terms
from pkt_bench.testing import pico_pair

IDS = torch.tensor([[5, 80, 17, 200, 3, 9]])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return pico_pair(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    ("text", "hub", "revision", "gguf"),
    [
        ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-hf", "", ""),
        ("Qwen/Qwen2.5-3B@v1.0", "Qwen/Qwen2.5-3B", "v1.0", ""),
        ("a/b@" + "c" * 40, "a/b", "c" * 40, ""),
        ("a/b@refs/pr/3", "a/b", "refs/pr/3", ""),
        ("a/b/model.Q4_1.gguf", "a/b", "", "model.Q4_1.gguf"),
        ("a/b@main/sub/model.gguf", "a/b", "main", "sub/model.gguf"),
        ("a/b@refs/pr/3/model.gguf", "a/b", "refs/pr/3", "model.gguf"),
        ("llama-2-13b", "meta-llama/Llama-2-13b-hf", "", ""),
    ],
)
def test_a_model_of_the_hub_is_read_with_its_revision_and_file(tmp_path, monkeypatch, text, hub, revision, gguf):
    monkeypatch.chdir(tmp_path)

    assert resolving.side(text) == ModelRef(hub=hub, revision=revision, gguf=gguf)


@pytest.mark.parametrize("text", ["models/student", "./models/student", "models/missing", "./a/b", "student", "../a/b"])
def test_what_is_there_or_begins_where_something_is_there_is_a_folder(tmp_path, monkeypatch, text):
    (tmp_path / "models" / "student").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert resolving.side(text) == ModelRef((tmp_path / text).resolve())


def test_a_gguf_file_is_called_by_its_own_name(tmp_path):
    assert resolving.side(f"{tmp_path}/m.Q4_1.gguf") == ModelRef(tmp_path, name="m.Q4_1", gguf="m.Q4_1.gguf")


def test_paths_of_a_file_of_pairs_are_relative_to_it(tmp_path):
    folder = tmp_path / "there"
    (folder / "models").mkdir(parents=True)
    (folder / "mine.toml").write_text(
        '[smol]\nteacher = "models/big"\nstudent = "a/b@v1"\nsuites = ["gsm8k"]\n'
        'caveats = ["cut from the teacher"]\nlicence = "Apache-2.0"\n'
    )

    pairs, problems = pairs_file.read(folder / "mine.toml", ())

    assert not problems
    assert pairs["smol"] == Pair(
        "smol",
        "of mine.toml",
        teacher=ModelRef((folder / "models" / "big").resolve()),
        student=ModelRef(hub="a/b", revision="v1"),
        suites=("gsm8k",),
        caveats=("cut from the teacher",),
        licence="Apache-2.0",
    )


def test_names_of_known_models_are_those_of_their_pages():
    for name, model in KNOWN_MODELS.items():
        if model.hub:
            assert model.hub.count("/") == 1
            assert name.split("-")[0] in model.hub.lower(), name


# ---------------------------------------------------------------- a model with code of its own


@pytest.fixture
def coded(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    return ModelRef(with_code(pair.student, tmp_path / "coded"))


def allowed(ref):
    return resolving.found(ref, Terms(code=(str(ref.path),)))


def test_code_of_a_model_is_refused_unless_it_is_allowed(coded):
    with pytest.raises(UnavailableError, match=f"--trust-remote-code {coded.path}"):
        models.check_family(coded)

    models.check_family(allowed(coded))


def test_code_that_is_allowed_is_run(coded, pair):
    ref = allowed(coded)

    model = models.load(ref, "float32", "cpu")
    preflight._load_empty(ref)

    assert ref.consents == ("remote-code",)
    plain = models.load(pair.student, "float32", "cpu")
    with torch.inference_mode():
        assert torch.equal(model(input_ids=IDS).logits, 2 * plain(input_ids=IDS).logits)
    assert models.load_tokenizer(ref).encode("ab") == models.load_tokenizer(pair.student).encode("ab")


def test_the_code_is_part_of_what_the_model_is(coded):
    before = models.checkpoint_digest(allowed(coded))

    (coded.path / "mini.py").write_text((coded.path / "mini.py").read_text().replace("* 2", "* 3"))

    assert models.checkpoint_digest(allowed(coded)) != before


def test_code_in_another_repository_is_refused_even_then(coded):
    config = json.loads((coded.path / "config.json").read_text())
    config["auto_map"]["AutoConfig"] = "somebody/else--mini.MiniConfig"
    (coded.path / "config.json").write_text(json.dumps(config))

    with pytest.raises(UnavailableError, match="its code lies in another repository"):
        models.check_family(allowed(coded))


def test_what_was_allowed_is_among_the_caveats_of_the_pair(coded, pair):
    found, _ = resolving.found_pair(Pair("p", "", pair.teacher, coded), Terms(code=(str(coded.path),)))

    assert models.caveats(found) == ("coded: code that comes with it was run, as the user allowed",)


def test_a_consent_for_one_model_is_none_for_another(coded, pair, tmp_path):
    other = dataclasses.replace(coded, path=with_code(pair.student, tmp_path / "other"))

    assert resolving.found(other, Terms(code=(str(coded.path),))).consents == ()
