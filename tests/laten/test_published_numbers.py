"""What the published code, or a float64 oracle of it, computes on two tiny pairs: `golden` says where it is."""

from __future__ import annotations

import pytest
import torch

from pkt_bench import Locating, locating
from pkt_bench.data import Encoded, alignment_batches
from pkt_bench_laten.align import Lesson, accumulate_gradients, one_cycle
from pkt_bench_laten.anatomy import weights_of
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.inject import merge, take
from pkt_bench_laten.internals import read_internals
from pkt_bench_laten.locate import Place, choose_places, ranked, score

MODULES = ("up_proj", "down_proj", "v_proj", "o_proj")
KIND = {"up_proj": "ffn", "down_proj": "ffn", "v_proj": "attn", "o_proj": "attn"}
ROLES = ("teacher", "student")
NAMES = {"ffn": "ffn", "attention": "attn", "layer_ffn": "layer_ffn", "layer_attention": "layer_attn"}


def examples(golden):
    return [Locating(tuple(r["input_ids"]), r["target_id"]) for r in golden.manifest["locate_bos"]]


def ref_places(golden, role, prefix, layers):
    return {
        module: Place(tuple(layers[f"{role}/{KIND[module]}"]), golden.tensor(f"{prefix}/{role}/{KIND[module]}").long())
        for module in MODULES
    }


def as_vectors(tensor, module):
    """Stored columns [K, d, n] as one neuron per row."""
    return tensor if module in ("up_proj", "v_proj") else tensor.transpose(1, 2)


def given_hypernetwork(golden, teacher, student):
    network = Hypernetwork(MODULES, teacher.config.hidden_size, student.config.hidden_size)
    network.load_state_dict(
        {
            f"{part}.{module}": golden.tensor(f"hyper/{module}/{name}")
            for module in MODULES
            for part, name in (("first", "W1"), ("second", "W2"))
        }
    )
    return network


def test_the_locating_text_is_cut_before_the_last_meaningful_token(golden):
    found = [locating(prompt, answer, golden.tokenizer, bos=True) for prompt, answer in golden.records]

    assert found == examples(golden)


def test_the_locating_text_without_a_begin_token_is_the_published_one_of_alignment(golden):
    found = [locating(prompt, answer, golden.tokenizer, bos=False) for prompt, answer in golden.records]

    expected = golden.manifest["align_records"]
    assert [(list(f.ids), f.target) for f in found] == [(r["locate_ids_no_bos"], r["locate_target"]) for r in expected]


@pytest.mark.parametrize("role", ROLES)
def test_hooks_on_a_stock_model_read_the_internals_of_the_patched_one(golden, role):
    texts = [example.ids for example in examples(golden)]

    found = read_internals(golden.model(role), texts)

    for name in ("x", "a", "r", "c", "m", "self_value", "context"):
        expected = golden.tensor(f"internals/{role}/fp32/rec0/{name}")
        close = 2e-5 * expected.abs().max().item()
        torch.testing.assert_close(getattr(found, name)[0], expected, rtol=0, atol=close, msg=name)
    outputs = golden.tensor(f"internals/{role}/fp32/rec0/h")
    torch.testing.assert_close((found.r + found.m)[0], outputs, rtol=0, atol=2e-5 * outputs.abs().max().item())
    torch.testing.assert_close(found.last[0], outputs[-1], rtol=0, atol=2e-5 * outputs.abs().max().item())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("norm", "stored"), [("rms", "rms"), ("published", "ni")])
