"""The published implementation's numbers where they are, and a hand-built context over a pico pair."""

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from pkt_bench import TransferContext
from pkt_bench.models import LoadedPair
from pkt_bench.stages import StageCache
from pkt_bench.testing import pico_pair, pico_suite
from pkt_bench_nuggets.settings import NuggetsSettings

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "parity"


@dataclass(frozen=True)
class Golden:
    """One tiny pair with what the published code computed on it."""

    folder: Path

    @functools.cached_property
    def manifest(self):
        return json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))["seeking"]

    def tensor(self, name):
        with safe_open(self.folder / "seeking.safetensors", "pt") as file:
            return file.get_tensor(name)

    def names(self, prefix):
        with safe_open(self.folder / "seeking.safetensors", "pt") as file:
            return [name.removeprefix(prefix) for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118

    def model(self, role):
        return AutoModelForCausalLM.from_pretrained(self.folder / role, dtype=torch.float32).eval()


@pytest.fixture(scope="session", params=["pair-a", "pair-b"])
def golden(request):
    folder = GOLDENS / request.param
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the published numbers must be there under CI: {folder}")
        pytest.skip(f"the published numbers are not on this machine: {folder}")
    return Golden(folder)


@pytest.fixture
def context_of(tmp_path):
    """Builds the context a cell would get: a random pair on disk, a suite, settings, a seed."""

    def build(*, settings=None, seed=0, pair=None, cache="cache", stages=None):
        seen = [] if stages is None else stages
        return TransferContext(
            pair=LoadedPair(pair or pico_pair(tmp_path)),
            suite=pico_suite(tmp_path),
            settings=settings or NuggetsSettings(rank=4, learning_rate=1e-3),
            seed=seed,
            device="cpu",
            cache=StageCache(tmp_path / cache),
            report=lambda stage, fraction: seen.append((stage, fraction)),
        )

    return build
