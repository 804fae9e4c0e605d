"""A teacher that does not fit lies partly on the disk, or in another type, and says what it would say whole."""

import dataclasses

import pytest
import torch

from pkt_bench import models
from pkt_bench.errors import ContractError
from pkt_bench.models import LoadedPair, Spread, StandIn
from pkt_bench.testing import pico_pair

IDS = torch.tensor([[5, 80, 17, 200, 3, 9]])


@pytest.fixture(scope="module", params=[False, True], ids=["head of its own", "tied"])
def pair(request, tmp_path_factory):
    return pico_pair(
        tmp_path_factory.mktemp("spread"), teacher={"tie_word_embeddings": request.param, "num_hidden_layers": 9}
    )


@pytest.fixture
def spread(pair, tmp_path):
    """No room in memory but for the least."""
    return Spread("auto", host_bytes=0, folder=tmp_path / "offloaded")


def logits(model):
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_lies_partly_on_the_disk_has_the_same_logits(pair, spread, dtype):
    whole = models.load(pair.teacher, dtype, "cpu")

    parted = models.load(pair.teacher, dtype, "cpu", spread)

    assert any(weight.is_meta for weight in parted.parameters())
    assert parted.device == torch.device("cpu")
    assert torch.equal(logits(parted), logits(whole))
    assert models.fingerprint(parted) == models.fingerprint(whole)


def test_a_weight_on_the_disk_that_is_not_finite_is_found(pair, spread, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in pair.teacher.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][3] = float("inf")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(models.IntegrityError, match=r"model\.norm\.weight holds NaN or infinity"):
        models.load(dataclasses.replace(pair.teacher, path=copy), "float32", "cpu", spread)


def test_the_teacher_alone_is_spread_and_held_in_its_own_type(pair, spread):
    loaded = LoadedPair(pair, teacher_dtype="bfloat16", spread=spread)

    assert loaded.teacher.dtype == torch.bfloat16
    assert any(weight.is_meta for weight in loaded.teacher.parameters())
    assert loaded.student.dtype == torch.float32
    assert not any(weight.is_meta for weight in loaded.student.parameters())
    loaded.check_untouched()


def test_what_is_kept_of_a_teacher_tells_the_types_apart(pair, spread):
    ways = [{}, {"teacher_dtype": "bfloat16"}, {"spread": spread}, {"teacher_dtype": "bfloat16", "spread": spread}]

    assert len({LoadedPair(pair, **way).teacher_digest for way in ways}) == 4
    assert LoadedPair(pair, teacher_dtype="float32").teacher_digest == LoadedPair(pair).teacher_digest


def test_the_stream_reads_the_teacher_in_its_type(pair):
    stream = LoadedPair(pair, teacher_dtype="bfloat16").teacher_stream()

    with stream.layer(0) as block:
        assert {weight.dtype for weight in block.parameters()} == {torch.bfloat16}


def test_a_control_cannot_change_what_lies_on_the_disk(pair, spread):
    loaded = LoadedPair(pair, stand_in=StandIn("noise", lambda model: None), spread=spread)

    with pytest.raises(ContractError, match="part of them lies on the disk"):
        _ = loaded.teacher
