"""What a method says of its training is compared with what was seen; what cannot be true is said under the board."""

import json

import pytest
import torch

from pkt_bench import Method, Settings, Transferred, witness
from pkt_bench.transfer import Ledger

PLAIN = Method("mine", "a method", "post-align", lambda context: None, Settings, uses="nothing")


def trained(ids, steps=2):
    """An embedding, trained on these ids: a step for each time."""
    layer = torch.nn.Embedding(10, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with witness.watching() as seen:
        for _ in range(steps):
            layer(torch.tensor(ids)).sum().backward()
            optimizer.step()
        with torch.no_grad():
            layer(torch.tensor(ids))
    return seen


def said(seen, method=PLAIN, payload=None, teacher_used=False, **booked):
    ledger = Ledger(**booked)
    return witness.contradictions(seen, ledger, method, Transferred(None, payload=payload), teacher_used=teacher_used)


def test_steps_sizes_and_tokens_are_counted_and_what_is_asked_without_gradients_is_not():
    seen = trained([[1, 2, 3], [4, 5, 6]])

    assert seen.as_json() == {
        "steps_at_least": 2,
        "steps_at_most": 2,
        "trained_at_least": 40,
        "trained_at_most": 40,
        "tokens_at_least": 3,  # half of the six after the first step
        "tokens_at_most": 12,
    }


def test_what_looks_like_padding_at_either_end_is_not_held_against_a_method():
    seen = trained([[1, 2, 0, 0, 0, 0], [0, 0, 0, 3, 4, 5]])

    # of the first row 1 2 0, of the second 0 3 4 5
    assert int(seen.unpadded[torch.device("cpu")]) == 7
    assert said(seen, tokens_trained=10) == []


@pytest.mark.parametrize(
    ("booked", "words"),
    [
        ({"trainable_parameters": 39}, "trainable_parameters is 39, and optimisers changed 40 numbers"),
        ({"trainable_parameters": 41}, "trainable_parameters is 41, and optimisers changed 40 numbers"),
        ({"steps": 1}, "1 optimiser steps were booked, and 2 were made"),
        ({"tokens_trained": 13}, "tokens_trained is 13, and 12 tokens, padding included"),
        ({"tokens_trained": 2}, "tokens_trained is 2, and 12 tokens, padding included"),
    ],
)
def test_what_was_booked_wrongly_is_said(booked, words):
    (sentence,) = said(trained([[1, 2, 3], [4, 5, 6]]), **booked)

    assert sentence.startswith(words)


def test_nothing_is_said_where_it_was_booked_rightly_or_not_at_all_or_in_part_by_an_earlier_attempt():
    seen = trained([[1, 2, 3], [4, 5, 6]])

    assert said(seen, trainable_parameters=40, steps=2, tokens_trained=12) == []
    assert said(seen) == []
    assert said(seen, steps=1, inherited_seconds=1.0) == []


def test_two_optimisers_that_make_one_step_together_may_be_booked_as_one_or_as_two():
    layers = [torch.nn.Embedding(10, 4), torch.nn.Embedding(10, 4)]
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in layers]
    with witness.watching() as seen:
        for _ in range(3):
            sum(layer(torch.tensor([1, 2])).sum() for layer in layers).backward()
            for optimizer in optimizers:
                optimizer.step()

    assert [said(seen, steps=steps) for steps in (3, 6)] == [[], []]
    assert said(seen, steps=2) == ["2 optimiser steps were booked, and 3 to 6 were made"]


def test_training_by_hand_is_not_seen_and_not_accused():
    with witness.watching() as seen:
        pass

    assert said(seen, trainable_parameters=5, steps=3, tokens_trained=70) == []


@pytest.mark.parametrize(
    ("uses", "teacher_used", "payload", "words"),
    [
        ("nothing", True, None, "uses='nothing' is declared, and the teacher's weights were loaded"),
        ("nothing", False, {"w": torch.ones(1)}, "uses='nothing' is declared, and payload names tensors"),
        ("weights", False, None, "uses='weights' is declared, and the teacher was never loaded"),
        ("outputs", True, {}, "uses='outputs' is declared, and payload={} says that nothing moved"),
    ],
)
def test_what_is_said_of_the_teacher_is_compared_with_what_was_done_with_it(uses, teacher_used, payload, words):
    method = Method("mine", "a method", "post-align", lambda context: None, Settings, uses=uses)

    (sentence,) = said(witness.Seen(), method, payload, teacher_used)

    assert sentence.startswith(words)


def test_torch_is_as_it_was_after_watching():
    plain = torch.nn.functional.embedding

    with pytest.raises(ValueError, match="on the way"), witness.watching():
        raise ValueError("on the way")

    assert torch.nn.functional.embedding is plain


@pytest.mark.slow
def test_a_row_that_cannot_be_true_says_so_and_the_board_repeats_it(pkt_bench, pico, tmp_path):
    (tmp_path / "boast.py").write_text(
        '"""Says it uses no teacher."""\n'
        "from pkt_bench import Method, Settings, Transferred, hookimpl\n\n\n"
        "def transfer(context):\n"
        "    student = context.pair.student\n"
        "    student.lm_head.weight.data *= 1.5 if context.pair.teacher else 1\n"
        "    return Transferred(student)\n\n\n"
        "@hookimpl\n"
        "def pkt_bench_methods():\n"
        '    yield Method("boast", "no teacher", "control", transfer, Settings, uses="nothing")\n',
        encoding="utf-8",
    )

    answer = pkt_bench(
        *("run", "--plugin", pico.plugin, "--plugin", tmp_path / "boast.py", "--pair", "pico", "--suite", "pico"),
        *("--methods", "boast", "--out", tmp_path / "runs", "--executor", "inline"),
    )
    board = json.loads(pkt_bench("board", tmp_path / "runs", "--format", "json").out)

    sentence = (
        "boast: what its row says cannot all be true: uses='nothing' is declared, and the teacher's weights were loaded"
    )
    assert sentence in answer.out
    assert sentence in json.dumps(board)
