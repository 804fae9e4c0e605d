"""The statistics behind a board: errors and intervals over items and seeds, paired tests, families of tests, the gap.

Every result rests on a model that says what is random. Items are: another draw of documents would have been as good.
Seeds are: another seed would have been as good. All methods answer the same items, so they are compared item by item.

    answers.py  what a run's answers were worth, and runs lined up as an array of items by seeds
    crossed.py  the variance of a mean over items and seeds, its interval
    signs.py    the exact permutation test over items
    paired.py   two methods on the same items: the test, its interval, what it could have found
    family.py   many tests at once: Holm, seed variance pooled, who is ahead of whom
    gap.py      the share of the way from student to teacher, with its interval
"""

from __future__ import annotations

from pkt_bench_leaderboards.statistics.answers import Answers
from pkt_bench_leaderboards.statistics.crossed import Crossed, crossed, interval, seeds_stderr, suites_stderr
from pkt_bench_leaderboards.statistics.family import compare_all, holm
from pkt_bench_leaderboards.statistics.gap import Gap, gap_closed, gap_interval, gap_is_settled
from pkt_bench_leaderboards.statistics.paired import Paired, paired_mean, paired_test
from pkt_bench_leaderboards.statistics.signs import sign_flip_drawn, sign_flip_exact

SIGNIFICANT = 0.05
"""Below this, a corrected p is called a difference."""

__all__ = [
    "SIGNIFICANT",
    "Answers",
    "Crossed",
    "Gap",
    "Paired",
    "compare_all",
    "crossed",
    "gap_closed",
    "gap_interval",
    "gap_is_settled",
    "holm",
    "interval",
    "paired_mean",
    "paired_test",
    "seeds_stderr",
    "sign_flip_drawn",
    "sign_flip_exact",
    "suites_stderr",
]
