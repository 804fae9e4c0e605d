"""Training one checkpoint: rows packed from documents, two data-parallel ranks of one thread each.

Everything that decides the result is fixed: seeds, number of steps, number of ranks, order of documents.
Wall time decides nothing.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .pretraining import PROMPT_WEIGHT, Reader, documents

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

RANKS: Final = 2
LENGTH: Final = 256
POSITIONS: Final = 512


@dataclass(frozen=True)
class Recipe:
    """The size of one model and how it is trained."""

    hidden: int
    layers: int
    feed_forward: int
    steps: int
    rows: int
    muon_lr: float
    adam_lr: float
    seed: int

    @property
    def tokens(self) -> int:
        """Tokens read in training, padding included."""
        return self.steps * self.rows * LENGTH


RECIPES: Final[dict[Reader, Recipe]] = {
    "teacher": Recipe(160, 5, 432, steps=1100, rows=24, muon_lr=0.02, adam_lr=0.007, seed=1),
    "student": Recipe(128, 4, 344, steps=700, rows=16, muon_lr=0.02, adam_lr=0.009, seed=2),
}


def config_of(recipe: Recipe, end: int) -> "LlamaConfig":
    """The Llama configuration of a recipe: heads of 32 channels, tied embeddings."""
    from transformers import LlamaConfig

    heads = recipe.hidden // 32
    return LlamaConfig(
        vocab_size=1024,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=32,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )


def pack(reader: Reader, tokenizer: "PreTrainedTokenizerBase", rows: int) -> "tuple[Tensor, Tensor]":
    """Pack whole documents into rows: ids and loss weights, each (rows, LENGTH + 1).

    A row is END document END document ... END; what does not fit opens the next row.
    """
    import torch

    end = tokenizer.eos_token_id
    ids = torch.full((rows, LENGTH + 1), end, dtype=torch.long)
    weights = torch.zeros((rows, LENGTH + 1))
    row, at = 0, 1
    stream = documents(reader)
    while True:
        chunk = [next(stream) for _ in range(2000)]
        prompts = tokenizer([d.prompt for d in chunk], add_special_tokens=False)["input_ids"]
        answers = tokenizer([d.answer for d in chunk], add_special_tokens=False)["input_ids"]
        for prompt, answer in zip(prompts, answers, strict=True):
            size = len(prompt) + len(answer) + 1
            if at + size > LENGTH + 1:
                row, at = row + 1, 1
                if row == rows:
                    return ids, weights
            ids[row, at : at + size] = torch.tensor([*prompt, *answer, end])
            weights[row, at : at + len(prompt)] = PROMPT_WEIGHT
            weights[row, at + len(prompt) : at + size] = 1.0
            at += size


def loss_of(model: "LlamaForCausalLM", ids: "Tensor", weights: "Tensor") -> "Tensor":
    """Mean weighted cross-entropy of the next token. Shapes: ids and weights (rows, LENGTH + 1)."""
    from torch.nn import functional as F  # noqa: N812  the name torch's own documentation uses

    logits = model(input_ids=ids[:, :-1]).logits
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    kept = weights[:, 1:].flatten()
    return (losses * kept).sum() / kept.sum()


def _train_rank(rank: int, job: tuple[Reader, Recipe, str, int]) -> None:
    import torch
    import torch.distributed as dist
    from transformers import AutoTokenizer, LlamaForCausalLM

    from .muon import Muon

    reader, recipe, folder, port = job
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(mode=True)
    meeting = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=RANKS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(config_of(recipe, tokenizer.eos_token_id))
    model.train()
    ids, weights = pack(reader, tokenizer, recipe.steps * recipe.rows)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, lr=recipe.muon_lr),
        torch.optim.AdamW(others, lr=recipe.adam_lr, betas=(0.9, 0.98), eps=1e-10, weight_decay=0.0),
    ]
    peaks = (recipe.muon_lr, recipe.adam_lr)
    parameters = list(model.parameters())
    warm = max(1, round(0.02 * recipe.steps))
    share = recipe.rows // RANKS
    started = time.perf_counter()
    for step in range(recipe.steps):
        factor = min((step + 1) / warm, (recipe.steps - step) / (recipe.steps - warm))
        first = step * recipe.rows + rank * share
        loss = loss_of(model, ids[first : first + share], weights[first : first + share])
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        dist.all_reduce(gradient)
        gradient /= RANKS
        at = 0
        for p in parameters:
            p.grad = gradient[at : at + p.numel()].view_as(p)
            at += p.numel()
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if rank == 0 and (step % 50 == 0 or step == recipe.steps - 1):
            seconds = time.perf_counter() - started
            line = f"{reader} step {step} loss {loss.item():.4f} {seconds:.0f} s"
            print(line, flush=True)  # noqa: T201  a command line program shows its progress
    if rank == 0:
        model.bfloat16().save_pretrained(folder)
        # stored in bfloat16, computed in float32: what from_pretrained does without being told
        model.config.dtype = torch.float32
        model.config.save_pretrained(folder)
        (Path(folder) / "model.safetensors").chmod(0o644)
    dist.barrier()
    dist.destroy_process_group()


def train(reader: Reader, recipe: Recipe, folder: Path) -> None:
    """Train one checkpoint on `RANKS` processes and save it to `folder`, where its tokenizer is."""
    import socket

    import torch.multiprocessing as mp

    # Without these the allocator gives memory back and asks for it again at every step.
    os.environ.update(
        MALLOC_MMAP_THRESHOLD_="1073741824",
        MALLOC_TRIM_THRESHOLD_="1073741824",
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(  # type: ignore[attr-defined]
        _train_rank, ((reader, recipe, str(folder), port),), nprocs=RANKS
    )
