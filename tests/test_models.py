"""A checkpoint is checked on its way in: what transformers lets pass is refused, and the pristine is guaranteed."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from pkt_bench import models
from pkt_bench.domain import ModelRef
from pkt_bench.errors import ContractError, IntegrityError
from pkt_bench.testing import pico_pair


@pytest.fixture
def pair(tmp_path):
    return pico_pair(tmp_path)


def rewritten(ref, change):
    file = ref.path / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_missing_weight_is_refused_instead_of_filled_in_at_random(pair):
    rewritten(pair.student, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))

    with pytest.raises(IntegrityError, match=r"missing keys.*model\.layers\.1\.mlp\.up_proj\.weight"):
        models.load(pair.student, "float32", "cpu")


def test_an_unexpected_weight_is_refused(pair):
    rewritten(pair.student, lambda tensors: tensors.update(extra=torch.zeros(2)))

    with pytest.raises(IntegrityError, match=r"unexpected keys.*extra"):
        models.load(pair.student, "float32", "cpu")


def test_a_weight_that_is_not_finite_is_refused_and_named(pair):
    rewritten(pair.student, lambda tensors: tensors["model.norm.weight"].fill_(float("nan")))

    with pytest.raises(IntegrityError, match=r"model\.norm\.weight holds NaN or infinity"):
        models.load(pair.student, "float32", "cpu")


def test_the_digest_notices_one_altered_byte_and_not_the_folder(pair, tmp_path):
    before = models.checkpoint_digest(pair.student)
    file = pair.student.path / "model.safetensors"
    moved = pair.student.path.rename(tmp_path / "elsewhere")
    elsewhere = models.checkpoint_digest(ModelRef(moved))
    content = bytearray((moved / file.name).read_bytes())
    content[-5] ^= 1
    (moved / file.name).write_bytes(bytes(content))

    assert elsewhere == before
    assert models.checkpoint_digest(ModelRef(moved)) != before


def test_the_architecture_is_what_the_configuration_says(tmp_path):
    pair = pico_pair(tmp_path, student={"num_key_value_heads": 2, "tie_word_embeddings": True})

    read = models.architecture(pair.student)

    assert (read.family, read.hidden, read.ffn, read.layers) == ("llama", 32, 64, 2)
    assert (read.heads, read.kv_heads, read.head_dim, read.vocabulary, read.tied) == (4, 2, 8, 257, True)


def test_parameters_are_counted_from_the_headers(pair):
    counted = models.parameter_count(pair.student)

    assert counted == sum(p.numel() for p in models.load(pair.student, "float32", "cpu").parameters())


def test_a_header_that_lies_about_its_length_is_refused(pair):
    file = pair.student.path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 1 << 40) + file.read_bytes()[8:])

    with pytest.raises(IntegrityError, match="is not a safetensors file"):
        models.weight_files(pair.student)


def test_a_shard_that_the_index_names_must_be_there(pair):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (pair.student.path / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(IntegrityError, match=r"model-00001-of-00002\.safetensors is named in the checkpoint's index"):
        models.weight_files(pair.student)


def test_a_change_of_the_teacher_is_noticed_however_small(pair):
    loaded = models.LoadedPair(pair)
    with torch.no_grad():
        loaded.teacher.model.embed_tokens.weight[5, 5] += 1e-6

    with pytest.raises(ContractError, match="changed the teacher in place"):
        loaded.check_untouched()


def test_the_student_may_be_changed_and_the_pristine_one_stays(pair):
    loaded = models.LoadedPair(pair)
    before = loaded.pristine_student.model.norm.weight.clone()
    with torch.no_grad():
        loaded.student.model.norm.weight += 1

    loaded.check_untouched()

    assert torch.equal(loaded.pristine_student.model.norm.weight, before)
