"""Every token once: the tree holds each distinct beginning, and its passes compute each of them in its place."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from pkt_bench.fastscore.tree import PASS_COST, grow, key, passes, postorder, walk

sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=20)


def grown(given_):
    distinct = sorted({tuple(each) for each in given_})
    return distinct, *grow([key(each) for each in distinct])


@given(sequences)
def test_the_path_of_a_sequence_has_its_tokens(given_):
    distinct, _, paths = grown(given_)

    found = [tuple(token for node in path for token in node.tokens.tolist()) for path in paths]

    assert found == distinct


@given(sequences)
def test_the_tree_has_as_many_tokens_as_there_are_distinct_beginnings(given_):
    distinct, root, _ = grown(given_)

    beginnings = {each[:length] for each in distinct for length in range(1, len(each) + 1)}

    assert root.size == len(beginnings)


@settings(max_examples=300)
@given(sequences, st.integers(1, 12), st.data())
def test_passes_stay_in_their_limits_and_ask_every_question_once_after_its_own_path(given_, tokens, data):
    _, root, paths = grown(given_)
    asks = data.draw(st.integers(1, tokens))
    for number, path in enumerate(paths):
        path[-1].asks[len(path[-1].tokens) - 1] = [(0, number)]
    kept, asked, read = [], [], 0
    for row in passes(root, tokens, asks):
        assert 0 < len(row) <= tokens
        kept = kept[: row.base]
        assert len(kept) == row.base
        before = []
        wanted = 0
        for piece in row.pieces:
            read += len(piece)
            above = kept if piece.parent < 0 else before[piece.parent]
            before.append([*above, *piece.node.tokens[piece.begin : piece.end].tolist()])
            assert len(before[-1]) == piece.node.start + piece.end
            for offset, questions in piece.node.asks.items():
                if piece.answers and piece.begin <= offset < piece.end:
                    wanted += 1
                    asked += [(number, before[-1][: piece.node.start + offset + 1]) for _, number in questions]
        assert wanted <= asks
        if row.kept:
            kept = before[-1]

    assert sorted(asked) == [
        (number, [token for node in path for token in node.tokens.tolist()]) for number, path in enumerate(paths)
    ]
    assert read >= root.size


def test_few_shots_and_choices_cost_next_to_nothing_more_than_their_distinct_tokens():
    shots = list(range(400))
    documents = [[*shots, 1000 + number, *range(50 + number % 7)] for number in range(100)]
    choices = [[*each, 500 + letter, *range(letter + 1)] for each in documents for letter in range(4)]
    _, root, _ = grown(choices)

    read = sum(len(row) for row in passes(root, 256, 256))

    assert root.size <= read <= 1.01 * root.size


def test_tokens_carried_along_are_fewer_than_a_pass_costs():
    # two tokens above 300 branches that fill eight passes: 14 more tokens, where a pass costs 8
    assert PASS_COST < 2 * 7
    _, root, _ = grown([(7, 7, 100 + number, *range(5)) for number in range(300)])

    read = sum(len(row) for row in passes(root, 256, 256))

    assert read == root.size


def test_parents_come_before_children_and_after_them():
    _, root, _ = grown([(1, 2), (1, 3), (1, 3, 4), (2,)])

    forward = [node for node, _ in walk(root)]
    backward = postorder(root)

    assert all(forward.index(a) < forward.index(b) for a, b in _edges(root))
    assert all(backward.index(a) > backward.index(b) for a, b in _edges(root))


def _edges(root):
    return itertools.chain.from_iterable(((node, child) for child in node.children) for node, _ in walk(root))
