"""The published pieces, run from their checkouts under the libraries of their time: see `bench_published.py`.

Nothing of the published code is here. Modules are imported from the checkout, and two loops that are no functions of
their own are cut out of its text, with the replacements below made in memory.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import re
import sys
import textwrap
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import BatchEncoding, LlamaConfig, LlamaForCausalLM

REPLACED = {"torch.float16": "torch.float32", '"cuda:0"': '"cpu"', '"cuda:1"': '"cpu"'}
LINEAR = {"0": "first", "2": "second"}
"""The translator's two matrices by their number in its `Sequential`."""
FFN, ATTENTION = ["down_proj", "up_proj"], ["o_proj", "v_proj"]


# ---------------------------------------------------------------- the checkouts


def replaced(path):
    """The text of a file of a checkout, with the replacements."""
    text = Path(path).read_text()
    for old, new in REPLACED.items():
        text = text.replace(old, new)
    return text


class ReplacingLoader(SourceFileLoader):
    """Compiles the replaced text; reads and writes no bytecode."""

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return compile(replaced(path), path, "exec", dont_inherit=True)


class CheckoutFinder:
    """Finds the modules of a checkout before any others."""

    def __init__(self, checkout):
        self.checkout = checkout

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path or [str(self.checkout)], target)
        if spec and spec.origin and Path(spec.origin).is_relative_to(self.checkout):
            spec.loader = ReplacingLoader(name, spec.origin)
            return spec
        return None


def checkout(variable):
    """The checkout a variable names, its modules ready to be imported."""
    path = Path(os.environ[variable]).resolve()
    if not any(isinstance(finder, CheckoutFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, CheckoutFinder(path))
    return path


def cut(path, first, last):
    """Lines of a file, from the one that starts with `first` to before the next that starts with `last`, as code."""
    text = replaced(path)
    start = text.index("\n" + first) + 1
    return compile(textwrap.dedent(text[start : text.index("\n" + last, start) + 1]), str(path), "exec")


def model_of(inputs, model_class, config_class, **extra):
    model = model_class(config_class(**inputs.numbers["config"], **extra))
    model.load_state_dict(inputs.weights())
    return model.eval()


class Numerals:
    """A tokenizer whose texts are token ids in decimal, so that both sides read the same ones."""

    eos_token, eos_token_id, pad_token_id = " 2", 2, 2

    def encode(self, text):
        return [int(number) for number in re.findall(r"\d+", text)]

    def decode(self, token):
        return str(token)

    def __call__(self, text, max_length, **_):
        ids = torch.tensor([self.encode(text)[:max_length]])
        return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})


def written(ids):
    return " ".join(str(token) for token in ids)


# ---------------------------------------------------------------- nuggets


def nuggets_module():
    checkout("PKT_BENCH_NUGGETS_CHECKOUT")
    return importlib.import_module("extract_lora_with_sensitivity")


def sensitivity(inputs):
    published = nuggets_module()
    model = model_of(inputs, LlamaForCausalLM, LlamaConfig)
    samples = [
        {
            "messages": [
                {"role": "user", "content": written(ids[:prompt_length])},
                {"role": "assistant", "content": written(ids[prompt_length:-1])},
            ]
        }
        for ids, prompt_length in inputs.numbers["records"]
    ]
    loop = cut(published.__file__, "    sensitivity = {}", "    # select top k layers")

    def run():
        names = dict(vars(published), model=model, tokenizer=Numerals(), data=samples, device="cpu")
        exec(loop, names)
        return names["sensitivity"]

    return {"published": run}


def window(inputs):
    published, numbers = nuggets_module(), inputs.numbers

    def run():
        (row, column), _ = published.max_sens_submatrix(inputs.tensors["scores"], numbers["rows"], numbers["columns"])
        return {"corner": torch.tensor([row, column])}

    return {"published": run}


def factor(inputs):
    published = nuggets_module()

    def run():
        left, right = published.svd(inputs.tensors["block"], inputs.numbers["rank"])
        return {"B": left, "A": right}

    return {"published": run}


# ---------------------------------------------------------------- laten


def laten_model(inputs):
    path = checkout("PKT_BENCH_LATEN_CHECKOUT")
    modeling = importlib.import_module("modeling_llama")
    configuration = importlib.import_module("configuration_llama")
    model = model_of(inputs, modeling.LlamaForCausalLM, configuration.LlamaConfig, output_hidden_states=True)
    kn_class = importlib.import_module("knowledge_neurons").KnowledgeNeurons
    return path, kn_class(model, Numerals(), model_type="llama", device="cpu", FFN_MODUELS=FFN + ATTENTION)


