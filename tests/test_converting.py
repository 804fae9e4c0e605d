"""GGUF files and pickled weights become a folder in Hugging Face layout once, and no number changes on the way."""

import dataclasses
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from checkpoints import pickled, write_gguf
from pkt_bench import models, resolving
from pkt_bench.domain import ModelRef, Pair
from pkt_bench.errors import IntegrityError, RequestError, UnavailableError
from pkt_bench.resolving import Terms
from pkt_bench.testing import pico_pair

IDS = torch.tensor([[5, 80, 17, 200, 3, 9]])


def logits(model):
    with torch.inference_mode():
        return model.eval()(input_ids=IDS, use_cache=False).logits


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    # widths that GGML's blocks of 32 divide, and keys shared by two heads each
    sizes = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "num_key_value_heads": 2}
    return pico_pair(tmp_path_factory.mktemp("plain"), student=sizes)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("PKT_BENCH_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def files(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    for kind in ("F32", "Q4_1"):
        write_gguf(pair.student, folder / f"student-{kind}.gguf", kind)
    return folder


@pytest.fixture(scope="module")
def converted(files, home):
    return {kind: resolving.found(resolving.side(f"{files}/student-{kind}.gguf"), Terms()) for kind in ("F32", "Q4_1")}


def test_a_gguf_file_of_plain_numbers_gives_the_model_it_was_written_from(converted, pair):
    was, now = (models.load(ref, "float32", "cpu") for ref in (pair.student, converted["F32"]))

    assert torch.equal(logits(now), logits(was))


def test_a_converted_quantised_file_has_the_very_logits_that_transformers_reads_from_it(converted, files):
    from transformers import AutoModelForCausalLM

    read = AutoModelForCausalLM.from_pretrained(files, gguf_file="student-Q4_1.gguf", dtype=torch.float32)

    now = logits(models.load(converted["Q4_1"], "float32", "cpu"))

    assert torch.equal(now, logits(read))
    assert not torch.equal(now, logits(models.load(converted["F32"], "float32", "cpu")))


def test_its_tokenizer_gives_the_same_ids(converted, pair):
    texts = ["a b", "What is 2 + 2?", "ü"]

    was, now = (models.load_tokenizer(ref) for ref in (pair.student, converted["Q4_1"]))

    assert [now.encode(text, add_special_tokens=False) for text in texts] == [
        was.encode(text, add_special_tokens=False) for text in texts
    ]


def test_a_pair_says_of_its_converted_models_in_what_they_were_kept(files, pair, converted):
    asked = Pair("p", "", resolving.side(f"{files}/student-Q4_1.gguf"), resolving.side(f"{files}/student-F32.gguf"))

    found, problems = resolving.found_pair(asked, Terms())

    assert not problems
    assert found.caveats == (
        "student-Q4_1: 4-bit weights (Q4_1), dequantised: no comparison with published scores of the original",
    )
    assert (found.teacher.label, found.student.label) == ("student-Q4_1", "student-F32")
    assert models.weight_files(found.teacher)


@pytest.mark.long
def test_it_is_converted_once_and_again_when_the_file_is_another(files, pair, converted, tmp_path):
    said = []
    copy = tmp_path / "other-name.gguf"
    shutil.copy(files / "student-Q4_1.gguf", copy)

    again = resolving.found(resolving.side(str(copy)), Terms(tell=said.append))
    write_gguf(pair.teacher, copy)
    other = resolving.found(resolving.side(str(copy)), Terms(tell=said.append))

    assert again.path == converted["Q4_1"].path
    assert other.path != again.path
    assert len(said) == 1
    assert said[0].startswith(f"converting {copy} to safetensors, once, into ")


@pytest.mark.long
def test_what_a_killed_conversion_left_is_not_taken_for_a_model(files, home, monkeypatch, tmp_path, converted):
    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path))
    half = tmp_path / "cache" / "converted" / f".{converted['F32'].path.name}"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{}")

    found = resolving.found(resolving.side(f"{files}/student-F32.gguf"), Terms())

    assert found.path.name == converted["F32"].path.name
    assert not half.exists()
    assert models.checkpoint_digest(found) == models.checkpoint_digest(converted["F32"])


def test_without_the_package_that_reads_it_the_extra_is_named(files, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UnavailableError, match=r"pip install 'pkt-bench\[gguf\]'"):
        resolving.found(resolving.side(f"{files}/student-F32.gguf"), Terms())


@pytest.mark.long
def test_a_file_that_transformers_cannot_read_is_refused_with_its_words(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 64)

    with pytest.raises(RequestError, match=r"broken\.gguf: transformers .* cannot make a model of it: "):
        resolving.found(resolving.side(str(tmp_path / "broken.gguf")), Terms())


# ---------------------------------------------------------------- pickles


def test_pickled_weights_are_converted_where_that_is_allowed_and_only_there(pair, tmp_path):
    folder = pickled(pair.student, tmp_path / "pickled")

    refused = resolving.found(ModelRef(folder), Terms())
    allowed = resolving.found(ModelRef(folder), Terms(pickle=(str(folder),)))

    assert (refused.path, refused.consents) == (folder, ())
    with pytest.raises(RequestError, match=f"--allow-pickle {folder} unpickles tensors alone"):
        models.weight_files(refused)
    assert (allowed.label, allowed.consents) == ("pickled", ("pickle",))
    assert torch.equal(
        logits(models.load(allowed, "float32", "cpu")), logits(models.load(pair.student, "float32", "cpu"))
    )


def test_a_pickle_that_holds_a_call_is_not_obeyed_even_then(pair, tmp_path):
    folder = pickled(pair.student, tmp_path / "pickled")
    victim = tmp_path / "it ran"

    class Gadget:
        def __reduce__(self):
            return Path.touch, (victim,)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"model.norm.weight": Gadget()}))

    with pytest.raises(IntegrityError, match="its pickled weights cannot be converted: "):
        resolving.found(ModelRef(folder), Terms(pickle=(str(folder),)))
    assert not victim.exists()


@pytest.mark.long
def test_a_pickle_without_a_weight_is_refused(pair, tmp_path):
    folder = pickled(pair.student, tmp_path / "pickled")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights.pop("model.layers.0.mlp.up_proj.weight")
    torch.save(weights, folder / "pytorch_model.bin")

    with pytest.raises(IntegrityError, match=r"missing keys .*model\.layers\.0\.mlp\.up_proj\.weight"):
        resolving.found(ModelRef(folder), Terms(pickle=(str(folder),)))


def test_a_consent_that_nothing_was_done_with_is_not_recorded(pair):
    ref = resolving.found(pair.student, Terms(pickle=(str(pair.student.path),), code=(str(pair.student.path),)))

    assert ref == dataclasses.replace(pair.student, consents=())


# ---------------------------------------------------------------- the real thing


SMOLLM2 = Path(__file__).parents[2] / "shared" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.long
def test_smollm2_converts_to_the_very_logits(tmp_path, monkeypatch):
    import os

    file = Path(os.environ.get("PKT_BENCH_TEST_GGUF", SMOLLM2))
    if not file.is_file():
        pytest.skip("PKT_BENCH_TEST_GGUF names no GGUF file, and ../shared/models has none")
    from transformers import AutoModelForCausalLM

    monkeypatch.setenv("PKT_BENCH_HOME", str(tmp_path))
    ref = resolving.found(resolving.side(str(file)), Terms())
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)

    assert torch.equal(logits(models.load(ref, "float32", "cpu")), logits(read))
