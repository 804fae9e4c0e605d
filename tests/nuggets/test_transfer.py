"""Locate, extract, inject, tune on pico pairs: real models, real PEFT, real cache."""

import re
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pkt_bench import Architecture, ContractError, Control, Question
from pkt_bench.models import architecture, fingerprint
from pkt_bench.testing import pico_pair, pico_suite
from pkt_bench_nuggets import pkt_bench_methods
from pkt_bench_nuggets.extract import extract
from pkt_bench_nuggets.locate import layer_scores, locate, most_sensitive
from pkt_bench_nuggets.settings import NuggetsSettings
from pkt_bench_nuggets.skips import skip_nuggets as skip
from pkt_bench_nuggets.transfer import nuggets_transfer as transfer
from pkt_bench_nuggets.transfer import start_likeness

SIZES = {
    "plain": {},
    "grouped": {"teacher": {"num_key_value_heads": 3}, "student": {"num_key_value_heads": 2}},
    "tied": {"teacher": {"tie_word_embeddings": True}, "student": {"tie_word_embeddings": True}},
}


@pytest.fixture(
    params=[
        ("llama", "plain"),
        ("llama", "grouped"),
        ("llama", "tied"),
        ("mistral", "grouped"),
        ("qwen2", "tied"),
        ("qwen3", "grouped"),
        ("gemma2", "tied"),
    ],
    ids="-".join,
)
def pair(request, tmp_path):
    family, sizes = request.param
    return pico_pair(tmp_path, family=family, **SIZES[sizes])


def logits(model, tokens=(256, 7, 8, 9, 10)):
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits


def test_the_saved_adapter_gives_the_same_logits_on_the_untouched_student(context_of, pair, tmp_path):
    context = context_of(pair=pair)

    result = transfer(context)
    # the embedding has an adapter; without this PEFT would save the whole table beside it, and warn
    result.student.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)

    fresh = AutoModelForCausalLM.from_pretrained(pair.student.path)
    again = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(again), logits(result.student), rtol=0, atol=1e-5)
    assert (logits(again) - logits(context.pair.pristine_student)).abs().max() > 1e-3


def test_injection_does_not_move_a_logit_and_the_models_stay_as_they_were(context_of, pair):
    context = context_of(pair=pair)
    teacher, student = fingerprint(context.pair.teacher), fingerprint(context.pair.pristine_student)

    result = transfer(context)

    assert context.ledger.injection_change < 1e-4
    assert fingerprint(context.pair.teacher) == teacher
    assert fingerprint(context.pair.pristine_student) == student
    assert fingerprint(result.student.unload()) == student


def test_training_lowers_the_loss_from_where_the_plain_student_starts(context_of):
    context = context_of(settings=NuggetsSettings(rank=4, learning_rate=3e-3, epochs=10, batch_size=8))

    result = transfer(context)

    assert result.notes["final_loss"] < 4.0  # a random student's answers cost log 257 = 5.5 and more
    assert context.ledger.trainable_parameters == sum(f.numel() for f in result.payload.values())
    assert context.ledger.tokens_trained > 0