@pytest.mark.parametrize(("attention", "mode"), [("self", "attn_self"), ("sum", "attn_sum")])
def test_float32_scores_are_the_float64_ones(golden, role, norm, stored, attention, mode):
    found = score(golden.model(role), examples(golden)[:2], norm=norm, attention=attention, mode="exact")

    for name, kind in {**NAMES, "attention": mode}.items():
        for record in (0, 1):
            expected = golden.tensor(f"exact64/{role}/rec{record}/{kind}_{stored}")
            got = getattr(found, name)[record].double()
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5, msg=f"{name} {record}")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("records", "label"), [((0,), "rec0"), ((0, 1), "rec0+1")])
def test_the_selected_layers_and_neurons_are_the_float64_ones_up_to_ties(golden, role, records, label):
    k = golden.manifest["K"]
    counts = {"ffn": golden.manifest["n_ffn"], "attention": golden.manifest["n_attn"]}

    found = score(golden.model(role), examples(golden)[:2], norm="rms", attention="self", mode="exact")
    total = found.total(records)

    for name, count in counts.items():
        kind = NAMES[name]
        layers = sorted(ranked(getattr(total, f"layer_{name}"), k).tolist())
        assert layers == golden.manifest["exact64"]["layers"][f"{role}/{kind}/{label}"]
        expected = golden.tensor(f"exact64_neurons/{role}/{kind}/{label}").long()
        got = ranked(getattr(total, name)[layers], count)
        exact = sum(
            golden.tensor(f"exact64/{role}/rec{r}/{'attn_self' if kind == 'attn' else kind}_rms") for r in records
        )
        swapped = exact[layers].gather(1, got) - exact[layers].gather(1, expected)
        assert (got != expected).float().mean() < 0.2
        assert swapped.abs().max() < 1e-5


@pytest.mark.parametrize("role", ROLES)
def test_float64_scores_select_exactly_the_published_lists(golden, role):
    k = golden.manifest["K"]
    counts = {"ffn": golden.manifest["n_ffn"], "attention": golden.manifest["n_attn"]}
    model = golden.model(role, torch.float64)

    total = score(model, examples(golden)[:2], norm="rms", attention="self", mode="exact").total((0, 1))

    for name, count in counts.items():
        layers = sorted(ranked(getattr(total, f"layer_{name}"), k).tolist())
        got = ranked(getattr(total, name)[layers], count)
        assert torch.equal(got, golden.tensor(f"exact64_neurons/{role}/{NAMES[name]}/rec0+1").long())


def test_places_of_both_models_have_the_published_sizes_and_layers(golden):
    scores = {
        role: score(golden.model(role), examples(golden)[:1], norm="rms", attention="self", mode="exact").total((0,))
        for role in ROLES
    }

    teacher, student = choose_places(scores["teacher"], scores["student"], golden.manifest["rate"], MODULES)

    exact = golden.manifest["exact64"]["layers"]
    for module in MODULES:
        size = golden.manifest["n_ffn" if KIND[module] == "ffn" else "n_attn"]
        assert list(teacher[module].layers) == exact[f"teacher/{KIND[module]}/rec0"]
        assert list(student[module].layers) == exact[f"student/{KIND[module]}/rec0"]
        assert teacher[module].neurons.shape == student[module].neurons.shape == (golden.manifest["K"], size)


def test_the_taken_neurons_are_the_published_knowledge_bit_for_bit(golden):
    places = ref_places(golden, "teacher", "ref_neurons", golden.manifest["ref_selected_layers"])

    taken = take(weights_of(golden.model("teacher")), places)

    for module in MODULES:
        expected = as_vectors(golden.tensor(f"knowledge/teacher/{module}"), module)
        assert torch.equal(taken[module].half(), expected)


