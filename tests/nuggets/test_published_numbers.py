"""What the published implementation computes on two tiny pairs: `golden` says where its numbers are."""

import functools

import pytest
import torch

from pkt_bench import AdapterSettings, Encoded, add_adapter, leading_factors
from pkt_bench_nuggets.locate import layer_scores, most_sensitive
from pkt_bench_nuggets.sensitivity import sensitivity
from pkt_bench_nuggets.window import best_window


@functools.lru_cache(maxsize=2)
def located(golden):
    teacher = golden.model("teacher")
    records = [Encoded(tuple(seed["input_ids"]), seed["prompt_tokens"]) for seed in golden.manifest["seeds"]]
    names = [name for name, _ in teacher.named_parameters()]
    return teacher, sensitivity(teacher, records, names)


def kept(golden):
    teacher, found = located(golden)
    layers = teacher.config.num_hidden_layers
    return most_sensitive(layer_scores(found.sums, layers), len(golden.manifest["kept_layers"]))


@functools.lru_cache(maxsize=2)
def extracted(golden):
    """Student parameter -> (teacher parameter, window, factors), by this plugin's functions."""
    teacher, found = located(golden)
    weights = dict(teacher.named_parameters())
    layers = kept(golden)
    blocks = {}
    for name, expected in golden.manifest["windows"].items():
        parts = name.split(".")
        source = ".".join([*parts[:2], str(layers[int(parts[2])]), *parts[3:]]) if "layers" in name else name
        scores, weight = found.sums[source], weights[source].detach()
        if expected["transposed"]:
            scores, weight = scores.T, weight.T
        rows, columns = expected["target_shape"]
        window = best_window(scores, rows, columns)
        block = weight[window.row : window.row + rows, window.column : window.column + columns]
        blocks[name] = (source, window, leading_factors(block, golden.manifest["rank"]))
    return blocks


def test_sensitivities_are_the_published_ones(golden):
    _, found = located(golden)

    for name, total in golden.manifest["sensitivity_param_sums"].items():
        assert float(found.sums[name].double().sum()) == pytest.approx(total, rel=1e-4)
    for name in golden.names("sens/full/"):
        expected = golden.tensor(f"sens/full/{name}")
        torch.testing.assert_close(found.sums[name], expected, rtol=0, atol=1e-4 * float(expected.max()))
    for axis, kind in ((1, "rowsum"), (0, "colsum")):
        for name in golden.names(f"sens/{kind}/"):
            expected = golden.tensor(f"sens/{kind}/{name}")
            ours = found.sums[name].sum(axis)
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_the_kept_layers_are_the_published_ones(golden):
    teacher, found = located(golden)

    scores = layer_scores(found.sums, teacher.config.num_hidden_layers)

    assert scores == pytest.approx(golden.manifest["layer_scores"], rel=1e-4)
    assert kept(golden) == golden.manifest["kept_layers"]
    ranking = sorted(range(len(scores)), key=lambda layer: -scores[layer])
    assert ranking == golden.manifest["layer_ranking"]


def test_every_window_has_the_published_corner(golden):
    found = extracted(golden)

    assert len(found) >= 23
    for name, expected in golden.manifest["windows"].items():
        source, window, _ = found[name]
        assert (source, [window.row, window.column]) == (expected["teacher"], expected["corner"]), name
        assert window.total == pytest.approx(expected["window_sum"], rel=1e-4), name


def test_singular_values_and_products_are_the_published_ones(golden):
    found = extracted(golden)

    for name in golden.names("svals/"):
        expected = golden.tensor(f"svals/{name}")
        torch.testing.assert_close(found[name][2].singular_values, expected, rtol=1e-4, atol=0)
    for name, expected in golden.manifest["windows"].items():
        product = found[name][2].B @ found[name][2].A
        assert float(product.norm()) == pytest.approx(expected["ba_fro"], rel=1e-3), name
    for name in golden.names("BA/"):
        expected = golden.tensor(f"BA/{name}")
        factors = found[name.removesuffix(".first64rows")][2]
        product = (factors.B @ factors.A)[: expected.shape[0]]
        assert (product - expected).norm() <= 1e-3 * expected.norm(), name


def test_injection_leaves_the_students_logits_and_freezes_the_published_weights(golden):
    student = golden.model("student")
    probe = torch.tensor([golden.manifest["probe_ids"]])
    start = {
        name.removesuffix(".weight"): (factors.A, factors.B) for name, (_, _, factors) in extracted(golden).items()
    }
    settings = AdapterSettings(rank=golden.manifest["rank"], alpha=golden.manifest["alpha"])

    model = add_adapter(student, settings, start).eval()

    with torch.no_grad():
        logits = model(input_ids=probe).logits[0, -12:]
    torch.testing.assert_close(logits, golden.tensor("logits/student"), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits, golden.tensor("logits/injected_eval"), rtol=0, atol=1e-3)
    for name in golden.names("frozen/"):
        expected = golden.tensor(f"frozen/{name}")
        frozen = student.get_submodule(name.removesuffix(".weight")).base_layer.weight
        assert (frozen - expected).norm() <= 1e-3 * expected.norm(), name
    with torch.no_grad(), model.disable_adapter():
        shifted = model(input_ids=probe).logits[0, -12:]
    expected = golden.tensor("logits/frozen_base_without_adapter")
    assert (shifted - expected).abs().max() <= 1e-2 * expected.abs().max()
    with torch.no_grad():
        untouched = golden.model("student")(input_ids=probe).logits[0, -12:]
    torch.testing.assert_close(untouched, golden.tensor("logits/student"), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["sens/full", "sens/rowsum", "sens/colsum", "svals", "BA", "frozen", "logits"])
def test_every_kind_of_number_is_there_to_be_compared(golden, kind):
    assert len(golden.names(f"{kind}/")) >= 3