def test_blocks_come_from_the_teacher_at_the_noted_places(context_of):
    context = context_of(settings=NuggetsSettings(rank=32, modules=("q_proj",)))

    found = extract(context)

    for layer in range(2):
        path = f"model.layers.{layer}.self_attn.q_proj"
        teacher_layer, row, column = found[f"{path}.place"].tolist()
        weight = context.pair.teacher.model.layers[teacher_layer].self_attn.q_proj.weight
        block = weight[row : row + 32, column : column + 32]
        # rank 32 of a 32 x 32 block keeps all of it
        torch.testing.assert_close(found[f"{path}.B"] @ found[f"{path}.A"], block, rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_student_bit_by_bit(context_of):
    one = transfer(context_of(cache="one"))
    other = transfer(context_of(cache="other"))

    assert fingerprint(one.student) == fingerprint(other.student)


def test_another_seed_gives_another_student(context_of):
    one = transfer(context_of(seed=0))
    other = transfer(context_of(seed=1))

    assert fingerprint(one.student) != fingerprint(other.student)


def test_a_second_transfer_does_not_load_the_teacher(context_of):
    first = transfer(context_of())
    again = context_of()

    second = transfer(again)

    assert "teacher" not in vars(again.pair)
    assert fingerprint(second.student) == fingerprint(first.student)


def test_another_rank_does_not_ask_the_teacher_again(context_of):
    stages = []
    transfer(context_of())

    transfer(context_of(settings=NuggetsSettings(rank=2, learning_rate=1e-3), stages=stages))

    assert "locate" not in {stage for stage, _ in stages}


def test_students_of_two_sizes_share_the_sensitivities_of_a_teacher(context_of, tmp_path):
    small = pico_pair(tmp_path, name="small")
    wide = pico_pair(tmp_path, name="wide", student={"hidden_size": 40, "intermediate_size": 80})
    transfer(context_of(pair=small))
    second = context_of(pair=wide)
    forwards = teacher_forwards(second)

    transfer(second)

    assert forwards == []
    entries = [path for path in (tmp_path / "cache" / "sensitivity").iterdir() if path.is_dir()]
    assert len(entries) == 1


def teacher_forwards(context):
    """Counts the forward passes of a context's teacher from now on, and loads it."""
    counted = []
    context.pair.teacher.register_forward_pre_hook(lambda module, args: counted.append(module))
    return counted


@pytest.mark.parametrize("changed", [{"rank": 2}, {"split": "sqrt"}, {"origin": "ffn"}, {"structure": "row_column"}])
def test_another_rank_split_or_ablation_does_no_forward_of_the_teacher(context_of, changed):
    first = context_of()
    counted = teacher_forwards(first)
    transfer(first)
    assert len(counted) == 16  # one per seed record

    again = context_of(settings=NuggetsSettings(**{"rank": 4, "learning_rate": 1e-3, **changed}))
    counted = teacher_forwards(again)
    transfer(again)

    assert counted == []


def test_a_streamed_teacher_gives_the_blocks_of_the_resident_one(context_of, pair):
    settings = NuggetsSettings(rank=4), NuggetsSettings(rank=4, stream=True)
    contexts = [context_of(settings=given, pair=pair) for given in settings]

    resident, streamed = (extract(context) for context in contexts)

    assert "teacher" not in vars(contexts[1].pair)
    assert set(resident) == set(streamed)
    for name, values in resident.items():
        if name.endswith((".place", "layers")):
            assert torch.equal(values, streamed[name]), name
        else:
            torch.testing.assert_close(values, streamed[name], rtol=1e-4, atol=1e-5)


def test_embedding_and_head_start_from_blocks_whose_rows_are_the_same_tokens(context_of):
    context = context_of(settings=NuggetsSettings(rank=32, modules=("embed_tokens", "lm_head")))

    found = extract(context)

    table, head = context.pair.teacher.model.embed_tokens.weight, context.pair.teacher.lm_head.weight
    _, channel, first = found["model.embed_tokens.place"].tolist()
    product = found["model.embed_tokens.B"] @ found["model.embed_tokens.A"]
    torch.testing.assert_close(product, table.T[channel : channel + 32], rtol=0, atol=1e-5)
    _, top, channel = found["lm_head.place"].tolist()
    product = found["lm_head.B"] @ found["lm_head.A"]
    torch.testing.assert_close(product, head[:, channel : channel + 32], rtol=0, atol=1e-5)
    assert (first, top) == (0, 0)


@pytest.mark.parametrize(
    ("origin", "kinds"),
    [
        ("embedding", {"embed_tokens", "lm_head"}),
        ("ffn", {"gate_proj", "up_proj", "down_proj"}),
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ],
)
def test_modules_of_another_origin_are_adapted_from_a_product_of_zero(context_of, origin, kinds):
    found = extract(context_of(settings=NuggetsSettings(rank=4, origin=origin)))

    from_teacher = {name.split(".")[-2] for name in found if name.endswith(".place")}
    assert from_teacher == kinds
    for name in (name for name in found if name.endswith(".B") and name.split(".")[-2] not in kinds):
        assert not (found[name] @ found[name.removesuffix("B") + "A"]).any(), name
    assert len([name for name in found if name.endswith(".A")]) == 2 * 7 + 2


def test_rows_and_columns_are_each_those_with_the_largest_means(context_of):
    context = context_of(settings=NuggetsSettings(rank=32, modules=("o_proj",), structure="row_column"))

    found = extract(context)

    theirs = found["layers"].tolist()[0]
    name = f"model.layers.{theirs}.self_attn.o_proj.weight"
    weight, scores = context.pair.teacher.get_parameter(name), locate(context).of(name)
    rows, columns = (scores.double().mean(side).topk(32).indices.sort().values for side in (1, 0))
    path = "model.layers.0.self_attn.o_proj"
    torch.testing.assert_close(
        found[f"{path}.B"] @ found[f"{path}.A"], weight[rows][:, columns].detach(), rtol=0, atol=1e-5
    )


def test_both_splits_inject_the_same_product(context_of):
    one, other = (extract(context_of(settings=NuggetsSettings(rank=4, split=split))) for split in ("left", "sqrt"))

    name = "model.layers.0.mlp.up_proj"
    products = [found[f"{name}.B"] @ found[f"{name}.A"] for found in (one, other)]
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-6)
    sides = other[f"{name}.A"].norm(dim=1), other[f"{name}.B"].norm(dim=0)
    torch.testing.assert_close(*sides, rtol=1e-4, atol=1e-6)


