"""pkt-bench's own forms of the pieces that `bench_published.py` compares."""

from __future__ import annotations

import torch
from chosen import KINDS, by_scores, certified
from transformers import LlamaConfig, LlamaForCausalLM

from pkt_bench import Encoded, Locating, leading_factors
from pkt_bench_laten.align import Lesson, accumulate_gradients, frozen
from pkt_bench_laten.anatomy import KIND
from pkt_bench_laten.hypernetwork import Hypernetwork
from pkt_bench_laten.locate import Place
from pkt_bench_nuggets.sensitivity import sensitivity as summed_sensitivity
from pkt_bench_nuggets.window import best_window

MODULES = ("up_proj", "down_proj", "v_proj", "o_proj")


def model_of(inputs):
    model = LlamaForCausalLM(LlamaConfig(**inputs.numbers["config"]))
    model.load_state_dict(inputs.weights())
    return model.eval()


def records_of(inputs):
    return [Encoded(tuple(ids), prompt_length) for ids, prompt_length in inputs.numbers["records"]]


def sensitivity(inputs):
    model, records = model_of(inputs), records_of(inputs)
    every = [name for name, _ in model.named_parameters()]

    def ours(wanted):
        return lambda: summed_sensitivity(model, records, wanted).sums

    def plain():
        model.requires_grad_(True)
        for record in records:
            model(input_ids=torch.tensor([record.ids]), labels=torch.tensor([record.labels])).loss.backward()
            model.zero_grad()
        return {}

    return {
        "every parameter": ours(every),
        "the layers' parameters": ours([name for name in every if ".layers." in name]),
        "plain forward and backward": plain,
    }


def window(inputs):
    def run():
        found = best_window(inputs.tensors["scores"], inputs.numbers["rows"], inputs.numbers["columns"])
        return {"corner": torch.tensor([found.row, found.column])}

    return {"best_window": run}


def factor(inputs):
    def run():
        found = leading_factors(inputs.tensors["block"], inputs.numbers["rank"])
        return {"B": found.B, "A": found.A}

    return {"leading_factors": run}


def attribution(inputs):
    model = model_of(inputs).requires_grad_(False)
    texts = [Locating(tuple(ids), target) for ids, target in inputs.numbers["texts"]]
    counts = {kind: inputs.numbers[f"n_{kind}"] for kind in KINDS}

    def certainly():
        neurons, evaluated = certified(model, texts, "published", counts)
        return neurons | {"evaluated": torch.tensor(evaluated)}

    def variant(mode):
        return lambda: by_scores(model, texts, "published", counts, mode)

    return {"certified": certainly, "every exact score": variant("exact"), "first order": variant("first-order")}


def alignment(inputs):
    student = model_of(inputs)
    network = Hypernetwork(MODULES, inputs.numbers["teacher_hidden"], inputs.numbers["config"]["hidden_size"])
    network.load_state_dict(
        {
            name.removeprefix("hypernetwork/"): tensor
            for name, tensor in inputs.tensors.items()
            if name.startswith("hypernetwork/")
        }
    )
    layers = tuple(range(inputs.numbers["config"]["num_hidden_layers"]))
    lesson = Lesson(
        {module: inputs.tensors[f"knowledge/{module}"] for module in MODULES},
        {module: Place(layers, inputs.tensors[f"places/{KIND[module]}"]) for module in MODULES},
        records_of(inputs),
    )

    def run():
        network.zero_grad()
        with frozen(student):
            accumulate_gradients(student, network, lesson, 1000.0)
        return {name: weight.grad for name, weight in network.named_parameters()}

    return {"accumulate_gradients": run}
