"""Checkpoints in other forms than a folder of safetensors: GGUF files, pickles, models with code of their own."""

import json
import shutil

import numpy as np
from safetensors.torch import load_file

CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class MiniConfig(LlamaConfig):
    model_type = "minichat"


class MiniForCausalLM(LlamaForCausalLM):
    config_class = MiniConfig

    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.logits = out.logits * 2
        return out
"""


def write_gguf(ref, file, kind="F32"):
    """A pico Llama as llama.cpp would write it, its layers' matrices in `kind`."""
    import gguf

    config = json.loads((ref.path / "config.json").read_text())
    tokenizer = json.loads((ref.path / "tokenizer.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    tokens = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    # a merge is asked for: of bytes that are in no text, in the place of a third
    (unused,) = (number for number, text in tokens.items() if text == "õ")
    tokens[unused] = "ÀÁ"
    tokens |= {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    special = {token["id"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([tokens[number] for number in range(len(tokens))])
    writer.add_token_types([3 if number in special else 1 for number in range(len(tokens))])
    writer.add_token_merges(["À Á"])
    (end,) = special
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        **{f"self_attn.{side}_proj": f"attn_{side}" for side in "qkv"},
        "self_attn.o_proj": "attn_output",
        **{f"mlp.{part}_proj": f"ffn_{part}" for part in ("gate", "up", "down")},
    }
    for name, tensor in load_file(ref.path / "model.safetensors").items():
        array = tensor.float().numpy()
        called = name.replace("model.layers.", "blk.")
        for theirs, ours in names.items():
            called = called.replace(f"{theirs}.weight", f"{ours}.weight")
        for part, count in (("attn_q", heads), ("attn_k", kv_heads)):
            if part in called:
                # llama.cpp rotates neighbouring channels, transformers the two halves
                array = array.reshape(count, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        if kind != "F32" and called.startswith("blk.") and array.ndim == 2:
            how = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(called, gguf.quants.quantize(np.ascontiguousarray(array), how), raw_dtype=how)
        else:
            writer.add_tensor(called, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pickled(ref, folder):
    """A copy of a checkpoint with its weights as torch saves them."""
    import torch

    shutil.copytree(ref.path, folder)
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    return folder


def with_code(ref, folder):
    """A copy of a Llama that is built by code in its folder: its logits are twice what they were."""
    shutil.copytree(ref.path, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"], config["architectures"] = "minichat", ["MiniForCausalLM"]
    config["auto_map"] = {"AutoConfig": "mini.MiniConfig", "AutoModelForCausalLM": "mini.MiniForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mini.py").write_text(CODE)
    return folder