def attribution(inputs):
    _, neurons_of = laten_model(inputs)
    layers = neurons_of.n_layers
    n_ffn, n_attention = inputs.numbers["n_ffn"], inputs.numbers["n_attention"]
    texts = [(written(ids[:-3]) + " ", written([*ids[-3:], target])) for ids, target in inputs.numbers["texts"]]

    def run():
        found = {"ffn": [], "attention": []}
        for prompt, answer in texts:
            neurons_of.get_top_attribute_layers([prompt], [answer], top_cnt=layers)
            chosen = range(layers)
            ffn = neurons_of.get_top_attribute_neurons_ffn([prompt], [answer], list(chosen), student_dim=n_ffn)
            attn = neurons_of.get_top_attribute_neurons_attn([prompt], [answer], list(chosen), student_dim=n_attention)
            found["ffn"].append(torch.tensor(ffn)[:, 1].view(layers, n_ffn))
            found["attention"].append(torch.tensor(attn)[:, 1].view(layers, n_attention))
        return {kind: torch.stack(lists) for kind, lists in found.items()}

    return {"published": run}


class KeptGradients:
    """In the place of optimiser and schedule: a step keeps the gradients and changes no weight."""

    def __init__(self, network):
        self.network, self.kept = network, {}

    def step(self):
        self.kept = {name: weight.grad for name, weight in self.network.named_parameters()}

    def zero_grad(self):
        self.network.zero_grad()


def alignment(inputs):
    path, student = laten_model(inputs)
    loop = cut(path / "train_LaTen.py", "        # Sample P-1 data", "        avg_lm_loss = ")
    layers = list(range(student.n_layers))
    places = {kind: inputs.tensors[f"places/{kind}"] for kind in ("ffn", "attention")}
    neurons = {kind: [[i, k] for i, row in enumerate(place.tolist()) for k in row] for kind, place in places.items()}
    knowledge = {module: inputs.tensors[f"knowledge/{module}"] for module in FFN + ATTENTION}
    for module in ("down_proj", "o_proj"):
        knowledge[module] = knowledge[module].transpose(1, 2).contiguous()
    translator_class = importlib.import_module("knowledge_translator").Knowledge_translator
    network = translator_class(
        FFN + ATTENTION, student.n_layers, inputs.numbers["teacher_hidden"], inputs.numbers["config"]["hidden_size"]
    )
    network.load_state_dict(
        {
            f"network.{module}.{index}.weight": inputs.tensors[f"hypernetwork/{name}.{module}"]
            for module in FFN + ATTENTION
            for index, name in LINEAR.items()
        }
    )
    items = [
        {
            "input_ids": list(ids),
            "attention_mask": [1] * len(ids),
            "labels": [-100] * prompt_length + list(ids[prompt_length:]),
        }
        for ids, prompt_length in inputs.numbers["records"]
    ]
    logger = logging.getLogger("published")
    logger.setLevel(logging.WARNING)
    optimizer = KeptGradients(network)
    names = vars(importlib.import_module("utils.utils")) | {
        "gc": importlib.import_module("gc"),
        "random": random,
        "idx": 0,
        "align_data": Selectable(items[:-1]),
        "data_point": items[-1],
        "EXTRACT_FFN_MODULE": FFN,
        "EXTRACT_ATTN_MODULE": ATTENTION,
        "knowledge_translator": network,
        "teacher_knowledge": knowledge,
        "student_knowledge": student.extract_ffn_attn_knowledge(neurons["ffn"], neurons["attention"], FFN, ATTENTION),
        "student_ffn_neurons": neurons["ffn"],
        "student_attn_neurons": neurons["attention"],
        "top_ffn_layer_idx": layers,
        "top_student_ffn_layer_idx": layers,
        "top_student_attn_layer_idx": layers,
        "student_kn": student,
        "student_model": student.model,
        "student_tokenizer": student.tokenizer,
        "mse_loss_fn": torch.nn.MSELoss(reduction="mean"),
        "optimizer": optimizer,
        "scheduler": SimpleNamespace(step=lambda: None),
        "logger": logger,
        "micro_batch_size": 1,
        "cutoff_len": inputs.numbers["cutoff"],
    }

    def variant(print_pre_loss):
        def run():
            exec(loop, dict(names, print_pre_loss=print_pre_loss))
            return {
                f"{LINEAR[index]}.{module}": gradient
                for (_, module, index, _), gradient in ((name.split("."), g) for name, g in optimizer.kept.items())
            }

        return run

    return {"published": variant(True), "published, without the pre-loss": variant(False)}


class Selectable(list):
    """A data set as far as the loop asks for one."""

    def select(self, indices):
        return [self[i] for i in indices]
