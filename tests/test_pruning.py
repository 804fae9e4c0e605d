"""A smaller student cut out of a model: what is kept, what it computes, how it is healed, what is refused."""

import json
from types import SimpleNamespace

import pytest
import torch

from pkt_bench import Encoded, ModelRef, RequestError, models
from pkt_bench.pruning import Healing, Pruning, importance, prune
from pkt_bench.pruning.cutting import smaller
from pkt_bench.records_file import read_records
from pkt_bench.testing import pico_pair

WORDS = ["the cat sat on the mat", "two and two are four", "a bird in the hand", "all is well that ends well"]


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent")
    pair = pico_pair(folder, teacher={"num_hidden_layers": 4, "num_key_value_heads": 3, "tie_word_embeddings": True})
    records = folder / "records.jsonl"
    lines = [{"prompt": f"say {number}", "answer": WORDS[number % 4]} for number in range(40)]
    records.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return SimpleNamespace(ref=pair.teacher, folder=pair.teacher.path, records=records)


def forward(model, ids=(5, 6, 7, 8)):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


# ---------------------------------------------------------------- measuring


def test_the_influence_of_a_layer_is_one_minus_the_cosine_of_what_comes_and_goes(parent):
    model = models.load(parent.ref, "float32", "cpu")
    data = [Encoded((5, 6, 7), 1), Encoded((8, 9, 10, 11, 12), 1)]

    measured = importance.measure(model, data)

    for layer in range(4):
        cosines = []
        for record in data:
            with torch.no_grad():
                # what enters each layer; the last is normed, so it is compared up to there
                hidden = model(input_ids=torch.tensor([record.ids]), output_hidden_states=True).hidden_states
            if layer < 3:
                cosines.append(torch.nn.functional.cosine_similarity(hidden[layer], hidden[layer + 1], dim=-1)[0])
        if cosines:
            assert measured.influence[layer] == pytest.approx(1 - float(torch.cat(cosines).mean()), rel=1e-4)