def test_translation_merging_and_logits_are_the_float32_ones(golden):
    teacher, student = golden.model("teacher"), type(golden.model("student"))(golden.model("student").config)
    student.load_state_dict(golden.model("student").state_dict())
    student.eval()
    layers = golden.manifest["ref_selected_layers"]
    probe = torch.tensor([golden.manifest["probe_ids"]])
    network = given_hypernetwork(golden, teacher, student)

    with torch.no_grad():
        before = student(probe).logits[0, -12:]
        deltas = network(take(weights_of(teacher), ref_places(golden, "teacher", "ref_neurons", layers)))
        ratios = merge(student, ref_places(golden, "student", "ref_neurons", layers), deltas)
        after = student(probe).logits[0, -12:]

    for module in MODULES:
        expected = as_vectors(golden.tensor(f"translated/fp32/{module}"), module)
        torch.testing.assert_close(deltas[module], expected, rtol=0, atol=1e-5)
        assert ratios[module] == pytest.approx(golden.manifest["delta_over_weight"][module], rel=1e-2)
    names = [name for name in golden.manifest["merged_ref_fp16_sha256"] if f"merged/fp32/{name}" in stored(golden)]
    assert len(names) >= 4
    for name in names:
        expected = golden.tensor(f"merged/fp32/{name}")
        torch.testing.assert_close(student.get_parameter(name).detach(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(before, golden.tensor("logits/student_fp32"), rtol=0, atol=1e-4)
    torch.testing.assert_close(after, golden.tensor("logits/injected_fp32"), rtol=0, atol=1e-4)


def stored(golden):
    from safetensors import safe_open

    with safe_open(golden.folder / "laten.safetensors", "pt") as file:
        return set(file.keys())


def first_step(golden, masked):
    """Gradients and losses of the published step 0 with the prompt masked as the entry `masked` of a record says."""
    teacher, student = golden.model("teacher"), golden.model("student")
    step = golden.manifest["step0"]
    network = given_hypernetwork(golden, teacher, student)
    knowledge = {module: as_vectors(golden.tensor(f"step0/knowledge/{module}"), module).float() for module in MODULES}
    records = [golden.manifest["align_records"][i] for i in step["batch_indices"]]
    lesson = Lesson(
        knowledge,
        ref_places(golden, "student", "step0/neurons", step["selected_layers"]),
        [Encoded(tuple(record["input_ids"]), record[masked]) for record in records],
    )
    return network, accumulate_gradients(student, network, lesson, 1000.0)


def norms(network):
    return {
        module: torch.cat([network.first[module].grad.flatten(), network.second[module].grad.flatten()]).norm().item()
        for module in MODULES
    }


def test_a_step_with_exactly_the_prompt_masked_has_the_oracles_losses_and_gradients(golden):
    oracle = golden.manifest["step0"]["fp32_oracle_correct_labels"]

    network, loss = first_step(golden, "prompt_tokens")

    assert list(loss.records) == pytest.approx(oracle["lm_loss"], rel=1e-5)
    assert loss.magnitude == pytest.approx(oracle["mse"], rel=1e-4)
    total = sum(loss.records) + 1000 * len(loss.records) * loss.magnitude
    assert total == pytest.approx(oracle["total_loss"], rel=1e-5)
    assert norms(network) == pytest.approx(oracle["grad_norm"], rel=1e-4)


def test_a_step_with_the_published_mask_has_the_oracles_gradients_entry_by_entry(golden):
    network, _ = first_step(golden, "masked_by_reference")

    for module in MODULES:
        for part, name in ((network.first, "W1"), (network.second, "W2")):
            expected = golden.tensor(f"step0/grad_fp32/{module}/{name}")
            assert (part[module].grad - expected).norm() < 1e-4 * expected.norm()


def test_learning_rate_and_beta_cycle_as_published(golden):
    for label, expected in golden.manifest["schedule"].items():
        steps, peak = (float(part.split("=")[1]) for part in label.split(","))

        cycle = [one_cycle(step, int(steps), peak) for step in range(int(steps))]

        assert [rate for rate, _ in cycle] == pytest.approx(expected["lr"], abs=1e-9)
        assert [beta for _, beta in cycle] == pytest.approx(expected["beta1"], abs=1e-9)


def test_a_step_draws_the_published_records(golden):
    for label, steps in golden.manifest["batch_composition"].items():
        available = int(label.removeprefix("n="))

        batches = alignment_batches(["x"], range(available), steps=len(steps), batch_size=16, seed=0, order_seed=0)

        assert [batch[1:] for batch in batches] == steps
