"""Pico models of each family, and both scorers of one model."""

import pytest

from fastscore.asked import FAMILIES
from pkt_bench.models import LoadedPair
from pkt_bench.testing import pico_pair


@pytest.fixture(scope="session")
def of_family(tmp_path_factory):
    """A random model of a family, and a tokenizer of bytes."""
    found = {}

    def load(family, **sizes):
        key = (family, str(sizes))
        if key not in found:
            given = FAMILIES.get(family, {}) | sizes
            folder = tmp_path_factory.mktemp("family")
            loaded = LoadedPair(pico_pair(folder, family=family, teacher=given, student={}))
            found[key] = (loaded.teacher, loaded.tokenizer)
        return found[key]

    return load


@pytest.fixture(scope="session")
def scorers():
    """Stock lm-eval with batches of one, and the fast scorer with passes so short that trees have to be cut."""

    def make(model, tokenizer, *, batch_size=1, bos=True, **more):
        from lm_eval.models.huggingface import HFLM

        from pkt_bench.fastscore.lm import FastLM

        settings = {"pretrained": model, "tokenizer": tokenizer, "add_bos_token": bos, **more}
        return HFLM(batch_size=1, **settings), FastLM(batch_size=batch_size, **settings)

    return make