def test_the_importance_of_a_neuron_is_the_mean_size_of_what_the_down_projection_reads(parent):
    model = models.load(parent.ref, "float32", "cpu")
    read = []
    model.model.layers[2].mlp.down_proj.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    data = [Encoded((5, 6, 7), 1), Encoded((8, 9, 10, 11, 12), 1)]

    measured = importance.measure(model, data)

    expected = torch.cat([each[0] for each in read]).abs().mean(0)
    torch.testing.assert_close(measured.neurons[2], expected.double(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("layers", "count", "kept"), [(30, 2, [0, 29]), (5, 3, [0, 2, 4]), (4, 4, [0, 1, 2, 3]), (7, 1, [0])]
)
def test_evenly_spaced_layers_have_the_first_and_the_last_among_them(layers, count, kept):
    assert importance.evenly(layers, count) == kept


def test_layers_and_neurons_that_matter_most_stay_in_order_and_of_two_alike_the_earlier():
    assert importance.most_influential([0.5, 0.1, 0.5, 0.9, 0.1], 3) == [0, 2, 3]
    assert importance.most_influential([0.1, 0.5, 0.5], 1) == [1]
    assert importance.largest(torch.tensor([1.0, 3.0, 3.0, 0.0, 2.0]), 3).tolist() == [1, 2, 4]


# ---------------------------------------------------------------- cutting


def test_without_a_layer_the_model_computes_what_its_parent_does_when_the_layer_is_stepped_over(parent):
    whole, other = (models.load(parent.ref, "float32", "cpu") for _ in range(2))
    other.model.layers = torch.nn.ModuleList([other.model.layers[index] for index in (0, 1, 3)])

    student = smaller(whole, [0, 1, 3])

    torch.testing.assert_close(forward(student), forward(other))
    assert student.config.num_hidden_layers == 3
    assert student.lm_head.weight is student.model.embed_tokens.weight


def test_neurons_that_are_cut_are_as_if_they_were_silent(parent):
    whole, silenced = (models.load(parent.ref, "float32", "cpu") for _ in range(2))
    kept = [torch.arange(0, 96, 2) for _ in range(4)]
    with torch.no_grad():
        for layer in silenced.model.layers:
            layer.mlp.down_proj.weight[:, 1::2] = 0

    student = smaller(whole, [0, 1, 2, 3], kept)

    torch.testing.assert_close(forward(student), forward(silenced), rtol=1e-4, atol=1e-5)
    assert student.config.intermediate_size == 48


@pytest.mark.parametrize("family", ["qwen2", "mistral", "gemma3_text"])
def test_what_a_configuration_says_of_each_layer_goes_with_the_layer(tmp_path, family):
    extra = {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"], "sliding_window": 4}
    pair = pico_pair(tmp_path, family=family, teacher=extra if family == "gemma3_text" else {})
    whole = models.load(pair.teacher, "float32", "cpu")

    student = smaller(whole, [0, 2])

    assert student.config.num_hidden_layers == 2
    if family == "gemma3_text":
        assert student.config.layer_types == ["sliding_attention", "full_attention"]
    assert torch.isfinite(forward(student)).all()


# ---------------------------------------------------------------- the whole


def test_a_pruned_student_is_healed_on_records_and_loads_as_any_checkpoint(parent, tmp_path):
    out, records = tmp_path / "student", read_records(parent.records)
    healing = Healing(steps=40, learning_rate=3e-3, batch_size=4)

    report = prune(parent.ref, out, Pruning(layers=3, ffn=48, healing=healing), records)

    loaded = models.load(ModelRef(out), "float32", "cpu")
    stored = json.loads((out / "pruned.json").read_text())
    assert (loaded.config.num_hidden_layers, loaded.config.intermediate_size) == (3, 48)
    assert report.loss_healed < report.loss_pruned
    assert stored["loss_healed"] == report.loss_healed
    assert (stored["records_used"], stored["records_held_out"]) == (36, 4)
    assert stored["parent_digest"] == models.checkpoint_digest(parent.ref)
    assert "favoured by construction" in stored["caveat"]
    assert models.tokenizer_digest(ModelRef(out)) == models.tokenizer_digest(parent.ref)


def test_the_same_seed_gives_the_same_student(parent, tmp_path):
    records, how = read_records(parent.records), Pruning(layers=2, healing=Healing(steps=3, batch_size=2))

    for name in ("one", "two"):
        prune(parent.ref, tmp_path / name, how, records)

    assert models.checkpoint_digest(ModelRef(tmp_path / "one")) == models.checkpoint_digest(ModelRef(tmp_path / "two"))


def test_the_command_says_what_it_did_and_what_to_do_next(parent, tmp_path, warm):
    out = tmp_path / "cut"

    answer = warm("pairs", "prune", str(parent.folder), "--out", str(out), "--keep-layers", "0,2-3")

    assert answer.code == 0
    assert "layers kept: 0, 2, 3" in answer.out
    assert f"--pair {parent.folder}:{out}" in answer.out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--layers", "9"], "the model has 4, and at least one is kept"),
        (["--layers", "4"], "nothing is cut"),
        ([], "nothing is cut"),
        (["--keep-layers", "0,7"], "the model has the layers 0 to 3"),
        (["--keep-layers", "1,0"], "name each once, in order"),
        (["--keep-layers", "x"], "write indices from 0"),
        (["--keep-layers", "0", "--layers", "2"], "Give one of them"),
        (["--ffn", "16"], "--ffn needs records"),
        (["--layers", "2", "--choose", "influence"], "needs records"),
        (["--layers", "2", "--choose", "best"], "influence or even is wanted"),
        (["--layers", "2", "--records", "absent.jsonl"], "absent.jsonl: No such file"),
        (["--layers", "2", "--heal-steps", "-1"], "at least 0 is wanted"),
        (["--layers", "2", "--heal-learning-rate", "7"], "above 0, at most 1"),
        (["--layers", "2", "--device", "cuda:9"], "--device cuda:9"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_made(parent, tmp_path, warm, flags, said):
    answer = warm("pairs", "prune", str(parent.folder), "--out", str(tmp_path / "out"), *flags)

    assert answer.code in {2, 3}
    assert said in answer.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(parent, tmp_path, warm):
    answer = warm("pairs", "prune", str(parent.folder), "--out", str(tmp_path), "--layers", "2")

    assert (answer.code, "is there already" in answer.err) == (2, True)


# ---------------------------------------------------------------- records


@pytest.mark.parametrize(
    ("line", "prompt", "answer"),
    [
        ({"prompt": "p", "answer": "a"}, "p", "a"),
        ({"question": "q", "answer": "a", "id": 3}, "q", "a"),
        ({"text": "all of it"}, "", "all of it"),
        ({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}, "u", "a"),
        ({"text": "one\u2028two\x85three"}, "", "one\u2028two\x85three"),
    ],
)
def test_records_come_in_any_of_the_usual_shapes(tmp_path, line, prompt, answer):
    (tmp_path / "r.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n\n", encoding="utf-8")

    (record,) = read_records(tmp_path / "r.jsonl")

    assert (record.prompt, record.answer) == (prompt, answer)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"text": "a"}\n{"text":', "r.jsonl:2:9: not JSON"),
        ('{"text": "a"}\n[1]', "r.jsonl:2: no record"),
        ('{"prompt": "a"}', "r.jsonl:1: no record"),
        ('{"messages": [{"role": "user", "content": "u"}]}', "r.jsonl:1: no record"),
        ('{"text": ""}', "r.jsonl:1: no record"),
        ("\n", "holds no record"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, text, said):
    (tmp_path / "r.jsonl").write_text(text, encoding="utf-8")

    with pytest.raises(RequestError, match=said):
        read_records(tmp_path / "r.jsonl")