def test_with_scaling_aware_the_injected_product_is_the_svd_whatever_alpha_is(context_of):
    plain = extract(context_of(settings=NuggetsSettings(rank=4)))
    aware = extract(context_of(settings=NuggetsSettings(rank=4, alpha=8, scaling_aware=True)))

    name = "model.layers.1.mlp.down_proj.B"
    torch.testing.assert_close(2 * aware[name], plain[name], rtol=1e-5, atol=1e-7)


def test_the_likeness_of_start_and_weight_is_their_ratio_of_norms_and_cosine():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False))
    model[0].weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    start = {"0": (torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0], [0.0]]))}

    said = start_likeness(model, start, ("0",), scaling=2.0)

    assert said == {"start_over_weight": pytest.approx(2 / 5), "start_weight_cosine": pytest.approx(3 / 5)}


@pytest.mark.parametrize(("rule", "expected"), [("top", [0, 1]), ("last", [1, 2])])
def test_layers_can_be_the_first_or_the_last(context_of, rule, expected):
    result = transfer(context_of(settings=NuggetsSettings(rank=2, layers=rule)))

    assert result.notes["kept_layers"] == expected


def test_random_layers_and_blocks_depend_on_the_seed_alone_and_need_no_gradient(context_of):
    stages = []
    settings = NuggetsSettings(rank=2, layers="random", structure="random")

    found = [extract(context_of(settings=settings, seed=seed, stages=stages)) for seed in (0, 0, 1)]

    places = [torch.cat([v for k, v in tensors.items() if k.endswith(".place")]) for tensors in found]
    assert torch.equal(places[0], places[1])
    assert not torch.equal(places[0], places[2])
    assert "locate" not in {stage for stage, _ in stages}


def test_scaling_is_taken_off_the_frozen_weight_as_well(context_of):
    context = context_of(settings=NuggetsSettings(rank=4, alpha=10, learning_rate=1e-3))

    transfer(context)

    assert context.ledger.injection_change < 1e-4


def test_the_payload_is_the_factors_that_moved(context_of):
    context = context_of(settings=NuggetsSettings(rank=4, modules=("up_proj",)))

    result = transfer(context)

    shapes = {name: tuple(factor.shape) for name, factor in result.payload.items()}
    assert shapes == {
        f"model.layers.{layer}.mlp.up_proj.{side}": shape
        for layer in range(2)
        for side, shape in (("A", (4, 32)), ("B", (64, 4)))
    }


def test_seed_records_that_leave_no_room_for_an_answer_are_an_error_that_says_so(context_of):
    context = context_of(settings=NuggetsSettings(rank=2, max_length=8))

    with pytest.raises(ContractError, match="none of the 16 seed records of suite 'pico' has an answer token within 8"):
        transfer(context)


