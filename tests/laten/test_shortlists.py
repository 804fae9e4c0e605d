"""Lists by bounds are those of the table of all scores, through a model, resident and streamed."""

import pytest
import torch

from pkt_bench.models import fingerprint
from pkt_bench_laten.locate import choose_places, score_views
from pkt_bench_laten.located import locate
from pkt_bench_laten.shortlists import NAMES, Counts, Shortlists, shortlists
from pkt_bench_laten.transfer import transfer

MODULES = ("up_proj", "down_proj", "v_proj", "o_proj")
SHAPES = [{}, {"num_key_value_heads": 2}]


@pytest.mark.parametrize("shape", SHAPES, ids=["multi-head", "grouped"])
def test_lists_by_bounds_choose_the_places_of_the_table(pico_contexts, shape):
    make = pico_contexts(shape, shape)

    table, lists = (locate(make(ranking=ranking)) for ranking in ("table", "bounds"))

    assert isinstance(lists.teacher, Shortlists)
    assert (table.notes["ranking"], lists.notes["ranking"]) == ("table", "bounds")
    assert 0 < lists.notes["evaluated_share"]["teacher"] <= 1
    for expected, found in [
        (table.final(0.5, MODULES), lists.final(0.5, MODULES)),
        (table.final(0.2, MODULES), lists.final(0.2, MODULES)),
        *((table.places([i], 0.1, MODULES), lists.places([i], 0.1, MODULES)) for i in range(6)),
    ]:
        for role in (0, 1):
            for module in MODULES:
                assert expected[role][module].layers == found[role][module].layers
                assert torch.equal(expected[role][module].neurons, found[role][module].neurons), module
    assert table.sizes() == lists.sizes()


def test_the_students_that_come_of_both_are_the_same(pico_contexts):
    make = pico_contexts()

    table, lists = (transfer(make(ranking=ranking)) for ranking in ("table", "bounds"))

    for name, weight in table.student.state_dict().items():
        assert torch.equal(weight, lists.student.state_dict()[name]), name
    assert table.notes["neurons"] == lists.notes["neurons"]


def test_a_list_longer_than_what_is_known_is_refused(pico_contexts):
    located = locate(pico_contexts()(ranking="bounds", rate=0.1, inject_rates=(0.2,)))

    with pytest.raises(ValueError, match="of the best ffn neurons are asked for, and 8 are known"):
        located.final(0.5, ("up_proj",))
    with pytest.raises(ValueError, match="lists are known of"):
        located.places([0, 1, 2, 3, 4, 5], 0.1, ("up_proj",))


def test_one_deciding_record_serves_its_own_step_too_whatever_the_rates_are(pico_contexts):
    settings = {"locate_records": 1, "rate": 0.5, "inject_rates": (0.1,), "steps": 7, "inject_steps": (7,)}
    make = pico_contexts()

    table, lists = (transfer(make(ranking=ranking, **settings)) for ranking in ("table", "bounds"))

    assert fingerprint(lists.student) == fingerprint(table.student)


def test_first_order_scores_are_always_a_table(pico_contexts):
    located = locate(pico_contexts()(ranking="bounds", scores="first-order"))

    assert located.notes["ranking"] == "table"


def test_the_rankings_of_a_record_alone_and_of_those_that_decide_are_told_apart(pico_contexts, pico_model):
    from pkt_bench import Locating
    from pkt_bench_laten.locate import view

    model = pico_model(3)
    seen = view(model, [Locating((3, 5, 7), 9), Locating((8, 1), 4)], norm="rms", attention="self")
    counts = dict.fromkeys(NAMES, 5)

    lists = Shortlists(shortlists(seen, (1, 0), Counts(counts, counts)), (1, 0))

    scores = score_views(seen, "exact")
    for examples in [(0,), (1,), (1, 0)]:
        expected = choose_places(scores.total(examples), scores.total(examples), 0.1, MODULES)
        found = choose_places(lists.total(examples), lists.total(examples), 0.1, MODULES)
        for module in MODULES:
            assert torch.equal(expected[0][module].neurons, found[0][module].neurons)
