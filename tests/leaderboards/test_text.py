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
