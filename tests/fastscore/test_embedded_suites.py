"""The fast scorer and stock lm-eval on the suites that come with the package: item by item the same."""

import pytest

from pkt_bench import plugins
from pkt_bench.domain import Knobs
from pkt_bench.models import load, load_tokenizer
from pkt_bench.scoring import score

DOCUMENTS = 25


@pytest.fixture(scope="module")
def registry():
    return plugins.load(environ={})


@pytest.fixture(scope="module")
def student(registry):
    ref = registry.pairs.get("tiny").item.student
    return load(ref, "float32", "cpu"), load_tokenizer(ref)


@pytest.mark.parametrize("name", ["knowledge", "arithmetic", "code"])
def test_every_answer_is_that_of_stock_lm_eval(registry, student, name):
    suite = registry.suites.get(name).item
    # one document at a time: in a batch stock pads what it generates from
    stock = score(*student, suite, Knobs(scorer="stock", batch_size=1, limit=DOCUMENTS))

    fast = score(*student, suite, Knobs(limit=DOCUMENTS))

    assert fast.how["requests_stock"] == 0
    assert len(fast.items) == len(stock.items) >= DOCUMENTS
    for ours, theirs in zip(fast.items, stock.items, strict=True):
        same = ("task", "metric", "filter", "doc_id", "doc_hash", "prompt_hash", "target", "value")
        assert [getattr(ours, field) for field in same] == [getattr(theirs, field) for field in same]
        if name != "knowledge":
            assert ours.response == theirs.response
    assert [each.value for each in fast.scores] == [each.value for each in stock.scores]
    assert fast.how["tokens_computed"] <= 1.1 * fast.how["tokens_distinct"]
