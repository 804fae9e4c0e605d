import pytest

from pkt_bench_leaderboards import text


@pytest.mark.parametrize(
    ("value", "stderr", "fraction", "expected"),
    [
        (0.6149, 0.0336, True, "61.5 ± 3.4"),
        (1.0, 0.0, True, "100.0 ± 0.0"),
        (0.5, None, True, "50.0"),
        (None, 0.1, True, "—"),
        (12.3456, 0.5, False, "12.35 ± 0.50"),
    ],
)
def test_a_score_is_a_percentage_with_one_decimal_and_its_error(value, stderr, fraction, expected):
    assert text.score(value, stderr, fraction=fraction) == expected


@pytest.mark.parametrize(
    ("share", "expected"), [(0.4849, "48 %"), (-0.001, "0 %"), (-0.2, "-20 %"), (1.5, "150 %"), (None, "—")]
)
def test_a_share_is_a_whole_percentage_and_never_minus_zero(share, expected):
    assert text.percent(share) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.0009, "<0.001"), (0.001, "0.001"), (1.0, "1.000"), (None, "—")])
def test_a_p_value_is_never_written_as_zero(p, expected):
    assert text.probability(p) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (999.97, "1.0 kB"), (1_234_567, "1.2 MB"), (5e15, "5000.0 TB"), (None, "—")],
)
def test_bytes_are_written_in_decimal_units(count, expected):
    assert text.size(count) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0"), (98_304, "98.3 k"), (1_700_000, "1.7 M")])
def test_parameters_are_written_in_thousands_and_millions(count, expected):
    assert text.quantity(count) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(4.04, "4.0"), (99.96, "100"), (512.4, "512"), (None, "—")])
def test_seconds_lose_their_decimal_at_a_hundred(seconds, expected):
    assert text.seconds(seconds) == expected


def test_runs_of_seeds_are_drawn_together():
    assert text.spans((4, 0, 1, 2)) == "0-2, 4"


def test_a_terminal_without_unicode_gets_plain_letters():
    assert text.ascii_only("61.5 ± 3.4 ▲¹² · —") == "61.5 +/- 3.4 ^[1][2] | -"


@pytest.mark.parametrize(
    ("low", "high", "fraction", "expected"),
    [(0.514, 0.7384, True, "[51.4, 73.8]"), (-0.0001, 1.5, False, "[0.00, 1.50]"), (None, 0.5, True, "—")],
)
def test_an_interval_is_written_as_its_ends_are(low, high, fraction, expected):
    assert text.interval(low, high, fraction=fraction) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0214, "+2.1"), (-0.0214, "-2.1"), (0.0004, "0.0"), (-0.0004, "0.0"), (None, "—")]
)
def test_a_difference_has_its_sign_and_nothing_has_none(value, expected):
    assert text.difference(value, fraction=True) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.4096, 0.7743, "[41, 77] %"), (-0.2, 1.1, "[-20, 110] %"), (0.1, None, "—")]
)
def test_an_interval_of_shares_has_one_sign_for_percent(low, high, expected):
    assert text.percent_interval(low, high) == expected


@pytest.mark.parametrize(("number", "expected"), [(12, "12"), (15_453, "15,453"), (None, "—")])
def test_counts_are_written_whole(number, expected):
    assert text.count(number) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.2, 0.6), "▁█"), ((0.2, 0.4, 0.6), "▁▅█"), ((), ""), ((0.1, 0.9), "▁█")],
)
def test_blocks_are_the_taller_the_nearer_to_the_largest(values, expected):
    assert text.blocks(values, 0.2, 0.6) == expected


def test_where_all_values_are_alike_blocks_say_neither_high_nor_low():
    assert text.blocks((0.5, 0.5), 0.5, 0.5) == "▄▄"


def test_blocks_stay_apart_without_unicode():
    assert len(set(text.ascii_only(text.BLOCKS))) == len(text.BLOCKS)
    assert text.ascii_only(text.BLOCKS).isascii()
    assert "?" not in text.ascii_only(text.BLOCKS)


def test_of_many_names_the_first_are_named_and_the_rest_counted():
    names = [str(number) for number in range(20)]

    assert text.named(names[:9]) == "0, 1, 2, 3, 4, 5, 6, 7, 8"
    assert text.named(names) == "0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