def test_a_layer_scores_all_its_parameters_norms_included():
    sums = {
        "model.layers.0.mlp.up_proj.weight": torch.full((2, 2), 1.0),
        "model.layers.1.input_layernorm.weight": torch.full((3,), 2.0),
        "model.layers.1.self_attn.q_proj.bias": torch.full((1,), 0.5),
        "unsupervised": torch.tensor(7),
    }

    assert layer_scores(sums, 2) == [4.0, 6.5]


def test_of_equally_sensitive_layers_the_lower_is_kept():
    assert most_sensitive([1.0, 3.0, 1.0, 1.0, 3.0], 3) == [0, 1, 4]


# ---------------------------------------------------------------- skips


@pytest.fixture
def question(tmp_path):
    pair = pico_pair(tmp_path)

    def ask(*, same_tokenizer=True, teacher=None, student=None, control=None, **settings):
        def changed(ref, changes):
            base = architecture(ref)
            return Architecture(**{**{f: getattr(base, f) for f in base.__dataclass_fields__}, **(changes or {})})

        return skip(
            Question(
                pair=pair,
                teacher=changed(pair.teacher, teacher),
                student=changed(pair.student, student),
                same_tokenizer=same_tokenizer,
                suite=pico_suite(tmp_path),
                settings=NuggetsSettings(**settings),
                control=control,
            )
        )

    return ask


@pytest.mark.parametrize(
    ("drawn", "student", "said"),
    [
        (("structure",), {"hidden": 48, "ffn": 96, "heads": 6, "kv_heads": 6}, "matrices of the student's shape"),
        (("structure",), {}, None),
        (("layers",), {"layers": 3}, "as many layers as the student"),
        (("layers",), {}, None),
        (("layers", "structure"), {"layers": 3}, None),
        ((), {"layers": 3}, None),
    ],
)
def test_a_control_that_would_draw_the_same_is_skipped(question, drawn, student, said):
    control = Control("any", "drawn at random", settings=dict.fromkeys(drawn, "random"))

    reason = question(student=student, control=control)

    assert (reason is None) if said is None else (said in reason and "'any' would be the method itself" in reason)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({}, None),
        ({"rank": 32}, None),
        ({"rank": 33}, r"rank 33 is too large for the student's q_proj \(32, 32\); it may be 32 at most"),
        ({"student": {"layers": 4}}, "the teacher has 3 layers and the student 4"),
        ({"student": {"hidden": 64}}, r"q_proj \(32, 64\) does not fit into the teacher's \(48, 48\)"),
        ({"teacher": {"kv_heads": 2}}, r"k_proj \(32, 32\) does not fit into the teacher's \(16, 48\)"),
        ({"teacher": {"kv_heads": 2}, "modules": ("up_proj",)}, None),
        ({"student": {"tied": True}, "origin": "embedding"}, "embedding and head are tied"),
        ({"teacher": {"vocabulary": 999}}, "embed_tokens has 999 tokens and the student's"),
        ({"teacher": {"vocabulary": 999}, "student": {"tied": True}}, None),
        ({"teacher": {"family": "gpt2"}}, "the teacher is a gpt2 model; .*llama, mistral, qwen2, qwen3"),
        ({"same_tokenizer": False}, "different tokenizers"),
    ],
)
def test_a_pair_it_cannot_do_is_skipped_with_the_reason(question, case, reason):
    said = question(**case)

    assert said is None if reason is None else re.search(reason, said or "")


def test_the_plugin_offers_two_methods_and_loads_no_torch():
    code = (
        "import sys, pkt_bench_nuggets as plugin\n"
        "print([method.name for method in plugin.pkt_bench_methods()], {'torch', 'peft', 'scipy'} & set(sys.modules))"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "['nuggets', 'postpkt'] set()"


def test_the_offer_is_the_same_after_the_method_has_run(context_of):
    before = [method.transfer for method in pkt_bench_methods()]

    transfer(context_of())

    assert [method.transfer for method in pkt_bench_methods()] == before
