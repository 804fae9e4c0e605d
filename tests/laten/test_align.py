"""Injection by hooks against merged weights, gradients against a dense plain step, and the training loop."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from pkt_bench import PktBenchError
from pkt_bench.data import Encoded
from pkt_bench_laten.align import Lesson, accumulate_gradients, align, frozen, mean_loss, one_cycle, record_losses
from pkt_bench_laten.anatomy import weights_of
from pkt_bench_laten.batching import groups_by_length
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.inject import injected, merge, take
from pkt_bench_laten.locate import Place

MODULES = ("up_proj", "down_proj", "v_proj", "o_proj")
RECORDS = [
    Encoded((1, 4, 9, 22, 7, 5), 3),
    Encoded((1, 8, 2), 1),
    Encoded(tuple(range(2, 40)), 20),
    Encoded((1, 60, 61), 2),
]


@pytest.fixture
def setting(pico_model):
    """A pico student, a larger hypernetwork than the initial one, random neurons and places."""
    student = pico_model(7, num_key_value_heads=2)
    torch.manual_seed(11)
    network = Hypernetwork(MODULES, 32, 24)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.15)
    sizes = {"up_proj": 40, "down_proj": 40, "v_proj": 12, "o_proj": 24}
    places = {m: Place((0, 1, 2), torch.stack([torch.randperm(sizes[m])[:5] for _ in range(3)])) for m in MODULES}
    knowledge = {m: torch.randn(3, 5, 32) for m in MODULES}
    return student, network, Lesson(knowledge, places, RECORDS)


def weight_names(module):
    part = "mlp" if module in ("up_proj", "down_proj") else "self_attn"
    return [f"model.layers.{layer}.{part}.{module}.weight" for layer in range(3)]


def dense_step(student, network, lesson, penalty):
    """The published step, plainly: per record a dense delta for every weight, a translation, a forward of its own."""
    base = {name: weight.detach() for name, weight in student.named_parameters()}
    total = torch.zeros(())
    for record in lesson.records:
        deltas = network(lesson.knowledge)
        changed = dict(base)
        for module in MODULES:
            for layer, name in enumerate(weight_names(module)):
                dense, neurons = torch.zeros_like(base[name]), lesson.places[module].neurons[layer]
                if module in ("up_proj", "v_proj"):
                    dense[neurons] = deltas[module][layer]
                else:
                    dense[:, neurons] = deltas[module][layer].T
                changed[name] = base[name] + dense
        ids, labels = torch.tensor([record.ids]), torch.tensor([record.labels])
        total = total + functional_call(student, changed, (), {"input_ids": ids, "labels": labels}).loss
        total = total + penalty * sum(delta.pow(2).mean() for delta in deltas.values())
    total.backward()
    return total.item()


def test_one_sparse_step_has_the_loss_and_gradients_of_the_dense_step_per_record(setting):
    student, network, lesson = setting
    expected_loss = dense_step(student, network, lesson, 1000.0)
    expected = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    network.zero_grad()

    with frozen(student):
        loss = accumulate_gradients(student, network, lesson, 1000.0)

    assert sum(loss.records) + 1000 * len(RECORDS) * loss.magnitude == pytest.approx(expected_loss, rel=1e-5)
    for name, weight in network.named_parameters():
        assert (weight.grad - expected[name]).norm() < 1e-5 * expected[name].norm(), name


def test_gradients_reach_the_hypernetwork_and_nothing_else(setting):
    student, network, lesson = setting

    with frozen(student):
        accumulate_gradients(student, network, lesson, 1000.0)

    assert all(weight.grad is not None for weight in network.parameters())
    assert all(weight.grad is None for weight in student.parameters())
    assert all(weight.requires_grad for weight in student.parameters())


def test_hooks_and_merged_weights_give_the_same_student(setting):
    student, network, lesson = setting
    deltas = {module: delta.detach() for module, delta in network(lesson.knowledge).items()}
    ids = torch.tensor([RECORDS[2].ids])
    with torch.no_grad():
        untouched = student(ids).logits

        with injected(student, lesson.places, deltas):
            hooked = student(ids).logits
        after = student(ids).logits
        merge(student, lesson.places, deltas)
        merged = student(ids).logits

    assert torch.equal(after, untouched)
    assert (merged - untouched).abs().max() > 0.1
    torch.testing.assert_close(hooked, merged, rtol=0, atol=1e-4)


def test_merging_changes_the_chosen_rows_and_columns_by_the_delta_and_no_other_byte(setting):
    student, network, lesson = setting
    deltas = {module: delta.detach() for module, delta in network(lesson.knowledge).items()}
    before = {name: weight.clone() for name, weight in student.state_dict().items()}

    ratios = merge(student, lesson.places, deltas)

    expected = dict(before)
    for module in MODULES:
        for layer, name in enumerate(weight_names(module)):
            expected[name] = before[name].clone()
            neurons = lesson.places[module].neurons[layer]
            if module in ("up_proj", "v_proj"):
                expected[name][neurons] += deltas[module][layer]
            else:
                expected[name][:, neurons] += deltas[module][layer].T
        old = torch.stack([before[name] for name in weight_names(module)])
        assert ratios[module] == pytest.approx((deltas[module].norm() / old.norm()).item(), rel=1e-5)
    assert all(torch.equal(weight, expected[name]) for name, weight in student.state_dict().items())


def test_taken_neurons_are_copies(setting):
    student, _, lesson = setting

    taken = take(weights_of(student), lesson.places)
    taken["down_proj"].zero_()

    neurons = lesson.places["down_proj"].neurons[1]
    assert student.model.layers[1].mlp.down_proj.weight[:, neurons].abs().min() > 0


def test_losses_in_padded_groups_are_those_of_each_record_alone(setting):
    student, _, _ = setting

    together = record_losses(student, RECORDS)

    for index, record in enumerate(RECORDS):
        own = student(input_ids=torch.tensor([record.ids]), labels=torch.tensor([record.labels])).loss
        assert together[index].item() == pytest.approx(own.item(), rel=1e-5)
    assert mean_loss(student, RECORDS) == pytest.approx(together.mean().item(), rel=1e-6)


def test_a_step_without_effect_penalises_nothing_and_starts_at_the_students_loss(setting):
    student, _, lesson = setting
    fresh = Hypernetwork(MODULES, 32, 24)

    with frozen(student):
        loss = accumulate_gradients(student, fresh, lesson, 1000.0)

    assert sum(loss.records) / len(RECORDS) == pytest.approx(mean_loss(student, RECORDS), rel=1e-5)
    assert loss.magnitude < 1e-12
    assert fresh.size == 4 * 32 * (32 + 24)


def run(setting, keep=(2, 4), rate=1e-2):
    student, network, lesson = setting
    return align(
        student,
        network,
        lambda _step: lesson,
        steps=max(keep),
        total_steps=6,
        learning_rate=rate,
        weight_decay=0.05,
        magnitude_penalty=1.0,
        keep=keep,
        progress=lambda _fraction: None,
    )


def test_alignment_lowers_its_loss_and_keeps_the_weights_after_the_asked_steps(setting):
    network = setting[1]

    checkpoints, losses = run(setting)

    assert len(losses) == 4
    assert sum(losses[-1].records) < sum(losses[0].records)
    assert sorted(checkpoints) == [2, 4]
    assert all(torch.equal(checkpoints[4][name], weight) for name, weight in network.state_dict().items())
    assert not torch.equal(checkpoints[2]["first.up_proj"], checkpoints[4]["first.up_proj"])


def test_alignment_that_diverges_says_so_instead_of_going_on(setting):
    lesson = setting[2]
    lesson.knowledge["up_proj"].fill_(1e30)

    with pytest.raises(PktBenchError, match=r"laten: alignment step 1 .*\n  Lower laten.learning_rate"):
        run(setting)


@pytest.mark.parametrize("steps", [2, 9, 20, 32])
def test_the_cycle_is_that_of_torch(steps):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-4, betas=(0.9, 0.95))
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-4, total_steps=steps, pct_start=0.1, final_div_factor=1
    )

    for step in range(steps):
        rate, beta = one_cycle(step, steps, 3e-4)

        group = optimizer.param_groups[0]
        assert rate == pytest.approx(group["lr"], rel=1e-9)
        assert beta == pytest.approx(group["betas"][0], rel=1e-9)
        optimizer.step()
        if step + 1 < steps:
            torchs.step()


def test_the_cycle_of_ten_steps_starts_at_its_peak_where_torch_divides_by_zero():
    assert one_cycle(0, 10, 1.0) == pytest.approx((1.0, 0.85))
    assert one_cycle(9, 10, 1.0) == pytest.approx((0.04, 0.95))


def test_groups_hold_every_sequence_once_within_the_token_budget():
    lengths = [5, 100, 7, 30, 30, 2000, 1]

    groups = groups_by_length(lengths, 120)

    assert sorted(index for group in groups for index in group) == list(range(7))
    assert [5] in groups
    assert all(len(g) * max(lengths[i] for i in g) <= 120 for g in groups if g != [5])
